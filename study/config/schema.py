"""The configuration of a study: read from YAML, checked at once, complete enough to launch it again."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from study.config.constraints import check as check_constraints
from trainables.config import TrialConfig
from trainables.families import FAMILIES, PLACEMENTS, choose

SEARCHED = ("family", "num_levels", "lam", "placement", "seed")
"""Fields of `TrialConfig` that a study sets for each trial; the others are common to all of them."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_values(cls, values: Any) -> Any:
        """YAML's `yes` is no number, though Python would count it as 1."""
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, bool):
                raise ValueError(
                    f"{key} must be an integer or another number, not a truth value, got {value}; correct it"
                )
        return values


class IntegerRange(_Section):
    """Integers from `low` to `high`, both included."""

    low: int = Field(ge=2)
    high: int

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"high must be at least low ({self.low}), got {self.high}")
        return self


class FloatRange(_Section):
    """Numbers from `low` to `high`, searched on a logarithmic scale."""

    low: float = Field(gt=0, allow_inf_nan=False)
    high: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"high must be at least low ({self.low}), got {self.high}")
        return self


def _known_family(name: str) -> str:
    return choose("family", name, FAMILIES)


def _known_placement(name: str) -> str:
    return choose("placement", name, PLACEMENTS)


class Space(_Section):
    """What is searched: the dimensions and their ranges (`study.search.space` makes Optuna's distributions of them)."""

    family: list[Annotated[str, AfterValidator(_known_family)]] = Field(min_length=1)
    num_levels: IntegerRange = IntegerRange(low=2, high=64)
    lam: FloatRange = FloatRange(low=1e-5, high=1e-2)
    placement: list[Annotated[str, AfterValidator(_known_placement)]] = Field(list(PLACEMENTS), min_length=1)

    @model_validator(mode="after")
    def _every_family_has_a_placement(self) -> Self:
        for family in self.family:
            if not self.placements(family):
                raise ValueError(
                    f"placement must hold one of {list(FAMILIES[family].placements)} for family {family!r}, "
                    f"got {self.placement}"
                )
        return self

    def placements(self, family: str) -> list[str]:
        """Placements to choose from for a family."""
        return [placement for placement in self.placement if placement in FAMILIES[family].placements]


class Anchors(_Section):
    """Trials that come first and are never stopped early, besides the float baseline.

    Attributes:
        num_levels: for each K, one network trained without a penalty and quantized by k-means.
    """

    num_levels: list[Annotated[int, Field(ge=2)]] = [2, 4, 16]


class PlannedTrial(_Section):
    """A configuration to run, in place of what a search would propose: the fields of `TrialConfig` that differ."""

    family: Annotated[str, AfterValidator(_known_family)]
    num_levels: int | None = Field(ge=2)
    lam: float = Field(default=0.0, ge=0)
    placement: Annotated[str, AfterValidator(_known_placement)] = "kmeans"


class EarlyStopping(_Section):
    """When a trial is given up.

    Attributes:
        scheduler: `pareto-asha` (asynchronous successive halving by rank on the front of accuracy and bits), `asha`
            (the same on `val_accuracy` alone) or `none`.
        grace_period: epochs that every trial gets, where trials are stopped at all.
        reduction_factor: one in so many goes on at each rung.
    """

    scheduler: Literal["pareto-asha", "asha", "none"] = "pareto-asha"
    grace_period: int = Field(default=4, ge=1)
    reduction_factor: int = Field(default=3, ge=2)


GPU_PARTS = 10_000
"""In which Ray counts a GPU, cutting off the rest: three trials of 0.33334 fit on one."""


class Resources(_Section):
    """What a trial occupies.

    Attributes:
        cpus: cores, and threads of torch.
        gpus: GPUs; a fraction packs trials on one.
        max_concurrent: most trials at a time, and what a cluster that can grow is to grow for; as many as fit if not
            given.
    """

    cpus: int = Field(default=1, ge=1)
    gpus: float = Field(default=0, ge=0)
    max_concurrent: int | None = Field(default=None, ge=1)

    @property
    def trials_a_gpu(self) -> int:
        """How many trials share a GPU; `gpus` must be a fraction."""
        return GPU_PARTS // max(1, int(self.gpus * GPU_PARTS))

    def trials_on(self, node: Mapping[str, float]) -> int:
        """How many trials fit a node at a time.

        Args:
            node: what Ray counts there, by `CPU` and `GPU`.
        """
        by_cpus = int(node.get("CPU", 0)) // self.cpus
        if not self.gpus:
            return by_cpus
        gpus = int(node.get("GPU", 0))
        # A fraction is never taken from two GPUs.
        return min(by_cpus, gpus * self.trials_a_gpu if self.gpus < 1 else int(gpus / self.gpus))


