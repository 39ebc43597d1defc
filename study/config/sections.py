"""Sections of a study's configuration: search space, anchors, plan, early stopping and resources."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from study.config.dimensions import FAMILY, Dimension, types_of, with_fields
from study.config.section import Section
from trainables.config import LARGEST_INTEGER
from trainables.families import Family, check_placement, family_of
from trainables.import_path import is_import_path

MOST_LEVELS = 65_536
"""Largest K of a new study, whose index has 16 bits. A bfloat16 weight has as many and needs no codebook."""

ABSENT = object()
"""Value of a dimension that does not exist for a trial, which equals no other."""

Count = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]


def _is_absent(value: object) -> bool:
    return value is None


class Levels(Section):
    """Numbers of levels K to search: a range, on a logarithmic scale, or a list of values.

    Attributes:
        low: least value.
        high: greatest value.
        values: the values of a list, increasing; None for a range.
    """

    low: int = Field(ge=2, le=LARGEST_INTEGER)
    high: int = Field(le=LARGEST_INTEGER)
    values: list[int] | None = Field(default=None, exclude_if=_is_absent)

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, levels: Any) -> Any:
        """Accept a list, or a single value, in place of the keys."""
        is_mapping = isinstance(levels, Mapping)
        given = levels.get("values") if is_mapping else [levels] if type(levels) is int else levels
        if not isinstance(given, list):
            return levels
        if not given or any(type(value) is not int for value in given) or len(set(given)) < len(given):
            raise ValueError(
                f"space.num_levels must be a range or a list of distinct whole numbers, got {given!r}; correct it"
            )
        ends = {"low": min(given), "high": max(given)}
        if is_mapping and any(levels.get(key, value) != value for key, value in ends.items()):
            raise ValueError(
                f"space.num_levels must have low and high, or values, got {dict(levels)!r}; leave one of them out"
            )
        return {**ends, "values": sorted(given)}

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"high must be at least low ({self.low}), got {self.high}; raise it")
        return self

    @property
    def middle(self) -> int:
        """A value in the middle, on a logarithmic scale."""
        middle = math.sqrt(self.low * self.high)
        return min(self.values, key=lambda value: abs(math.log(value / middle))) if self.values else round(middle)


class FloatRange(Section):
    """Numbers from `low` to `high`, both included, searched on a logarithmic scale."""

    low: float = Field(gt=0, allow_inf_nan=False)
    high: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"high must be at least low ({self.low}), got {self.high}; raise it")
        return self


def _known_family(name: str) -> str:
    family_of(name)
    return name


def _known_placement(name: str) -> str:
    return check_placement(name)


def _supports(family: str, placement: str) -> bool:
    return is_import_path(placement) or placement in family_of(family).placements


class Space(Section):
    """Search space: the dimensions and their ranges, which `study.search.space` converts to Optuna's distributions.

    Attributes:
        family: families of regularizers to search.
        num_levels: range of K, or a list of values.
        lam: range of λ, in the unit of `trial.recipe.lam_unit`.
        lam_by_family: range of λ of families that need another one.
        placement: placements of representatives to search. A family without representatives of its own is placed by
            `kmeans` where only `own` is given.
        fields: further fields of a trial by dotted name, such as `recipe.learning_rate`, which may also be written
            beside the other keys.
    """

    family: list[Annotated[str, AfterValidator(_known_family)]] = Field(min_length=1)
    num_levels: Levels = Levels(low=2, high=64)
    lam: FloatRange = FloatRange(low=1.0, high=32.0)
    lam_by_family: dict[Annotated[str, AfterValidator(_known_family)], FloatRange] = Field(default_factory=dict)
    placement: list[Annotated[str, AfterValidator(_known_placement)]] = Field(["own"], min_length=1)
    fields: dict[str, Dimension] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _collect_fields(cls, values: Any) -> Any:
        return with_fields(values, cls.model_fields)

    @field_validator("fields", mode="before")
    @classmethod
    def _fields_of_trials(cls, values: Any) -> Any:
        for name in values if isinstance(values, Mapping) else ():
            types_of(name)
        return values

    @field_validator("fields")
    @classmethod
    def _typed_fields(cls, dimensions: dict[str, Dimension]) -> dict[str, Dimension]:
        return {name: dimension.typed_as(name) for name, dimension in dimensions.items()}

    @model_validator(mode="after")
    def _conditions_name_choices(self) -> Self:
        choices: dict[str, list[Any]] = {FAMILY: list(self.family)}
        for name, dimension in self.fields.items():
            for parent, values in dimension.when.items():
                key = f"space.{name}.when.{parent}"
                if parent not in choices:
                    raise ValueError(
                        f"{key} must name family, or a dimension above it with a list of values, got {parent!r}; "
                        f"choose from {sorted(choices)}"
                    )
                if unknown := [value for value in values if value not in choices[parent]]:
                    raise ValueError(f"{key} must be among {choices[parent]}, got {unknown[0]!r}; correct it")
            if dimension.values is not None:
                choices[name] = dimension.values
        return self

    @model_validator(mode="after")
    def _ranges_are_of_penalties(self) -> Self:
        for family, values in self.lam_by_family.items():
            if not family_of(family).has_penalty:
                got = f"{family}: [{values.low}, {values.high}]"
                raise ValueError(f"lam_by_family must name families with a penalty, got {got}; leave it out")
        return self

    def exists(self, name: str, chosen: Mapping[str, Any]) -> bool:
        """Return whether a field of `fields` is searched, given the values of the dimensions above it.

        Args:
            name: dotted name of the field.
            chosen: values by name; those of dimensions that do not exist are missing, or `ABSENT`.
        """
        when = self.fields[name].when
        return all(chosen.get(parent, ABSENT) in values for parent, values in when.items())

    def lam_range(self, family: str) -> FloatRange:
        """Return the range of λ of a family with a penalty."""
        return self.lam_by_family.get(family, self.lam)

    def middle_lam(self, family: str) -> float:
        """Return the middle of a family's range of λ, on its logarithmic scale; 0 for a family without a penalty."""
        lam = self.lam_range(family)
        return math.sqrt(lam.low * lam.high) if family_of(family).has_penalty else 0.0

    def placements(self, family: str) -> list[str]:
        """Return the placements of the space that a family supports; its default one if it supports none of them."""
        supported = [placement for placement in self.placement if _supports(family, placement)]
        return supported or [family_of(family).default_placement]


