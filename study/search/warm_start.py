"""Warm start: results of other studies that a study's sampler is to begin from."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
from optuna.distributions import distribution_to_json

from study.config import Constraint, StudyConfig
from study.ledger.facts import PRIOR
from study.ledger.history import KnownResult
from study.ledger.ledger import Ledger
from study.search.optuna_trials import OBJECTIVES
from study.search.space import distributions, params_of
from study.storage.folder import StudyFolder
from study.storage.object_store import is_uri
from trainables.errors import DamagedFileError
from trainables.families import FAMILIES
from trainables.result import COMPLETE, TRIAL_COLUMNS, TRIAL_KEYS
from trainables.tables import read_table

_SEARCHED = ("family", "num_levels", "placement", "lam")


def check_warm_start(config: StudyConfig) -> None:
    """Raises what `read_priors` would, before anything of a study is written."""
    read_priors(config)


def read_priors(config: StudyConfig) -> list[dict[str, Any]]:
    """The results that `config.warm_start` names and that lie inside the study's space: contents of facts PRIOR.

    Trials with their full budget alone: what was stopped early was stopped by the measure of its own study.

    Raises:
        ValueError: a table isn't there, can't be read, breaks a rule of its schema, or holds nothing to begin from.
    """
    return [prior for source in config.warm_start for prior in _priors_of(source, config)]


def _priors_of(source: str, config: StudyConfig) -> list[dict[str, Any]]:
    path = _table_of(source)
    shown_as = source if is_uri(source) else str(path)
    metrics = [*OBJECTIVES, *(Constraint.parse(text).metric for text in config.constraints)]
    needed = list(dict.fromkeys(["state", *_SEARCHED, *metrics]))
    table = _read(path, shown_as)
    priors = []
    for row in table.select(needed).to_pylist():
        if row["state"] != COMPLETE or row["family"] not in FAMILIES:
            continue
        result = {name: row[name] for name in metrics}
        params = params_of(row, config.space)
        if params is None or any(value is None or not math.isfinite(value) for value in result.values()):
            continue
        asked_of = distributions(config.space, row["family"])
        texts = {name: distribution_to_json(distribution) for name, distribution in asked_of.items()}
        priors.append({"params": params, "distributions": texts, "metrics": result, "source": shown_as})
    if not priors:
        raise ValueError(
            f"warm_start must name studies with COMPLETE trials inside this study's space, got {source!r} without one; "
            "widen space, or leave it out"
        )
    return priors


def _table_of(source: str) -> Path:
    """The table that a study's folder, its URI, or a path names."""
    folder = StudyFolder.at(source)
    if folder.storage.has_working_copy:
        folder.storage.fetch_results()
        return folder.trials
    path = Path(source).expanduser()
    return path / "trials.parquet" if path.is_dir() else path


def _read(path: Path, shown_as: str) -> pa.Table:
    """Read the table of trials at a path, which messages show as `shown_as`; raises as `read_priors` does."""
    if not path.exists():
        raise ValueError(
            f"warm_start must name study folders or files trials.parquet, got {shown_as!r}, which is not there"
        )
    try:
        return read_table(
            path, TRIAL_COLUMNS, keys=TRIAL_KEYS, shown_as=shown_as, remedy="name another table, or leave it out"
        )
    except DamagedFileError as error:
        raise ValueError(f"warm_start: {error}") from None


def record_priors(ledger: Ledger, config: StudyConfig) -> None:
    """Records the priors, once ever: none if a trial was asked for, and the rest if a driver was killed between them.

    A prior stands for no trial: its configuration counts as never run, for only what is trained in this study, under
    its seeds and budget, may be on its front.
    """
    if ledger.history.trials or not config.warm_start:
        return
    recorded = sum(isinstance(proposal, KnownResult) for proposal in ledger.history.proposals)
    for prior in read_priors(config)[recorded:]:
        ledger.record(PRIOR, **prior)