class StudyConfig(_Section):
    """One search.

    Attributes:
        name: of the study and of its folder.
        trials: how many, anchors included.
        seed: of the sampler and of every trial (split, weights, order), so that trials differ by configuration alone.
        trial: what all trials have in common: fields of `trainables.config.TrialConfig`.
        baseline_epochs: length of the training of the float baseline that trials begin from where `trial.init` is
            `pretrained`; that of the first phase if not given.
        space: what is searched.
        anchors: what is run first.
        early_stopping: when a trial is given up.
        resources: what a trial occupies.
        sampler: `tpe` (ours), or Optuna's `optuna-tpe`, `nsga2`, `gp`, `qmc` or `random`.
        replicates: how often a configuration may be run, each time with another seed; after that a proposal of it is
            answered with the known result.
        constraints: what a result must fulfil, for example `val_accuracy >= 0.9`; the sampler prefers those that do.
        warm_start: folders or tables (`trials.parquet`) of studies whose results the sampler is to begin from.
        plan: configurations to run in place of a search, each as often as `replicates` says; as `qar confirm` makes it.
        optuna_storage: URI of the database that shows the study to optuna-dashboard, without a password
            (`postgresql://user@host/database`); SQLite in the study's folder if not given.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    trials: int = Field(ge=1)
    seed: int = Field(0, ge=0)
    trial: dict[str, Any] = {}
    baseline_epochs: int | None = Field(default=None, ge=1)
    space: Space
    anchors: Anchors = Anchors()
    early_stopping: EarlyStopping = EarlyStopping()
    resources: Resources = Resources()
    sampler: Literal["tpe", "optuna-tpe", "nsga2", "gp", "qmc", "random"] = "tpe"
    replicates: int = Field(default=1, ge=1)
    constraints: list[str] = []
    warm_start: list[str] = []
    plan: list[PlannedTrial] = []
    optuna_storage: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _resolve_trial(cls, values: Any) -> Any:
        """Fills in the defaults of `trial`, so that study.yaml says all and later defaults can't change it."""
        if not isinstance(values, dict) or not isinstance(values.get("trial", {}), dict):
            return values
        common = values.get("trial", {})
        for key in common:
            if key in SEARCHED:
                raise ValueError(f"trial.{key} is set for each trial by the study; put it under space, or leave it out")
        baseline = {"family": "none", "num_levels": None}
        try:
            resolved = TypeAdapter(TrialConfig).validate_python(common | baseline).to_dict()
        except ValidationError as error:
            raise ValueError(_one_line(error, "trial.")) from None
        return values | {"trial": {key: value for key, value in resolved.items() if key not in SEARCHED}}

    @model_validator(mode="after")
    def _baseline_is_begun_from(self) -> Self:
        if self.baseline_epochs is not None and self.trial["init"] != "pretrained":
            raise ValueError(
                "baseline_epochs must be left out where no trial begins from the float baseline, got "
                f"{self.baseline_epochs} with trial.init {self.trial['init']!r}; set trial.init to 'pretrained'"
            )
        return self

    @model_validator(mode="after")
    def _grace_period_within_budget(self) -> Self:
        if self.early_stopping.scheduler != "none" and self.early_stopping.grace_period > self.epochs:
            raise ValueError(
                f"early_stopping.grace_period must be at most the last epoch ({self.epochs}), "
                f"got {self.early_stopping.grace_period}"
            )
        return self

    @model_validator(mode="after")
    def _constraints_make_sense(self) -> Self:
        check_constraints(self.constraints, self.sampler)
        return self

    @model_validator(mode="after")
    def _plan_fits(self) -> Self:
        planned = len(self.plan) * self.replicates
        if self.plan and self.trials != planned:
            product = f"{len(self.plan)} × {self.replicates} = {planned}"
            raise ValueError(f"trials must be plan × replicates ({product}), got {self.trials}; set it so")
        for trial in self.plan:
            self.trial_config(trial.model_dump())
        return self

    @model_validator(mode="after")
    def _no_search_looks_at_the_test_split(self) -> Self:
        if self.trial["evaluate_test"] and not self.plan:
            raise ValueError(
                "trial.evaluate_test must be false where a search chooses, got True; leave it out, and look at the "
                "test split with qar confirm"
            )
        return self

    @field_validator("optuna_storage")
    @classmethod
    def _no_secret(cls, uri: str | None) -> str | None:
        """study.yaml keeps the URI, and studies are shared."""
        if uri is not None and "://" not in uri:
            raise ValueError(f"optuna_storage must be the URI of a database, got {uri!r}; correct it, or leave it out")
        if uri is not None and urlsplit(uri).password:
            shown = uri.replace(f":{urlsplit(uri).password}@", ":…@")
            raise ValueError(
                f"optuna_storage must hold no password, for study.yaml keeps it, got {shown!r}; "
                "leave it out, and put it into ~/.pgpass or the environment variable PGPASSWORD"
            )
        return uri

    def with_absolute_paths(self) -> "StudyConfig":
        """The same study with all paths absolute: workers have other working directories, and so may resume."""
        trial = self.trial | {"data_dir": _absolute(self.trial["data_dir"])}
        prefix, separator, path = trial["dataset"].partition("npz:")
        if separator and not prefix:
            trial["dataset"] = f"npz:{_absolute(path)}"
        warm_start = [_absolute(source) for source in self.warm_start]
        return self.model_copy(update={"trial": trial, "warm_start": warm_start})

    @property
    def epochs(self) -> int:
        """Full budget of a trial, in epochs of both phases."""
        return int(self.trial["regularize_epochs"]) + int(self.trial["finetune_epochs"])

    def trial_config(self, searched: dict[str, Any]) -> TrialConfig:
        """The configuration of one trial: what is common to all, and what was searched (or is to differ)."""
        return TrialConfig.from_dict(self.trial | {"seed": self.seed} | searched)

    @property
    def baseline_seeds(self) -> range:
        """Seeds of the float baselines that trials begin from, none unless `trial.init` is `pretrained`.

        One a seed: another seed is another split, and a network must not be validated on what it began to learn from.
        """
        return range(self.seed, self.seed + self.replicates if self.trial["init"] == "pretrained" else self.seed)

    def baseline_config(self, seed: int) -> TrialConfig:
        """The float baseline that trials of a seed begin from; its first phase is all of it that is trained."""
        length = self.baseline_epochs or self.trial["regularize_epochs"]
        plain = {"family": "none", "num_levels": None, "init": "scratch"}
        return self.trial_config(plain | {"seed": seed, "regularize_epochs": length})