class Anchors(Section):
    """Trials that come first and are never stopped early, besides the float baseline.

    Attributes:
        num_levels: values of K, for each of which one network of each of these families is trained.
        family: families of the anchors, placed by their default and with λ in the middle of its range, so that they can
            be compared at equal K.
    """

    num_levels: list[Annotated[int, Field(ge=2, le=LARGEST_INTEGER)]] = Field(default=[2, 4, 16])
    family: list[Annotated[str, AfterValidator(_known_family)]] = Field(default=["none"])


def _family_in(values: Any) -> Family | None:
    """Return the family of a planned trial that is not checked yet; None if it names no known one."""
    name = values.get("family") if isinstance(values, dict) else None
    try:
        return family_of(name) if isinstance(name, str) else None
    except ValueError:
        return None


class PlannedTrial(Section):
    """A configuration to run instead of a proposal of the sampler: the fields of `TrialConfig` that differ.

    A placement that is left out is the family's default.

    Attributes:
        family: its family.
        num_levels: K; None for a float baseline.
        lam: λ.
        placement: placement of representatives.
        fields: further fields by dotted name, which may also be written beside the other keys.
    """

    family: Annotated[str, AfterValidator(_known_family)]
    num_levels: int | None = Field(ge=2, le=LARGEST_INTEGER)
    lam: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    placement: Annotated[str, AfterValidator(_known_placement)] = ""
    fields: dict[str, Any] = Field(default_factory=dict)

    @property
    def searched(self) -> dict[str, Any]:
        """Fields of the trial by dotted name, as `StudyConfig.trial_config` takes them."""
        return self.model_dump(exclude={"fields"}) | self.fields

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in values:
            types_of(name)
        return values

    @model_validator(mode="before")
    @classmethod
    def _placed_by_default(cls, values: Any) -> Any:
        values = with_fields(values, cls.model_fields)
        family = _family_in(values)
        return values if family is None else {"placement": family.default_placement} | values


