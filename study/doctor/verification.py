"""Verification of a study's files: `qar doctor DIR`. It reads all of them, and changes none."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from study.doctor.check import Check, CheckStatus
from study.ledger.completeness import TableWitness, table_position
from study.ledger.history import History
from study.ledger.reading import Reading, read
from study.records.epoch_table import epoch_rows
from study.records.optuna_mirror import OptunaMirror
from study.records.trial_table import trial_row
from study.storage.folder import StudyFolder
from trainables.codebooks.artifact_file import read_artifact
from trainables.errors import DamagedFileError, IrregularFileError
from trainables.files.checkpoint import read_checkpoint
from trainables.files.regular import open_regular
from trainables.files.tables import read_table
from trainables.result import EPOCH_COLUMNS, EPOCH_KEYS, TRIAL_COLUMNS, TRIAL_KEYS

MOST_NAMED = 5
"""Most damaged files that a line names."""


def verify_study(folder: StudyFolder) -> list[Check]:
    """Return the checks of all files of a study: configuration, ledger, tables, database, checkpoints, exported files.

    Args:
        folder: the study; of one in a bucket, the working copy is brought up to date.

    Raises:
        ValueError: the folder holds no study.
        StorageError: the bucket can't be reached.
    """
    folder.storage.fetch_results()
    checks = [_configuration(folder)]
    content = _content(folder.ledger)
    reading = read(content)
    checks.append(_ledger(folder, content, reading))
    if reading.damage is None and checks[-1].status is not CheckStatus.FAIL:
        checks += [*_tables(folder, content), _optuna(folder, reading.history)]
    checks += [_checkpoints(folder, reading.history), _baselines(folder, reading.history), _exported(folder)]
    return checks


def _content(ledger: Path) -> bytes:
    """Return the content of a ledger, which need not exist. Raises DamagedFileError, OSError."""
    try:
        with open_regular(ledger) as file:
            return file.read()
    except FileNotFoundError:
        return b""
    except IrregularFileError as error:
        raise DamagedFileError(str(error)) from None


def _configuration(folder: StudyFolder) -> Check:
    try:
        config = folder.read_config()
    except DamagedFileError as error:
        return _failed("study.yaml", error)
    return Check("study.yaml", CheckStatus.PASS, f"valid, {config.trials} trials; the one that the ledger has recorded")


def _ledger(folder: StudyFolder, content: bytes, reading: Reading) -> Check:
    if reading.damage is not None:
        remedy = f"restore it from a copy, or keep the {reading.lines} lines before with: qar repair {folder}"
        return Check("ledger", CheckStatus.FAIL, f"damaged in {reading.damage}", remedy)
    witness = TableWitness(folder.trials)
    if contradiction := witness.contradiction(io.BytesIO(content)):
        remedy = f"restore it from a copy, or keep what is there with: qar repair {folder}"
        return Check("ledger", CheckStatus.FAIL, f"it {contradiction} {folder.trials.name} was made", remedy)
    finding = f"{reading.lines} facts, {reading.history.num_ended} ended trials"
    if torn := len(content) - reading.intact:
        finding += f"; {torn} bytes of a line that a crash has cut off, which are dropped"
    if reading.lines and not reading.chain.is_sealed:
        remedy = f"the next session protects them: qar resume {folder}"
        return Check("ledger", CheckStatus.WARN, f"{finding}; without checksums, by an earlier version", remedy)
    return Check("ledger", CheckStatus.PASS, f"{finding}; all checksums match")


def _tables(folder: StudyFolder, content: bytes) -> Iterator[Check]:
    """Compare the tables with those that follow from the ledger up to where they were made."""
    for path, columns, keys in (
        (folder.trials, TRIAL_COLUMNS, TRIAL_KEYS),
        (folder.epochs, EPOCH_COLUMNS, EPOCH_KEYS),
    ):
        remedy = f"make it anew with: qar resume {folder}"
        if not path.exists():
            yield Check(path.name, CheckStatus.WARN, "not there", remedy)
            continue
        try:
            table = read_table(path, columns, keys=keys, remedy=remedy)
            known = [name for name in table.column_names if name in pq.read_schema(path).names]  # to its version
            rows = table.select(known).to_pylist()
        except DamagedFileError as error:
            yield _failed(path.name, error)
            continue
        position = table_position(path)
        if position is None:
            yield Check(path.name, CheckStatus.WARN, f"{len(rows)} rows, but not by this version of qar", remedy)
            continue
        history = read(content[: position.offset]).history
        trials = [trial for _, trial in sorted(history.trials.items())]
        expected = (
            [trial_row(trial) for trial in trials]
            if path == folder.trials
            else [row for trial in trials for row in epoch_rows(trial)]
        )
        expected = [{name: row[name] for name in known} for row in expected]
        wrong = next((number for number, row in enumerate(expected) if rows[number : number + 1] != [row]), None)
        if wrong is None and len(rows) == len(expected):
            yield Check(path.name, CheckStatus.PASS, f"{len(rows)} rows, as the ledger gives them")
        else:
            place = f"row {wrong + 1}" if wrong is not None else f"row {len(expected) + 1}"
            yield Check(path.name, CheckStatus.FAIL, f"{place} differs from what the ledger gives", remedy)


def _optuna(folder: StudyFolder, history: History) -> Check:
    try:
        config = folder.parse_config()
    except DamagedFileError:
        return Check("Optuna's study", CheckStatus.WARN, "not checked, as study.yaml can't be read")
    if config.optuna_storage:
        return Check("Optuna's study", CheckStatus.PASS, "in a database elsewhere, which every session compares")
    if not folder.optuna_db.exists():
        return Check("Optuna's study", CheckStatus.PASS, "not there; it is made from the ledger")
    if contradiction := OptunaMirror(folder, config).contradiction(history):
        return Check(
            "Optuna's study",
            CheckStatus.FAIL,
            f"{folder.optuna_db.name} {contradiction}",
            f"make it anew with: qar resume {folder}",
        )
    return Check("Optuna's study", CheckStatus.PASS, "as the ledger gives it")


def _checkpoints(folder: StudyFolder, history: History) -> Check:
    if folder.storage.has_working_copy:
        return Check("checkpoints", CheckStatus.PASS, "not fetched; a trial that reads one checks it")
    kept = [record for trial in history.trials.values() for record in trial.checkpoints]
    existing = [record for record in kept if (folder.path / record.path).is_dir()]

    sums = {folder.path / record.path: record.sha256 for record in existing}

    def verify(path: Path) -> object:
        return read_checkpoint(path, expected=sums[path])

    damaged = _damaged(list(sums), verify)
    gone = [trial.number for trial in history.unfinished if trial.checkpoint and not folder.checkpoints_of(trial)]
    if damaged:
        remedy = "restore them; a trial that continues uses the one before, and qar export needs the last one"
        return Check("checkpoints", CheckStatus.FAIL, f"{len(damaged)} damaged: {_named(damaged)}", remedy)
    if gone:
        return Check(
            "checkpoints", CheckStatus.WARN, f"none is left of trials {gone}", "they begin anew; or restore them"
        )
    removed = f" and {len(kept) - len(existing)} removed ones" if len(kept) > len(existing) else ""
    return Check("checkpoints", CheckStatus.PASS, f"{len(existing)}{removed}, of {len(history.trials)} trials")


def _baselines(folder: StudyFolder, history: History) -> Check:
    paths = sorted(path for path in folder.baseline(0).parent.glob("seed-*") if path.is_dir() and "." not in path.name)
    sums = {folder.baseline(seed): digest for seed, digest in history.baseline_sums.items()}

    def verify(path: Path) -> object:
        return read_checkpoint(path, expected=sums.get(path))

    if damaged := _damaged(paths, verify):
        remedy = f"remove them; they are trained again by: qar resume {folder}"
        return Check("float networks", CheckStatus.FAIL, f"{len(damaged)} damaged: {_named(damaged)}", remedy)
    return Check("float networks", CheckStatus.PASS, f"{len(paths)}")


def _exported(folder: StudyFolder) -> Check:
    paths = sorted(folder.path.glob("*.qar"))
    if damaged := _damaged(paths, read_artifact):
        remedy = f"write them anew with: qar export {folder} --trial N --out FILE --force"
        return Check("exported files", CheckStatus.FAIL, f"{len(damaged)} damaged: {_named(damaged)}", remedy)
    return Check("exported files", CheckStatus.PASS, f"{len(paths)} in the folder")


def _damaged(paths: list[Path], verify: Callable[[Path], object]) -> list[Path]:
    damaged = []
    for path in paths:
        try:
            verify(path)
        except (DamagedFileError, ValueError):  # the latter of a folder or a pipe in a file's place
            damaged.append(path)
    return damaged


def _named(paths: list[Path]) -> str:
    more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
    return ", ".join(str(path) for path in paths[:MOST_NAMED]) + more


def _failed(name: str, error: DamagedFileError) -> Check:
    """Return a failed check with the finding and the remedy of an error."""
    finding, _, remedy = str(error).rpartition("; ")
    return Check(name, CheckStatus.FAIL, finding or str(error), remedy if finding else "")
