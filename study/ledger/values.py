"""Types of the values that facts hold, with their checks."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter

from study.containment import is_file_name, is_inner_path
from trainables.config import TrialConfig, with_earlier_defaults
from trainables.result import END_STATES, EPOCH_COLUMNS, TRIAL_COLUMNS, TrialState

METRICS = {column.name: column for column in (*TRIAL_COLUMNS, *EPOCH_COLUMNS)}
"""Columns that define the type and range of each metric, by name."""
REQUIRED_METRICS = ("epoch", "phase", "val_accuracy", "bits_per_weight", "train_seconds")
"""Metrics that every epoch must have."""
REQUIRED_SETTINGS = ("family", "num_levels", "lam", "placement", "seed", "regularize_epochs", "finetune_epochs")
"""Settings that the configuration of every trial must have, in all versions."""
_JSON_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
_TRIAL_CONFIG = TypeAdapter(TrialConfig)


def _check_metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    for name, value in metrics.items():
        column = METRICS.get(name)
        if column is None:
            raise ValueError(f"{name} must be one of the metrics, got an unknown one")
        if value is None:
            continue
        if type(value) not in _JSON_TYPES[column.type]:
            raise ValueError(f"{name} must be of type {column.type}, got {value!r}")
        if column.range is not None and (
            value < column.range.low or value > column.range.high or (column.range.above and value == column.range.low)
        ):
            raise ValueError(f"{name} must be a number {column.range}, got {value!r}")
        if column.choices and value not in column.choices:
            raise ValueError(f"{name} must be one of {list(column.choices)}, got {value!r}")
    return metrics


def _check_epoch_metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    missing = [name for name in REQUIRED_METRICS if metrics.get(name) is None]
    if missing:
        raise ValueError(f"metrics of an epoch must hold {missing}")
    return _check_metrics(metrics)


def _check_config(config: dict[str, Any]) -> dict[str, Any]:
    missing = [name for name in REQUIRED_SETTINGS if name not in config]
    if missing:
        raise ValueError(f"config must hold {missing}")
    _TRIAL_CONFIG.validate_json(json.dumps(with_earlier_defaults(config)), strict=True)
    return config


def _check_trial_id(trial_id: str) -> str:
    if not is_file_name(trial_id):  # it names the trial's folder
        raise ValueError(f"trial_id must be a file name, got {trial_id!r}")
    return trial_id


def _check_path(path: str) -> str:
    if not is_inner_path(path):
        raise ValueError(f"checkpoint must lie in the study, got {path!r}")
    return path


def _end_state(state: Any) -> TrialState:
    if state not in END_STATES:
        raise ValueError(f"state must be one of {', '.join(END_STATES)}, got {state!r}")
    return TrialState(state)


def _check_distributions(distributions: dict[str, str]) -> dict[str, str]:
    for name, text in distributions.items():
        distribution = json.loads(text)
        if not isinstance(distribution, dict) or set(distribution) != {"name", "attributes"}:
            raise ValueError(f"distribution of {name} must have a name and attributes, got {text!r}")
    return distributions


def _check_sensitivity(values: dict[str, Any]) -> dict[str, Any]:
    from trainables.groups.sensitivity import Sensitivity  # here, since it imports torch

    TypeAdapter(Sensitivity).validate_json(json.dumps(values), strict=True)
    return values


Count = Annotated[int, Field(ge=0)]
Ordinal = Annotated[int, Field(ge=1)]
Metrics = Annotated[dict[str, Any], AfterValidator(_check_metrics)]
EpochMetrics = Annotated[dict[str, Any], AfterValidator(_check_epoch_metrics)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
RequestId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Distributions = Annotated[dict[str, str], AfterValidator(_check_distributions)]
EndState = Annotated[TrialState, BeforeValidator(_end_state)]
TrialId = Annotated[str, AfterValidator(_check_trial_id)]
InnerPath = Annotated[str, AfterValidator(_check_path)]
TrialSettings = Annotated[dict[str, Any], AfterValidator(_check_config)]
LayerCosts = Annotated[dict[str, Any], AfterValidator(_check_sensitivity)]
