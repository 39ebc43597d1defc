"""`qar export`: writes the quantized network of a trial to a file."""

from dataclasses import dataclass, replace
from pathlib import Path

from study.addresses import check_code
from study.ledger.history import History, Trial
from study.storage.folder import StudyFolder
from trainables.choices import choose
from trainables.codebooks.artifact import Artifact
from trainables.codebooks.bits import CODES
from trainables.config import TrialConfig
from trainables.errors import DamagedFileError
from trainables.files.checkpoint import read_checkpoint
from trainables.formats import FORMATS, Written, write_verified
from trainables.run import CompressionRun


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The network of a trial, in a file.

    Attributes:
        trial: the trial, which need not be COMPLETE.
        artifact: its network.
        written: the file, and how it was evaluated.
    """

    trial: Trial
    artifact: Artifact
    written: Written


def export_trial(
    folder: StudyFolder,
    name: str,
    out: Path,
    *,
    format_name: str = "qar",
    coding: str | None = None,
    force: bool = False,
    fetch: bool = False,
) -> Exported:
    """Write the hard-quantized network of a trial's last checkpoint to a file, and evaluate the file.

    Args:
        folder: folder of the study.
        name: number or trial_id of the trial.
        out: path of the file.
        format_name: key of `trainables.formats.FORMATS`.
        coding: how levels are coded in format `qar`, a key of `trainables.codebooks.bits.CODES`; None for the coding
            by which the study counted bits.
        force: whether to replace an existing file.
        fetch: whether the data set that the study names may be downloaded or fetched.

    Raises:
        ValueError: there is no such study, trial, checkpoint, format or coding, or the file can't be written or is
            there already.
        DamagedFileError: the study's files can't be read, or the file classifies an image otherwise than the network.
    """
    choose("format", format_name, FORMATS)
    if coding is not None:
        choose("coding", coding, CODES)
        if format_name != "qar":
            raise ValueError(
                f"coding must be left out for format {format_name!r}, got {coding!r}; only qar codes levels"
            )
    if out.exists() and not force:
        raise ValueError(f"{out} exists already; choose another --out, or replace it with --force")
    trained = trained_network(folder, name, fetch=fetch)
    artifact = replace(trained.artifact, coding=coding or trained.artifact.coding)
    written = write_verified(format_name, out, artifact, trained.run.validation_split)
    return Exported(trial=trained.trial, artifact=artifact, written=written)


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """The network of a trial at its last checkpoint.

    Attributes:
        trial: the trial.
        run: its training, on the CPU.
        artifact: its network with quantized weights.
    """

    trial: Trial
    run: CompressionRun
    artifact: Artifact


def trained_network(folder: StudyFolder, name: str, *, fetch: bool = False) -> TrainedNetwork:
    """Return the hard-quantized network of a trial's last checkpoint.

    Args:
        folder: folder of the study.
        name: number or trial_id of the trial.
        fetch: whether the data set that the study names may be downloaded or fetched, and its code trusted.

    Raises:
        ValueError: there is no such study, trial or checkpoint.
        DamagedFileError: the study's files can't be read.
    """
    check_code(folder.read_config(), trusted=fetch)
    history = folder.read_history()
    trial = find_trial(history, name, folder)
    run = _restore(trial, folder, fetch)
    sessions = {session for epoch, session in trial.sessions.items() if epoch <= run.epoch}
    provenance = {
        "study": folder.path.resolve().name,
        "trial_id": trial.trial_id,
        "number": trial.number,
        "state": trial.state,
        "config_hash": trial.config_hash,
        "epoch": run.epoch,
        "val_accuracy": trial.epochs.get(run.epoch, {}).get("val_accuracy"),
        "trained_with": [
            session.provenance for number, session in enumerate(history.sessions, 1) if number in sessions
        ],
    }
    return TrainedNetwork(trial=trial, run=run, artifact=run.artifact(provenance))


def find_trial(history: History, name: str, folder: StudyFolder) -> Trial:
    """Return the trial with a number or trial_id. Raises ValueError if there is none; it names the existing ones."""
    for trial in history.trials.values():
        if name in (str(trial.number), trial.trial_id):
            return trial
    last = max(history.trials, default=None)
    if last is None and not folder.ledger.exists() and folder.trials.exists():
        raise ValueError(f"{folder} must hold its {folder.ledger.name}, and has tables alone; copy the whole study")
    known = f"choose from 0 to {last}, or a trial_id" if last is not None else f"{folder} has no trials yet"
    raise ValueError(f"unknown trial {name!r}; {known}")


def _restore(trial: Trial, folder: StudyFolder, fetch: bool) -> CompressionRun:
    """Return the run of a trial at its last checkpoint, on the CPU."""
    if trial.checkpoint is None:
        raise ValueError(f"trial {trial.number} ({trial.state}) has no checkpoint; choose another --trial")
    path = folder.path / trial.checkpoint.path
    folder.storage.fetch_folder(trial.checkpoint.path)
    if not path.is_dir():
        raise ValueError(f"the checkpoint of trial {trial.number} is gone from {path}; choose another --trial")
    state = read_checkpoint(path, expected=trial.checkpoint.sha256)
    config = TrialConfig.from_stored(trial.config)
    run = CompressionRun(config, initial_weights=state["model"] if config.init == "pretrained" else None, fetch=fetch)
    try:
        run.load_state_dict(state)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{path} doesn't fit its trial: {_one_line(error)}") from None
    return run


def _one_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
