"""The configuration of a study: what study.yaml holds, complete enough to launch the study again."""

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from study.config.constraints import check as check_constraints
from study.config.messages import one_line
from study.config.sections import Anchors, EarlyStopping, PlannedTrial, Resources, Section, Space
from trainables.config import TrialConfig

SEARCHED = ("family", "num_levels", "lam", "placement", "seed")
"""Fields of `TrialConfig` that a study sets for each trial; the others are common to all of them."""


class StudyConfig(Section):
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
    trial: dict[str, Any] = Field(default_factory=dict)
    baseline_epochs: int | None = Field(default=None, ge=1)
    space: Space
    anchors: Anchors = Anchors()
    early_stopping: EarlyStopping = EarlyStopping()
    resources: Resources = Resources()
    sampler: Literal["tpe", "optuna-tpe", "nsga2", "gp", "qmc", "random"] = "tpe"
    replicates: int = Field(default=1, ge=1)
    constraints: list[str] = Field(default_factory=list)
    warm_start: list[str] = Field(default_factory=list)
    plan: list[PlannedTrial] = Field(default_factory=list)
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
            raise ValueError(one_line(error, TrialConfig, SEARCHED, "trial.")) from None
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
