"""The configuration of a study: the schema of study.yaml, which suffices to launch the study again."""

import copy
import re
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from study.config.code import check_code
from study.config.grid import with_expanded_plan
from study.config.groups import with_allocation
from study.config.rules.credentials import redacted, refuse_credentials
from study.config.rules.rules import check_rules
from study.config.rules.web import is_web_address
from study.config.section import Section
from study.config.sections import Anchors, Count, EarlyStopping, PlannedTrial, Resources, Space
from study.config.stopping import StopRules
from study.config.versions import StudyVersion
from trainables.config import LARGEST_INTEGER, TrialConfig
from trainables.import_path import PATH_PREFIXES

SEARCHED = ("family", "num_levels", "lam", "placement", "seed")
"""Fields of `TrialConfig` that a study sets for each trial; the others are the same for all trials."""


STORED = "stored"
"""Key of the validation context for studies that exist already, which skips the rules for new studies."""


def _valid_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            "name must consist of letters, digits, '.', '_' and '-', and begin with a letter or digit, "
            f"got {name!r}; choose another"
        )
    return name


class StudyConfig(Section):
    """Configuration of one search.

    Attributes:
        name: name of the study and of its folder.
        trials: number of trials, anchors included.
        seed: seed of the sampler and of every trial (split, weights, order of batches), so that trials differ only by
            their configuration.
        trial: fields of `trainables.config.TrialConfig` that are the same for all trials.
        baseline_epochs: epochs of the float network from which trials start if `trial.init` is `pretrained`; the
            length of the first phase if not given.
        space: search space.
        anchors: trials that run first.
        early_stopping: rules by which trials are stopped.
        resources: resources of a trial.
        sampler: `tpe` (our own), or Optuna's `optuna-tpe`, `nsga2`, `gp`, `qmc` or `random`.
        sampler_version: version of the rules of `tpe`: 2, or 1 in a study that was made before there was another, whose
            further proposals follow the rules that it began with.
        replicates: number of times that a configuration may run, each with another seed. Further proposals of it are
            answered with the known result.
        constraints: bounds on results, such as `val_accuracy >= 0.9`; the sampler prefers results that satisfy them.
        warm_start: folders or tables (`trials.parquet`) of studies from whose results the sampler learns.
        code: text of the Python files of parts named by import path, by relative path. A launch fills it in from the
            folder of the YAML file and the working directory.
        plan: configurations to run `replicates` times each instead of a search, as `qar confirm` writes them; or a
            grid of values, `{grid: {family: […], num_levels: […], lam: […], …}, seeds: N}`.
        optuna_storage: URI, without a password, of the database that optuna-dashboard shows
            (`postgresql://user@host/database`); an SQLite file in the study's folder if not given.
        loggers: trackers that show the study while it runs: `tensorboard`, `mlflow`, `wandb`.
        stop: rules that end the study before its last trial, such as a time or a front that no longer grows.
        notify: URL to which JSON is posted at a new knee of the front, at a failure and at the end.
        earlier_versions: spaces and rules of early stopping that were in force before the present ones, oldest first.
            `qar resume --set` fills it in.
    """

    name: Annotated[str, AfterValidator(_valid_name)]
    trials: Count
    seed: int = Field(0, ge=0, le=LARGEST_INTEGER)
    trial: dict[str, Any] = Field(default_factory=dict)
    baseline_epochs: Count | None = None
    space: Space
    anchors: Anchors = Anchors()
    early_stopping: EarlyStopping = EarlyStopping()
    resources: Resources = Resources()
    sampler: Literal["tpe", "optuna-tpe", "nsga2", "gp", "qmc", "random"] = "tpe"
    sampler_version: Literal[1, 2] = 2
    replicates: Count = 1
    constraints: list[str] = Field(default_factory=list)
    warm_start: list[str] = Field(default_factory=list)
    plan: list[PlannedTrial] = Field(default_factory=list)
    optuna_storage: str | None = None
    code: Annotated[dict[str, str], AfterValidator(check_code)] = Field(default_factory=dict)
    loggers: list[Literal["tensorboard", "mlflow", "wandb"]] = Field(default_factory=list)
    notify: str | None = None
    stop: StopRules | None = None
    earlier_versions: list[StudyVersion] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _resolve_trial(cls, values: Any) -> Any:
        """Fill in the defaults of `trial`, so that study.yaml is complete and later defaults can't change a study."""
        if not isinstance(values, dict) or not isinstance(values.get("trial", {}), dict):
            return values
        values = dict(with_expanded_plan(values))
        values = with_allocation(values)
        common = values.get("trial", {})
        known = {field.name for field in fields(TrialConfig)} - set(SEARCHED)
        for key in common:
            if key == "seed":
                raise ValueError("trial.seed is set by the study; set the key seed of the study, beside trial")
            if key in SEARCHED:
                raise ValueError(f"trial.{key} is set for each trial by the study; set it under space, or leave it out")
            if key not in known:
                raise ValueError(f"unknown key 'trial.{key}'; choose from {sorted(known)}")
        resolved = TrialConfig.from_dict(common | {"family": "none", "num_levels": None}, "trial").to_dict()
        return values | {"trial": {key: value for key, value in resolved.items() if key in known}}

    @model_validator(mode="after")
    def _keeps_the_rules(self, info: ValidationInfo) -> Self:
        check_rules(self, is_new=not (info.context and info.context.get(STORED)))
        return self

    @field_validator("optuna_storage")
    @classmethod
    def _uri_of_a_database(cls, uri: str | None) -> str | None:
        if uri is not None and "://" not in uri:
            raise ValueError(
                f"optuna_storage must be the URI of a database, got {redacted(uri)!r}; correct it, or leave it out"
            )
        return uri

    @field_validator("notify")
    @classmethod
    def _web_address(cls, url: str | None) -> str | None:
        if url is not None and not is_web_address(url):
            raise ValueError(
                f"notify must have the form https://HOST/PATH or http://HOST/PATH, got {redacted(url)!r}; correct it"
            )
        refuse_credentials("notify", url, "let the receiver tell studies apart by the path")
        return url

    def with_absolute_paths(self) -> "StudyConfig":
        """Return the configuration with absolute paths, since workers and later sessions have other working folders."""
        trial = self.trial | {"data_dir": _absolute(self.trial["data_dir"])}
        if trial["initial_weights"] is not None:
            trial["initial_weights"] = _absolute(trial["initial_weights"])
        for prefix in PATH_PREFIXES:
            if trial["dataset"].startswith(prefix):
                trial["dataset"] = prefix + _absolute(trial["dataset"].removeprefix(prefix))
        warm_start = [_absolute(source) for source in self.warm_start]
        return self.model_copy(update={"trial": trial, "warm_start": warm_start})

    @property
    def version(self) -> int:
        """Number of the present space and rules of early stopping, from 1."""
        return len(self.earlier_versions) + 1

    @property
    def versions(self) -> list[StudyVersion]:
        """All spaces and rules of early stopping, the present ones last."""
        return [*self.earlier_versions, StudyVersion(space=self.space, early_stopping=self.early_stopping)]

    @property
    def most_levels(self) -> int | None:
        """Largest K of the study; None for a plan without quantized networks."""
        planned = [trial.num_levels for trial in self.plan if trial.num_levels is not None]
        searched = [] if self.plan else [self.space.num_levels.high, *self.anchors.num_levels]
        return max([*planned, *searched], default=None)

    @property
    def epochs(self) -> int:
        """Full budget of a trial, in epochs of both phases."""
        return int(self.trial["regularize_epochs"]) + int(self.trial["finetune_epochs"])

    def trial_config(self, searched: dict[str, Any]) -> TrialConfig:
        """Return the configuration of one trial.

        Args:
            searched: fields of `TrialConfig` that differ from those of `trial`, by dotted name. All trials have as
                many epochs in all: `finetune_epochs` follows a searched `regularize_epochs`.

        Raises:
            ValueError: a field is invalid.
        """
        values = copy.deepcopy(self.trial) | {"seed": self.seed}
        if "regularize_epochs" in searched and "finetune_epochs" not in searched:
            values["finetune_epochs"] = max(0, self.epochs - searched["regularize_epochs"])
        for name, value in searched.items():
            *sections, key = name.split(".")
            section = values
            for part in sections:
                section = section[part]
            section[key] = value
        choices = values["allocation"]["num_levels"]
        if values["num_levels"] is not None and values["allocation"]["bits"] is not None and choices:
            values["num_levels"] = max(choices)  # of no layer: each has its own
        return TrialConfig.from_dict(values)

    @property
    def searched_fields(self) -> list[str]:
        """Dotted names of the fields that `space.fields` or a plan sets for each trial, besides `SEARCHED`."""
        if self.plan:
            return sorted({name for trial in self.plan for name in trial.fields})
        return list(self.space.fields)

    @property
    def baseline_seeds(self) -> range:
        """Seeds of the float networks from which trials start; empty unless `trial.init` is `pretrained`.

        There are none either where `trial.initial_weights` are given. Each seed has its own float network: its
        split differs, and no network may be validated on images on which it was trained before.
        """
        return range(self.seed, self.seed + self.replicates if self._trains_baselines else self.seed)

    @property
    def sensitivity_seeds(self) -> range:
        """Seeds whose float network's sensitivity is measured; empty unless bits are allocated to layers."""
        return range(self.seed, self.seed + self.replicates if self.trial["allocation"]["num_levels"] else self.seed)

    def measured_config(self, seed: int) -> TrialConfig:
        """Return the configuration of a trial from whose float network the sensitivity of a seed is measured."""
        return self.trial_config({"family": "none", "num_levels": None, "seed": seed})

    @property
    def _trains_baselines(self) -> bool:
        return self.trial["init"] == "pretrained" and self.trial["initial_weights"] is None

    def baseline_config(self, seed: int) -> TrialConfig:
        """Return the configuration of the float network of a seed, which is trained for its first phase alone."""
        length = self.baseline_epochs or self.trial["regularize_epochs"]
        plain = {"family": "none", "num_levels": None, "init": "scratch"}
        lengths = {"regularize_epochs": length, "finetune_epochs": self.trial["finetune_epochs"]}
        return self.trial_config(plain | {"seed": seed} | lengths)


def _absolute(path: str) -> str:
    """Return an absolute path; a URI is returned unchanged."""
    return path if "://" in path else str(Path(path).expanduser().absolute())
