"""Small studies made by hand: configurations, facts, histories, tables. No Ray is started here."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from study.commands.confirm import confirmation_of
from study.config import StudyConfig, parse_study
from study.ledger.facts import ASKED, CHECKPOINT, ENDED, EPOCH, FACTS, SESSION_ENDED, SESSION_STARTED
from study.ledger.history import History
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from study.records.tables import write_tables
from study.storage.folder import StudyFolder
from trainables.config import TrialConfig
from trainables.result import EPOCH_COLUMNS, TRIAL_COLUMNS, Column, TrialState

ARROW_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}
PROVENANCE = {"versions": {"python": "3.11"}, "platform": "Linux", "git_sha": None, "git_dirty": None}


def study_config(**changes: Any) -> StudyConfig:
    """A study of four epochs a trial; `changes` replace whole sections, keys of `space` one by one."""
    space = {
        "family": ["none", "RS", "RC", "RM", "RE"],
        "lam": {"low": 1e-5, "high": 1e-2},
        "placement": ["own", "kmeans", "uniform"],
    }
    values: dict[str, Any] = {
        "name": "small",
        "trials": 12,
        "trial": {"regularize_epochs": 3, "finetune_epochs": 1},
        "anchors": {"num_levels": [2, 4]},
        "early_stopping": {"grace_period": 1},
    }
    return parse_study(values | changes | {"space": space | changes.get("space", {})}, "test")


def asked(number: int, config: TrialConfig, **changes: Any) -> dict[str, Any]:
    """Return the content of a fact `asked` without parameters of Optuna, as of an anchor outside the space."""
    content = {
        "number": number,
        "trial_id": f"small-{number:05d}",
        "anchor": False,
        "params": {},
        "distributions": {},
        "config": config.to_dict(),
        "config_hash": config.hash,
    }
    return content | changes


def metrics(epoch: int, *, accuracy: float = 0.5, bits: float = 2.0, phase: str = "") -> dict[str, Any]:
    """Return the metrics of an epoch of a trial with phases of three and one epochs."""
    phase = phase or ("regularize" if epoch <= 3 else "finetune")
    return {
        "epoch": epoch,
        "phase": phase,
        "train_loss": 1.0 / epoch,
        "penalty": 0.25 if phase == "regularize" else None,
        "val_accuracy": accuracy,
        "val_accuracy_pre_tuning": 0.4 if phase == "finetune" else None,
        "float_val_accuracy": 0.9,
        "bits_per_weight": bits,
        "index_bits_per_weight": 2.0,
        "entropy_bits_per_weight": 1.5,
        "artifact_bytes": 1000,
        "train_seconds": 0.125 * epoch,
        "device": "cpu",
        "hostname": "node-1",
    }


class Unwritten:
    """Takes facts as a ledger does, and writes no file."""

    written = durable = 0
    is_quick = True

    def __init__(self) -> None:
        self.history = History()

    def record(self, fact: str, **content: Any) -> None:
        self.history.apply(FACTS[fact](time=0.0, **content))

    def submit(self, fact: str, **content: Any) -> int:
        self.record(fact, **content)
        return 0

    def commit(self) -> None:
        pass


def start_session(ledger: Ledger, study: StudyFolder | None = None) -> None:
    session = len(ledger.history.sessions) + 1
    started = {"session": session, "pid": 1, "hostname": "head", "provenance": PROVENANCE}
    ledger.record(SESSION_STARTED, **started, study_yaml=study.config_digest() if study else None)


def train(ledger: Ledger | Unwritten, number: int, epochs: int, *, accuracy: float = 0.5, bits: float = 2.0) -> None:
    """Records the epochs of a trial of three and one epochs, and the checkpoint of the last."""
    for epoch in range(1, epochs + 1):
        phase = "regularize" if epoch <= 3 else "finetune"
        result = metrics(epoch, accuracy=accuracy, bits=bits, phase=phase)
        ledger.record(EPOCH, number=number, metrics=result)
    if epochs:
        ledger.record(
            CHECKPOINT, number=number, epoch=epochs, path=f"ray/session-001/{number}/checkpoint_{epochs - 1:06}"
        )


def make_study(folder: Path, config: StudyConfig | None = None, *, ended: bool = True) -> StudyFolder:
    """Puts a study on disk as `qar launch` leaves it: float baseline, two on the front, one PRUNED, one FAIL.

    Args:
        folder: of the study; made here.
        config: five trials of `study_config()` if None.
        ended: whether the last trial has ended; if not, it is RUNNING and its driver died.
    """
    config = config or study_config(trials=5)
    study = StudyFolder(folder)
    study.create(config)
    ledger = Ledger(study.ledger)
    start_session(ledger, study)
    trials: list[tuple[dict[str, Any], int, float, float, str, str | None]] = [
        ({"family": "none", "num_levels": None}, 4, 0.97, 32.0, TrialState.COMPLETE, None),
        ({"family": "none", "num_levels": 2}, 4, 0.80, 1.3, TrialState.COMPLETE, None),
        ({"family": "RE", "num_levels": 8, "lam": 1e-3, "placement": "own"}, 4, 0.95, 3.3, TrialState.COMPLETE, None),
        ({"family": "RS", "num_levels": 4, "lam": 1e-4, "placement": "kmeans"}, 1, 0.10, 2.2, TrialState.PRUNED, None),
        (
            {"family": "RC", "num_levels": 4, "lam": 1e-2, "placement": "uniform"},
            0,
            0.0,
            0.0,
            TrialState.FAIL,
            "it [broke]",
        ),
    ]
    for number, (searched, epochs, accuracy, bits, state, failure) in enumerate(trials):
        ledger.record(ASKED, **asked(number, config.trial_config(searched), anchor=number < 2))
        train(ledger, number, epochs, accuracy=accuracy, bits=bits)
        if ended or number < len(trials) - 1:
            ledger.record(ENDED, number=number, state=state, failure=failure)
    if ended:
        ledger.record(SESSION_ENDED, session=1, outcome="finished")
    write_tables(study, ledger.history)
    ledger.close()
    return study


def make_explored_study(folder: Path, name: str = "explored", *, bonus: float = 0.0) -> StudyFolder:
    """A study of all families at three K, COMPLETE, three PRUNED, one FAIL and the float baseline.

    Args:
        folder: of the study; made here.
        name: of the study.
        bonus: added to every accuracy.
    """
    config = study_config(trials=20, name=name)
    study = StudyFolder(folder)
    study.create(config)
    ledger = Ledger(study.ledger)
    start_session(ledger, study)
    plan: list[tuple[dict[str, Any], int, float, float, str]] = [
        ({"family": "none", "num_levels": None}, 4, 0.97, 32.0, TrialState.COMPLETE)
    ]
    for place, family in enumerate(("none", "RS", "RC", "RM", "RE")):
        searched = {"family": family} if family == "none" else {"family": family, "lam": 1e-3, "placement": "own"}
        for num_levels, bits in ((2, 1.3), (4, 2.3), (8, 3.3)):
            accuracy = 0.5 + 0.1 * bits + 0.02 * place - 0.01 * place * (num_levels == 8)
            plan.append((searched | {"num_levels": num_levels}, 4, accuracy, bits + 0.01 * place, TrialState.COMPLETE))
    for num_levels in (3, 5, 6):
        searched = {"family": "RM", "num_levels": num_levels, "lam": 1e-2, "placement": "kmeans"}
        plan.append((searched, 1, 0.3 + 0.1 * num_levels, num_levels / 2, TrialState.PRUNED))
    plan.append(({"family": "RE", "num_levels": 7, "lam": 1e-2, "placement": "own"}, 0, 0.0, 0.0, TrialState.FAIL))
    for number, (searched, epochs, accuracy, bits, state) in enumerate(plan):
        content = asked(number, config.trial_config(searched)) | {"trial_id": f"{name}-{number:05d}"}
        ledger.record(ASKED, **content)
        train(ledger, number, epochs, accuracy=accuracy + bonus, bits=bits)
        failure = "the loss is not finite </script><img src=x onerror=alert(1)>" if state == TrialState.FAIL else None
        ledger.record(ENDED, number=number, state=state, failure=failure)
    ledger.record(SESSION_ENDED, session=1, outcome="finished")
    write_tables(study, ledger.history)
    ledger.close()
    return study


def confirm_study(study: StudyFolder, seeds: int = 3) -> StudyFolder:
    """Puts the confirmation of a study on disk, each result a little below what the search has seen."""
    folder, config = confirmation_of(study, seeds, margin=0.0)
    folder.create(config)
    seen = {trial.config_hash: trial.last for trial in read_history(study.ledger).trials.values() if trial.last}
    ledger = Ledger(folder.ledger)
    start_session(ledger)
    for seed in range(seeds):
        for planned in config.plan:
            number = len(ledger.history.trials)
            trial = config.trial_config(planned.searched | {"seed": config.seed + seed})
            ledger.record(ASKED, **asked(number, trial) | {"trial_id": f"{config.name}-{number:05d}"})
            searched = seen[trial.hash]
            for epoch in range(1, 5):
                phase = "regularize" if epoch <= 3 else "finetune"
                accuracy = searched["val_accuracy"] - 0.02 - 0.005 * seed
                result = metrics(epoch, accuracy=accuracy, bits=searched["bits_per_weight"], phase=phase)
                test = {"test_accuracy": accuracy - 0.01, "test_accuracy_pre_tuning": accuracy - 0.2}
                ledger.record(EPOCH, number=number, metrics=result | (test if epoch == 4 else {}))
            ledger.record(ENDED, number=number, state=TrialState.COMPLETE, failure=None)
    ledger.record(SESSION_ENDED, session=1, outcome="finished")
    write_tables(folder, ledger.history)
    ledger.close()
    return folder


def trials_frame(*rows: dict[str, Any]) -> pd.DataFrame:
    """A table of trials as `analysis.load` gives it; what a row leaves out is that of a COMPLETE one of RS."""
    usual = {
        "state": TrialState.COMPLETE,
        "anchor": False,
        "family": "RS",
        "num_levels": 4,
        "lam": 1e-3,
        "placement": "own",
        "val_accuracy_pre_tuning": 0.4,
        "val_accuracy": 0.5,
        "bits_per_weight": 2.0,
    }
    complete = [
        {column.name: None for column in TRIAL_COLUMNS}
        | usual
        | {"trial_id": f"small-{number:05d}", "number": number}
        | row
        for number, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(complete, arrow_schema(TRIAL_COLUMNS)).to_pandas()


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    return pa.schema([(column.name, ARROW_TYPES[column.type]) for column in columns])


def write_tables_of(folder: Path, trials: pd.DataFrame) -> None:
    """Makes a folder look like a study's to `analysis`: study.yaml and both tables."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text("name: small\n")
    table = pa.Table.from_pandas(trials, arrow_schema(TRIAL_COLUMNS), preserve_index=False)
    pq.write_table(table, folder / "trials.parquet")
    pq.write_table(pa.Table.from_pylist([], arrow_schema(EPOCH_COLUMNS)), folder / "epochs.parquet")


