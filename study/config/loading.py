"""Loading of a study's configuration from an installed study or a YAML file, with keys overridden."""

import copy
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from study.config.messages import one_line
from study.config.rules.credentials import redacted
from study.config.schema import STORED, StudyConfig
from study.config.versions import check_space_change
from study.config.yaml_loading import MOST_CHARACTERS, load_yaml
from trainables.config import with_earlier_defaults
from trainables.files.regular import read_regular


def named_studies() -> list[str]:
    """Return the names of the studies that are installed with the package."""
    folder = resources.files("study") / "configs"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def parse_study(values: Any, source: str, stored: bool = False) -> StudyConfig:
    """Check a configuration.

    Args:
        values: plain data, as `load_yaml` returns it.
        source: name of the data in messages.
        stored: whether the study exists already, so that values which only new studies must not have are accepted.

    Raises:
        ValueError: the configuration is invalid; one line that starts with `source` and holds no credentials.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{source}: a study must be a mapping of keys to values, got {type(values).__name__}")
    try:
        return StudyConfig.model_validate(values, context={STORED: stored})
    except ValidationError as error:
        raise ValueError(redacted(f"{source}: {one_line(error, StudyConfig)}")) from None


def parse_written_study(values: Any, source: str) -> StudyConfig:
    """Check the study.yaml of an existing study, as `parse_study` does.

    Keys that an earlier version did not have get the values that match its behaviour, so that a resumed study continues
    unchanged. Values that an earlier version accepted are accepted.

    Args:
        values: plain data of the study.yaml.
        source: name of the data in messages.

    Raises:
        ValueError: the configuration is invalid; one line.
    """
    stopping, trial = (values.get(key) if isinstance(values, dict) else None for key in ("early_stopping", "trial"))
    if isinstance(stopping, dict):
        values = values | {"early_stopping": {"first_of_family": "compared"} | stopping}
    if isinstance(trial, dict):
        values = values | {"trial": with_earlier_defaults(trial)}
    if isinstance(values, dict):
        values = {"sampler_version": 1} | values
    return parse_study(values, source, stored=True)


def load_study(study: str, overrides: Sequence[str] = (), name: str | None = None) -> StudyConfig:
    """Load the configuration of a study.

    Args:
        study: one of `named_studies()`, or the path of a YAML file.
        overrides: `key=value` pairs with dots between nested keys, such as `trial.recipe.batch_size=32`.
        name: name of the study; None for the one in the configuration.

    Raises:
        ValueError: the study does not exist, or its configuration is invalid; one line.
    """
    path = Path(study)
    if study in named_studies():
        text = (resources.files("study") / "configs" / f"{study}.yaml").read_bytes()
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        text = read_regular(path, MOST_CHARACTERS)
    else:
        raise ValueError(f"unknown study {study!r}; choose from {named_studies()} or give the path of a YAML file")
    values = load_yaml(text, study)
    if isinstance(values, dict):  # anything else is refused below
        values.pop("earlier_versions", None)  # of the study whose study.yaml this is
        _override(values, overrides)
    config = parse_study(values, study)
    return config if name is None else parse_study(config.model_dump() | {"name": name}, "--name")


def changes_by(overrides: Sequence[str], config: StudyConfig) -> list[str]:
    """Return the overrides that would change a study.

    Args:
        overrides: `key=value` pairs, as in `load_study`.
        config: configuration of the study.

    Raises:
        ValueError: an override is invalid.
    """

    def changes(override: str) -> bool:
        values = config.model_dump()
        _override(values, [override])
        return parse_study(values, redacted(f"--set {override}"), stored=True).with_absolute_paths() != config

    return [override for override in overrides if changes(override)]


VERSIONED = ("space", "early_stopping")
"""Keys whose change makes a new version of the study: they decide what is proposed and how long it is trained."""

CHANGEABLE = (*VERSIONED, "stop", "resources", "loggers", "notify")
"""Keys that may change while a study goes on: none of them decides what an epoch of a trial results in."""

FIXED_BY_THEN = {
    "trials": "extend a finished study with --trials N",
    "name": "change it with qar rename",
    "earlier_versions": "leave it out, for it is written by changes of space and early_stopping",
}
"""Remedies for some of the other keys."""


def changed_by(overrides: Sequence[str], config: StudyConfig) -> StudyConfig:
    """Return the configuration of an existing study with keys overridden.

    Args:
        overrides: `key=value` pairs, as in `load_study`, of `CHANGEABLE` keys.
        config: configuration of the study.

    Raises:
        ValueError: an override is invalid, or its key can't change in a study that exists; one line.
    """
    for override in overrides:
        key = override.partition("=")[0]
        if key.partition(".")[0] not in CHANGEABLE:
            remedy = FIXED_BY_THEN.get(
                key.partition(".")[0],
                "later trials would not be comparable with earlier ones; launch another study with it, and warm_start "
                "from this one",
            )
            raise ValueError(
                f"--set must change one of {list(CHANGEABLE)} in a study that exists, got {redacted(override)!r}; "
                f"{remedy}"
            )
    values = config.model_dump()
    _override(values, overrides)
    changed = parse_study(values, "--set", stored=True)
    if all(getattr(changed, key) == getattr(config, key) for key in VERSIONED):
        return changed
    if config.plan:
        raise ValueError(
            f"--set must leave {list(VERSIONED)} alone in a study that runs a plan, got {redacted(overrides[0])!r}; "
            "it searches nothing"
        )
    check_space_change(config.space, changed.space)
    return changed.model_copy(update={"earlier_versions": config.versions})


def with_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return plain data with keys overridden, in a copy; raises ValueError as `load_study` does."""
    changed = copy.deepcopy(values)
    _override(changed, overrides)
    return changed


def _override(values: dict[str, Any], overrides: Sequence[str]) -> None:
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise ValueError(f"--set must be KEY=VALUE, got {override!r}; for example --set trials=10")
        _set(values, key.split("."), load_yaml(value, redacted(f"--set {override}")))


def _set(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        if values.get(key) is None:  # a section that is not there, such as stop
            values[key] = {}
        inner = values[key]
        if not isinstance(inner, dict):
            raise ValueError(f"--set {'.'.join(keys)}: {key!r} holds no keys, got {inner!r}; leave out what follows it")
        values = inner
    values[keys[-1]] = value
