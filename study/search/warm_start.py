"""Warm start: results of other studies from which a study's sampler learns."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from optuna.distributions import distribution_to_json

from study.config import Constraint, StudyConfig
from study.ledger.facts import PRIOR
from study.ledger.history import KnownResult
from study.ledger.ledger import Ledger
from study.search.optuna_trials import OBJECTIVES
from study.search.space import distributions, params_of, value_at
from study.storage.folder import StudyFolder
from trainables.errors import DamagedFileError
from trainables.files.tables import read_table
from trainables.result import TRIAL_COLUMNS, TRIAL_KEYS, TrialState

_SEARCHED = ("family", "num_levels", "placement", "lam")


def read_priors(config: StudyConfig) -> list[dict[str, Any]]:
    """Return the results of the studies in `config.warm_start` that lie in this study's space, as fields of PRIOR.

    Only trials with their full budget count, since early stopping compares trials within one study. A field that this
    study searches and the other did not has the value that the other's study.yaml gives to all of its trials.

    Raises:
        ValueError: a table is missing, can't be read, violates its schema, or holds no result inside the space.
    """
    return [prior for source in config.warm_start for prior in _priors_of(source, config)]


def _priors_of(source: str, config: StudyConfig) -> list[dict[str, Any]]:
    metrics = [*OBJECTIVES, *(Constraint.parse(text).metric for text in config.constraints)]
    table, shown_as, study = _table_of(source)
    fields = [name for name in config.space.fields if name in table.column_names]
    fixed = _fixed_values([name for name in config.space.fields if name not in fields], study)
    needed = list(dict.fromkeys(["state", *_SEARCHED, *fields, *metrics]))
    priors = []
    for row in table.select(needed).to_pylist():
        if row["state"] != TrialState.COMPLETE:
            continue
        result = {name: row[name] for name in metrics}
        params = params_of(fixed | row, config.space)
        if params is None or any(value is None or not math.isfinite(value) for value in result.values()):
            continue
        by_name = distributions(config.space, row["family"])
        texts = {name: distribution_to_json(by_name[name]) for name in params}
        priors.append({"params": params, "distributions": texts, "metrics": result, "source": shown_as})
    if not priors:
        raise ValueError(
            f"warm_start must name studies with COMPLETE trials inside this study's space, got {source!r} without one; "
            "widen space, or leave it out"
        )
    return priors


def _table_of(source: str) -> tuple[pa.Table, str, StudyFolder]:
    """Read the table of trials that a study's folder, its URI, or a path names; a URI's table is fetched.

    Returns:
        The table, its path or URI for messages, and the folder that it lies in, which need not hold a study.

    Raises:
        ValueError: as `read_priors` raises.
    """
    folder = StudyFolder.at(source)
    if folder.storage.has_working_copy:
        folder.storage.fetch_results()
        path, shown_as = folder.trials, source
    else:
        path = Path(source).expanduser()
        path = path / "trials.parquet" if path.is_dir() else path
        shown_as = str(path)
    if not path.exists():
        raise ValueError(
            f"warm_start must name study folders or files trials.parquet, got {shown_as!r}, which does not exist"
        )
    try:
        table = read_table(
            path,
            TRIAL_COLUMNS,
            keys=TRIAL_KEYS,
            shown_as=shown_as,
            remedy="name another table, or leave it out",
            searched=True,
        )
    except DamagedFileError as error:
        raise ValueError(f"warm_start: {error}") from None
    return table, shown_as, folder if folder.storage.has_working_copy else StudyFolder(path.parent)


def _fixed_values(fields: Sequence[str], study: StudyFolder) -> dict[str, Any]:
    """Return the values that a study gives to fields in all of its trials; none without its study.yaml.

    Raises:
        ValueError: study.yaml is invalid.
    """
    if not fields or not study.exists():
        return {}
    try:
        trial = study.parse_config().trial_config({"family": "none", "num_levels": 2}).to_dict()
    except DamagedFileError as error:
        raise ValueError(f"warm_start: {error}") from None
    return {name: value_at(trial, name) for name in fields}


def record_priors(ledger: Ledger, config: StudyConfig) -> None:
    """Record the priors that the ledger lacks, unless the study has trials already.

    The ledger lacks some if a driver was killed while it recorded them. A prior is no trial: its configuration counts
    as never run, since only networks trained in this study, with its seeds and budget, may be on its front.

    Args:
        ledger: ledger of the study, open for writing.
        config: configuration of the study.
    """
    if ledger.history.trials or not config.warm_start:
        return
    recorded = sum(isinstance(proposal, KnownResult) for proposal in ledger.history.proposals)
    for prior in read_priors(config)[recorded:]:
        ledger.submit(PRIOR, **prior)
    ledger.commit()