def _absolute(path: str) -> str:
    """The path as seen from anywhere; a URI is that already."""
    return path if "://" in path else str(Path(path).expanduser().absolute())


def _choices(model: Any, location: tuple[int | str, ...]) -> list[str]:
    """Keys allowed where `location` points into a model of pydantic or a dataclass."""

    def fields_of(model: Any) -> dict[str, Any]:
        if is_dataclass(model):
            return {field.name: field.type for field in fields(model)}
        return {name: field.annotation for name, field in getattr(model, "model_fields", {}).items()}

    top = model
    for part in location:
        model = fields_of(model).get(str(part))
    return sorted(set(fields_of(model)) - (set(SEARCHED) if model is top is TrialConfig else set()))


def _one_line(error: ValidationError, prefix: str = "") -> str:
    """All that is wrong, in one line: name, rule, received value."""
    lines = []
    model = TrialConfig if prefix else StudyConfig
    for detail in error.errors():
        location = detail["loc"]
        name = prefix + ".".join(str(part) for part in location)
        if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            lines.append(f"unknown key {name!r}; choose from {_choices(model, location[:-1])}")
        elif detail["type"] == "value_error":  # our own message has all of it
            text = str(detail["ctx"]["error"])
            lines.append(text if not name or name.rstrip(".") in text else f"{name.rstrip('.')}: {text}")
        elif detail["type"] in ("missing", "missing_argument"):
            lines.append(f"{name} is missing; set it")
        else:
            rule = detail["msg"][:1].lower() + detail["msg"][1:]
            lines.append(f"{name}: {rule}, got {detail['input']!r}; correct it")
    return "; ".join(re.sub(r"\s+", " ", line) for line in lines)


def named_studies() -> list[str]:
    """Names of the studies that are installed with the package."""
    folder = resources.files("study") / "configs"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def parse_study(values: Any, source: str) -> StudyConfig:
    """Checks a configuration; raises ValueError, one line that begins with `source`, if anything is wrong."""
    if not isinstance(values, dict):
        raise ValueError(f"{source}: a study must be a mapping of keys to values, got {type(values).__name__}")
    try:
        return StudyConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"{source}: {_one_line(error)}") from None


def load_study(study: str, overrides: list[str] | None = None) -> StudyConfig:
    """Reads a study.

    Args:
        study: one of `named_studies()`, or the path of a YAML file.
        overrides: `key=value` pairs, dots between nested keys: `trial.recipe.batch_size=32`.

    Raises:
        ValueError: there is no such study, or something in it is wrong; one line.
    """
    path = Path(study)
    if study in named_studies():
        text = (resources.files("study") / "configs" / f"{study}.yaml").read_bytes()
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        text = path.read_bytes()
    else:
        raise ValueError(f"unknown study {study!r}; choose from {named_studies()} or give the path of a YAML file")
    values = _yaml(text, study)
    if isinstance(values, dict):  # anything else is refused below
        _override(values, overrides or [])
    return parse_study(values, study)


def changes_by(overrides: list[str], config: StudyConfig) -> list[str]:
    """Those of the `key=value` pairs that would change a study.

    Raises:
        ValueError: one of them is wrong.
    """

    def changes(override: str) -> bool:
        values = config.model_dump()
        _override(values, [override])
        return parse_study(values, f"--set {override}").with_absolute_paths() != config

    return [override for override in overrides if changes(override)]


def _override(values: dict[str, Any], overrides: list[str]) -> None:
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise ValueError(f"--set must be KEY=VALUE, got {override!r}; for example --set trials=10")
        _set(values, key.split("."), _yaml(value, f"--set {override}"))


def _yaml(text: str | bytes, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: not YAML: {' '.join(str(error).split())}; correct it") from None


def _set(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ValueError(f"--set {'.'.join(keys)}: {key!r} holds no keys, got {inner!r}; leave out what follows it")
        values = inner
    values[keys[-1]] = value