class EarlyStopping(Section):
    """Rules by which trials are stopped before their full budget.

    Attributes:
        scheduler: `pareto-asha` (asynchronous successive halving by rank on the front of accuracy and bits), `asha`
            (the same by `val_accuracy` alone) or `none`.
        grace_period: epochs before the first rung.
        reduction_factor: number of trials of which one continues at each rung.
        first_of_family: `finished` if the first trial of each family is never stopped, so that every family has a
            result; `compared` if it is compared at the rungs, as in studies of versions without this key.
    """

    scheduler: Literal["pareto-asha", "asha", "none"] = "pareto-asha"
    grace_period: Count = 4
    reduction_factor: int = Field(default=3, ge=2, le=LARGEST_INTEGER)
    first_of_family: Literal["finished", "compared"] = "finished"


GPU_PARTS = 10_000
"""Parts of a GPU, or of a core, that Ray counts. It truncates smaller ones: three trials of 0.33334 fit on one GPU."""

MOST_TRIALS_OF_AN_ACTOR = 256
"""Most trials that one actor trains: each has a process of its own that waits for it."""


def _is_one(value: object) -> bool:
    return value == 1


class Resources(Section):
    """Resources of a trial, or of the trials that one actor trains together.

    Attributes:
        cpus: number of cores, and of torch's threads.
        gpus: number of GPUs; with a fraction, several actors share one.
        trials_per_actor: trials of the same network that an actor trains in lockstep, on the resources above.
        max_concurrent: most trials that run at the same time, for which an autoscaling cluster adds nodes; as many as
            fit if not given.
        checkpoints: when a trial writes a checkpoint. `needed`: where it may have to continue, so that a loss costs at
            most half a minute of training or one epoch (`study.records.checkpoints`); `every_epoch`: after each epoch.
    """

    cpus: Count = 1
    gpus: float = Field(default=0, ge=0, allow_inf_nan=False)
    trials_per_actor: int = Field(default=1, ge=1, le=MOST_TRIALS_OF_AN_ACTOR, exclude_if=_is_one)
    max_concurrent: Count | None = None
    checkpoints: Literal["needed", "every_epoch"] = "needed"

    @property
    def of_a_trial(self) -> tuple[float, float]:
        """Share of one trial in the cores and in the GPUs of its actor, in units that Ray counts, rounded down."""
        if self.trials_per_actor == 1:
            return self.cpus, self.gpus
        cpus, gpus = (int(amount * GPU_PARTS / self.trials_per_actor) / GPU_PARTS for amount in (self.cpus, self.gpus))
        return cpus, gpus

    @property
    def trials_a_gpu(self) -> int:
        """Number of trials that share a GPU, if `gpus` is a fraction."""
        return GPU_PARTS // max(1, int(self.gpus * GPU_PARTS)) * self.trials_per_actor

    def trials_on(self, node: Mapping[str, float]) -> int:
        """Return the number of trials that fit on a node at the same time.

        Args:
            node: resources of the node as Ray counts them, by `CPU` and `GPU`.
        """
        by_cpus = int(node.get("CPU", 0)) // self.cpus * self.trials_per_actor
        if not self.gpus:
            return by_cpus
        gpus = int(node.get("GPU", 0))
        # A fraction is never taken from two GPUs.
        by_gpus = gpus * self.trials_a_gpu if self.gpus < 1 else int(gpus / self.gpus) * self.trials_per_actor
        return min(by_cpus, by_gpus)