def confirmed_rows(seeds: int = 3) -> list[dict[str, Any]]:
    """Return rows for `trials_frame`: `none`, RS and RE at two K, and the float baseline; RE is always best."""
    above = {"none": 0.0, "RS": 0.02, "RE": 0.05}
    quantized = [
        {
            "family": family,
            "lam": None if family == "none" else 1e-3,
            "placement": "kmeans",
            "config_hash": f"{family}-{levels}",
            "num_levels": levels,
            "seed": seed,
            "bits_per_weight": 1.0 + levels / 2,
            "conv_bits_per_weight": 0.9 + levels / 2,
            "entropy_bits_per_weight": 0.8 + levels / 2,
            "artifact_bytes": 1000 * levels,
            "train_seconds": 60.0,
            "val_accuracy": 0.8 + above[family],
            "test_accuracy_pre_tuning": 0.3 + 2 * above[family] + (seed * (1 + len(family)) % 5) / 100,
            "test_accuracy": 0.7 + levels / 40 + above[family] + (seed * (1 + len(family)) % 5) / 500,
        }
        for family in above
        for levels in (2, 4)
        for seed in range(1, seeds + 1)
    ]
    baseline = [
        {"family": "none", "num_levels": None, "lam": None, "placement": None, "config_hash": "float", "seed": seed}
        | {"bits_per_weight": 32.1, "val_accuracy": 0.97, "test_accuracy": 0.96}
        for seed in range(1, seeds + 1)
    ]
    return [*quantized, *baseline]


