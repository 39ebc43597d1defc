"""The configuration of one trial: plain, frozen, checked once.

Maths elsewhere takes plain arguments; only `trainables.phases` and the adapters to Ray read these classes.
"""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from types import NoneType
from typing import Any, TypeVar, get_args

from trainables.families import FAMILIES, choose

LARGEST_INTEGER = 2**63 - 1
"""Largest integer that the tables hold."""

TYPE_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "text", NoneType: "null"}
"""Names of the types of fields in messages."""

_Section = TypeVar("_Section")


def _require(holds: bool, name: str, rule: str, value: object, remedy: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {value!r}; {remedy}")


def _require_positive(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        _require(math.isfinite(value) and value > 0, name, "a finite number above 0", value, "raise it")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained, whatever the family.

    Attributes:
        batch_size: images in a batch, at least 2: batch normalization can't train on a single image.
        penalty_application: how the penalty moves the weights. `decoupled`: after the optimizer's step, each weight is
            drawn along the penalty's slope, never past its representative; `proximal`: the same by the penalty's
            proximal step (RM); `coupled`: the penalty's gradient is added to the loss's and goes through the optimizer,
            where Adam divides it by its second moment, so that one λ means something else in each layer.
        lam_unit: what λ counts. `half_spacings`: how many half-spacings of a layer's representatives a weight at the
            steepest slope is drawn over the whole phase, whatever the learning rate, the number of epochs, K and the
            layer (not with `coupled`); `gradient`: λ multiplies the penalty's gradient.
        optimizer: `adam` (with decoupled weight decay, AdamW) or `sgd` (Nesterov momentum 0.9), for the weights.
        learning_rate: the highest of the regularize phase.
        finetune_learning_rate: the highest of the finetune phase, for biases and normalization.
        representative_learning_rate: step of Adam on the representatives of a layer, in units of their mean
            spacing when the phase begins, so that one value serves every K and every layer.
        schedule: how learning rates fall over a phase: along a `cosine` to 0, or in a `step` to a tenth at half and
            to a hundredth at three quarters.
        warmup_epochs: over which the learning rates of the regularize phase rise from 0, linearly.
        lam_warmup_epochs: over which λ rises from 0, linearly.
        weight_decay: of the regularize phase, on the weights of convolutions, linear layers and attention that are not
            to be quantized, which are all of a float network's (`num_levels: null`). Biases, normalization, embeddings,
            position tables, class tokens and layer scales are never decayed.
        decay_quantized: also on weights that are to be quantized, whatever the family. Off: the pull is towards 0, the
            penalty's towards the representatives, and one would be measured through the other.
        augmentation: `none`, or `crop_flip`: random crops of images padded by 4 pixels, and horizontal flips.
        recalibration_batches: batches of training images from which the statistics of batch normalization are
            re-estimated for each evaluation of the quantized network; 0 leaves that out.
        statistics: which accuracy of the quantized network is `val_accuracy`, the objective: that with `recalibrated`
            statistics of batch normalization, or that with those `kept` from training. Both are reported.
        compile: run the network through `torch.compile`: faster on GPUs after minutes of compiling.
    """

    batch_size: int = 64
    penalty_application: str = "coupled"
    lam_unit: str = "gradient"
    optimizer: str = "adam"
    learning_rate: float = 3e-3
    finetune_learning_rate: float = 1e-3
    representative_learning_rate: float = 0.02
    schedule: str = "cosine"
    warmup_epochs: float = 0.0
    lam_warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    decay_quantized: bool = False
    augmentation: str = "none"
    recalibration_batches: int = 0
    statistics: str = "recalibrated"
    compile: bool = False

    def __post_init__(self) -> None:
        choose("penalty_application", self.penalty_application, ("decoupled", "coupled", "proximal"))
        choose("lam_unit", self.lam_unit, ("half_spacings", "gradient"))
        choose("statistics", self.statistics, ("recalibrated", "kept"))
        _require(
            self.lam_unit == "gradient" or self.penalty_application != "coupled",
            "lam_unit",
            "'gradient' where penalty_application is 'coupled'",
            self.lam_unit,
            "set it so, or choose another penalty_application",
        )
        choose("optimizer", self.optimizer, ("adam", "sgd"))
        choose("schedule", self.schedule, ("cosine", "step"))
        choose("augmentation", self.augmentation, ("none", "crop_flip"))
        _require(self.batch_size >= 2, "batch_size", "at least 2", self.batch_size, "raise it")
        _require_positive(self, "learning_rate", "finetune_learning_rate", "representative_learning_rate")
        for name in ("warmup_epochs", "lam_warmup_epochs", "weight_decay", "recalibration_batches"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, name, "finite and at least 0", value, "use 0 for none")


@dataclass(frozen=True, kw_only=True)
class PenaltyForm:
    """The switches of the penalties (`trainables.regularizers.registry`).

    Attributes:
        reduction: `sum` over a layer's weights, so that the pull on a weight does not depend on the size of
            its layer, or `mean`.
        squared: square the distance-like penalties of RS, RC and RM.
        scale: divide out the size of a well, so that one λ means the same pull for every family and K.
        bounded: RE's bounded wells 1 − max_k exp(−(w − r_k)²/τ) instead of the soft minimum.
        temperature: RE's τ at the start, in squared mean spacings of the representatives.
        final_temperature: the same at the end of the phase; τ falls geometrically between the two.
        initial: where trainable representatives begin: `quantiles`, `grid` or `kmeans`.
        interval: the interval [a, b] of RS and RC when the phase begins. `minmax`: from the smallest to the largest
            weight; `sigma`: the mean ± `interval_sigmas` standard deviations, but no wider; `quantiles`: without a
            share of `interval_quantile` at each end.
        interval_sigmas: half the width of the interval `sigma`, in standard deviations.
        interval_quantile: share of the weights below, and above, the interval `quantiles`.
    """

    reduction: str = "sum"
    squared: bool = False
    scale: bool = True
    bounded: bool = False
    temperature: float = 0.25
    final_temperature: float = 0.025
    initial: str = "quantiles"
    interval: str = "minmax"
    interval_sigmas: float = 2.5
    interval_quantile: float = 0.005

    def __post_init__(self) -> None:
        choose("reduction", self.reduction, ("sum", "mean"))
        choose("initial", self.initial, ("quantiles", "grid", "kmeans"))
        choose("interval", self.interval, ("minmax", "sigma", "quantiles"))
        _require_positive(self, "temperature", "final_temperature", "interval_sigmas")
        quantile = self.interval_quantile
        _require(0 <= quantile < 0.5, "interval_quantile", "at least 0 and below 0.5", quantile, "try 0.005")


ADDED: dict[str, dict[str, Any]] = {
    "recipe": {"penalty_application": "coupled", "lam_unit": "gradient", "statistics": "recalibrated"},
    "penalty": {"interval": "minmax", "interval_sigmas": 2.5, "interval_quantile": 0.005},
}
"""Fields that a later version added, by section. With these values a trial is what it was before they existed."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One configuration and one seed: all that decides what a trial does.

    Attributes:
        family: a key of `trainables.families.FAMILIES`.
        num_levels: K ≥ 2, or None for the float baseline, which is never quantized (family `none` only).
        lam: λ ≥ 0, the weight of the penalty in the loss; 0 for family `none`.
        placement: where the final representatives lie: `own` (the family's), `kmeans` or `uniform`.
        seed: of the split, the initial weights and the order of the images.
        model: a key of `trainables.models.MODELS`, or `torchvision:` and the name of one of its classifiers.
        width: multiplies the channels of every layer of a model of `MODELS`.
        init: `scratch`, or `pretrained`: from the study's float baseline, trained once and shared.
        dataset: a key of `trainables.data.datasets.DATASETS`, or `npz:` and the path of a prepared file.
        data_dir: where prepared data sets lie, and downloads go; no part of what the configuration is.
        subset: training images used, a stratified choice; None for all.
        validation_fraction: share of the training images held out for validation, stratified by class.
        regularize_epochs: length of the first phase, at least 1.
        finetune_epochs: length of the second phase; 0 leaves it out.
        evaluate_test: whether the last epoch tells the accuracy on the test split too, as only confirmed trials should;
            no part of what the configuration is.
        recipe: how the network is trained.
        penalty: the switches of the penalty.
    """

    family: str
    num_levels: int | None
    lam: float = 0.0
    placement: str = "kmeans"
    seed: int = 0
    model: str = "small_cnn"
    width: float = 1.0
    init: str = "scratch"
    dataset: str = "digits"
    data_dir: str = "data"
    subset: int | None = None
    validation_fraction: float = 0.25
    regularize_epochs: int = 12
    finetune_epochs: int = 6
    evaluate_test: bool = False
    recipe: Recipe = field(default_factory=Recipe)
    penalty: PenaltyForm = field(default_factory=PenaltyForm)

    def __post_init__(self) -> None:
        family = FAMILIES[choose("family", self.family, FAMILIES)]
        if self.num_levels is None:
            _require(self.family == "none", "num_levels", f"given for family {self.family!r}", None, "set it")
        else:
            _require(self.num_levels >= 2, "num_levels", "at least 2", self.num_levels, "raise it")
        _require(math.isfinite(self.lam) and self.lam >= 0, "lam", "finite and at least 0", self.lam, "use 0 for none")
        _require(family.has_penalty or self.lam == 0, "lam", f"0 for family {self.family!r}", self.lam, "leave it out")
        _require(
            self.recipe.penalty_application != "proximal" or not family.has_penalty or family.has_proximal_step,
            "penalty_application",
            f"'decoupled' or 'coupled' for family {self.family!r}, whose proximal step has no closed form",
            self.recipe.penalty_application,
            "choose one of them",
        )
        choose(f"placement for family {self.family!r}", self.placement, family.placements)
        _require(0 <= self.seed <= LARGEST_INTEGER, "seed", f"from 0 to {LARGEST_INTEGER}", self.seed, "choose another")
        _require(
            0 < self.validation_fraction < 1,
            "validation_fraction",
            "between 0 and 1",
            self.validation_fraction,
            "try 0.1",
        )
        choose("init", self.init, ("scratch", "pretrained"))
        _require_positive(self, "width")
        _require(self.subset is None or self.subset >= 1, "subset", "at least 1", self.subset, "leave it out for all")
        _require(self.regularize_epochs >= 1, "regularize_epochs", "at least 1", self.regularize_epochs, "raise it")
        _require(self.finetune_epochs >= 0, "finetune_epochs", "at least 0", self.finetune_epochs, "raise it")
        _require(
            self.epochs <= LARGEST_INTEGER,
            "regularize_epochs + finetune_epochs",
            f"at most {LARGEST_INTEGER}",
            self.epochs,
            "lower them",
        )

    @property
    def epochs(self) -> int:
        """Epochs of both phases together: the full budget of a trial."""
        return self.regularize_epochs + self.finetune_epochs

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionary; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], at: str = "") -> "TrialConfig":
        """Return the configuration that a nested dictionary describes: the inverse of `to_dict`.

        Args:
            values: fields by name; those left out keep their defaults. No value is converted to another type, but for
                an integer where a number may have a fraction.
            at: name of the dictionary in messages, as `trial` in a study.

        Raises:
            ValueError: a key is unknown or missing, or a value has the wrong type or breaks its rule; one line.
        """
        return _read(cls, values, at)

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the configuration; replicates, which differ in seed alone, share it."""
        values = self.to_dict()
        del values["seed"], values["data_dir"], values["evaluate_test"]
        for section, fields_added in ADDED.items():
            for key, value in fields_added.items():
                if values[section][key] == value:  # the hash is that of the versions without the field
                    del values[section][key]
        return hashlib.sha256(json.dumps(_canonical(values), sort_keys=True).encode()).hexdigest()[:12]


def _read(kind: type[_Section], values: object, at: str) -> _Section:
    """Return the dataclass that a dictionary describes; raises as `TrialConfig.from_dict` does."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{at or 'a configuration'} must be a mapping of keys to values, got {values!r}; correct it")
    prefix = f"{at}." if at else ""
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    problems, accepted = [], {}
    for key, value in values.items():
        if key not in known:
            problems.append(f"unknown key {f'{prefix}{key}'!r}; choose from {sorted(known)}")
            continue
        try:
            annotation = known[key].type
            accepted[key] = (
                _read(annotation, value, f"{prefix}{key}")
                if isinstance(annotation, type) and is_dataclass(annotation)
                else _typed(value, annotation, f"{prefix}{key}")
            )
        except ValueError as error:
            problems.append(str(error))
    for name, item in known.items():
        if item.default is MISSING and item.default_factory is MISSING and name not in values:
            problems.append(f"{prefix}{name} is missing; set it")
    if problems:
        raise ValueError("; ".join(problems))
    try:
        return kind(**accepted)
    except ValueError as error:
        raise ValueError(f"{at}: {error}" if at else str(error)) from None


def _typed(value: object, annotation: Any, name: str) -> object:
    """Return a value of a field's type: a truth value is no number, and a number with a fraction no integer."""
    kinds = get_args(annotation) or (annotation,)
    if type(value) in kinds:
        if isinstance(value, int):
            limit = LARGEST_INTEGER
            _require(abs(value) <= limit, name, f"from {-limit} to {limit}", value, "choose another")
        return value
    if type(value) is int and float in kinds:
        _require(abs(value) <= LARGEST_INTEGER, name, "a number of at most 19 digits", value, "write it as 1.0e+20")
        return float(value)
    rule = " or ".join(TYPE_NAMES[kind] for kind in kinds)
    raise ValueError(f"{name} must be {rule}, got {value!r}; {remedy_for_type(value, kinds)}")


def remedy_for_type(value: object, kinds: Collection[type]) -> str:
    """Return what to write in place of a value of the wrong type."""
    if isinstance(value, float) and int in kinds and value.is_integer():
        return f"write {int(value)}"
    if isinstance(value, str) and not {int, float}.isdisjoint(kinds):
        return "write a number, without quotes"
    if bool in kinds:
        return "write true or false"
    if str in kinds:
        return "put it in quotes" if isinstance(value, (bool, int, float)) else "write a text"
    return "write a number"


def _canonical(value: Any) -> Any:
    """The same for configurations that are equal: 1 and 1.0 are."""
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    return float(value) if isinstance(value, (int, float)) else value