def searched_frame() -> pd.DataFrame:
    """The search that `confirmed_rows` confirm: each configuration once, 0.02 too good, and three that it gave up."""
    test = {"test_accuracy": None, "test_accuracy_pre_tuning": None}
    once = [row | {"seed": 0, "val_accuracy": row["test_accuracy"] + 0.02} | test for row in confirmed_rows(1)]
    stopped = [{"family": "RC", "epochs": 2, "state": TrialState.PRUNED, "val_accuracy": 0.2}] * 3
    return trials_frame(*once, *stopped)


def write_confirmed_study(folder: Path, seeds: int = 3) -> None:
    """Puts a study and its confirmation on disk, as far as `analysis` reads them."""
    write_tables_of(folder, searched_frame())
    write_tables_of(folder / "confirm", trials_frame(*confirmed_rows(seeds)))


def write_plan_study(folder: Path, seeds: int = 3, *, tested: bool = True) -> None:
    """Put a study that ran a plan on disk, as far as `analysis` reads it: the configurations of `confirmed_rows`."""
    rows = confirmed_rows(seeds)
    if not tested:
        rows = [row | {"test_accuracy": None, "test_accuracy_pre_tuning": None} for row in rows]
    # Validation accuracies differ by seed too, and accuracies before tuning by the statistics of batch normalization.
    rows = [row | {"val_accuracy": row["val_accuracy"] + row["seed"] / 1000} for row in rows]
    split = "test" if tested else "val"
    rows = [
        row | {f"{split}_accuracy_pre_tuning_kept": 0.2, f"{split}_accuracy_pre_tuning_recalibrated": 0.3}
        for row in rows
    ]
    write_tables_of(folder, trials_frame(*rows))
    plan = [{"family": family, "num_levels": levels} for family in ("none", "RS", "RE") for levels in (2, 4)]
    settings = {"name": "planned", "trials": len(rows), "replicates": seeds, "plan": [*plan, {"family": "none"}]}
    (folder / "study.yaml").write_text(yaml.safe_dump(settings))


def files_below(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder, and the empty folders: to tell whether anything was written."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
        if path.is_file() or not any(path.iterdir())
    }


def history_of(*trials: tuple[float, float, str | None, int | None]) -> History:
    """Return a history of trials of (accuracy, bits, state, K); a trial of state None has not ended."""
    ledger = Unwritten()
    for number, (accuracy, bits, state, num_levels) in enumerate(trials):
        config = study_config().trial_config({"family": "none", "num_levels": num_levels})
        ledger.record(ASKED, **asked(number, config))
        train(ledger, number, 4, accuracy=accuracy, bits=bits)
        if state:
            ledger.record(ENDED, number=number, state=state, failure=None)
    return ledger.history
