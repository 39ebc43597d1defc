"""The configuration of one trial: all that decides what the trial does."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from trainables.choices import choose
from trainables.config.allocation import Allocation
from trainables.config.earlier_versions import ADDED, with_earlier_defaults
from trainables.config.groups import LayerGroup, effective_groups
from trainables.config.penalty import PenaltyForm
from trainables.config.reading import LARGEST_INTEGER, read_section
from trainables.config.recipe import Recipe
from trainables.config.rules import require, require_positive
from trainables.families import check_placement, family_of
from trainables.result import ALLOCATED


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One configuration and one seed: all that decides what a trial does.

    Attributes:
        family: a key of `trainables.families.FAMILIES`, or the import path of a family
            (`trainables.regularizers.own.own_family`).
        num_levels: K ≥ 2, or None for the float baseline, which is never quantized (family `none` only).
        lam: λ ≥ 0, the weight of the penalty in the loss; 0 for a family without a penalty.
        placement: where the final representatives lie: `own` (the family's), `kmeans` or `uniform`; left empty, `own`
            for a family with representatives, else `kmeans`.
        seed: of the split, the initial weights and the order of the images.
        model: a key of `trainables.models.MODELS`, `torchvision:` and the name of one of its classifiers, or an import
            path `module:attribute` of a function or class that returns a network.
        model_options: further keyword arguments of the model.
        width: multiplies the channels of every layer of a model that names it.
        init: `scratch`, or `pretrained`: from `initial_weights`, or else from the study's float network, trained once
            and shared.
        initial_weights: path or URI of a `state_dict` that `torch.save` wrote, from which a `pretrained` trial begins.
        sources: checksum of the code of parts named by import path and of `initial_weights`, which a launch computes;
            None where there are none.
        dataset: a key of `trainables.data.datasets.DATASETS`, or `npz:` and the path of a prepared file.
        data_dir: where prepared data sets lie, and downloads go; no part of what the configuration is.
        subset: training images used, a stratified choice; None for all.
        validation_fraction: share of the training images held out for validation, stratified by class.
        regularize_epochs: length of the first phase, at least 1.
        finetune_epochs: length of the second phase; 0 leaves it out.
        evaluate_test: whether the last epoch tells the accuracy on the test split too, as only confirmed trials should;
            no part of what the configuration is.
        groups: sets of layers with their own K, λ or placement, or left in float, by name; all other layers have those
            of the trial.
        allocation: bits to share out between the layers that are in no group; the groups that come of it are in
            `groups`, under names that begin with `auto_`.
        recipe: how the network is trained.
        penalty: the switches of the penalty.
    """

    family: str
    num_levels: int | None
    lam: float = 0.0
    placement: str = ""
    seed: int = 0
    model: str = "small_cnn"
    model_options: dict[str, Any] = field(default_factory=dict, hash=False)
    width: float = 1.0
    init: str = "scratch"
    initial_weights: str | None = None
    sources: str | None = None
    dataset: str = "digits"
    data_dir: str = "data"
    subset: int | None = None
    validation_fraction: float = 0.25
    regularize_epochs: int = 12
    finetune_epochs: int = 6
    evaluate_test: bool = False
    groups: dict[str, LayerGroup] = field(default_factory=dict, hash=False)
    allocation: Allocation = field(default_factory=Allocation)
    recipe: Recipe = field(default_factory=Recipe)
    penalty: PenaltyForm = field(default_factory=PenaltyForm)

    def __post_init__(self) -> None:
        family = family_of(self.family)
        if self.num_levels is None:
            require(self.family == "none", "num_levels", f"given for family {self.family!r}", None, "set it")
        else:
            require(self.num_levels >= 2, "num_levels", "at least 2", self.num_levels, "raise it")
        require(math.isfinite(self.lam) and self.lam >= 0, "lam", "finite and at least 0", self.lam, "use 0 for none")
        require(family.has_penalty or self.lam == 0, "lam", f"0 for family {self.family!r}", self.lam, "leave it out")
        require(
            self.recipe.penalty_application != "proximal" or not family.has_penalty or family.has_proximal_step,
            "penalty_application",
            f"'decoupled' or 'coupled' for family {self.family!r}, whose proximal step has no closed form",
            self.recipe.penalty_application,
            "choose one of them",
        )
        if not self.placement:
            object.__setattr__(self, "placement", family.default_placement)  # the dataclass is frozen
        check_placement(self.placement, self.family)
        require(0 <= self.seed <= LARGEST_INTEGER, "seed", f"from 0 to {LARGEST_INTEGER}", self.seed, "choose another")
        require(
            0 < self.validation_fraction < 1,
            "validation_fraction",
            "between 0 and 1",
            self.validation_fraction,
            "try 0.1",
        )
        choose("init", self.init, ("scratch", "pretrained"))
        require_positive(self, "width")
        require(self.subset is None or self.subset >= 1, "subset", "at least 1", self.subset, "leave it out for all")
        require(self.regularize_epochs >= 1, "regularize_epochs", "at least 1", self.regularize_epochs, "raise it")
        require(self.finetune_epochs >= 0, "finetune_epochs", "at least 0", self.finetune_epochs, "raise it")
        require(
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
        return read_section(cls, values, at)

    @classmethod
    def from_stored(cls, values: Mapping[str, Any]) -> "TrialConfig":
        """Return the configuration that a file of any version holds; as `from_dict`, with that version's defaults."""
        return cls.from_dict(with_earlier_defaults(values))

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the configuration; replicates, which differ in seed alone, share it.

        Settings without effect are left out. So are the groups of an allocation, which follow from its bits, and differ
        between seeds because they are measured on the float network of a seed.
        """
        values = self.to_dict()
        del values["seed"], values["data_dir"], values["evaluate_test"]
        values |= {"groups": self._hashed_groups()}
        if self.num_levels is None or self.allocation.bits is None:
            values["allocation"] = asdict(Allocation())
        if self.sources is not None:  # it identifies the weights wherever they lie
            values["initial_weights"] = None
        for section, fields_added in ADDED.items():
            fields_of_section = values[section] if section else values
            for key, value in fields_added.items():
                if fields_of_section[key] == value:  # the hash is that of the versions without the field
                    del fields_of_section[key]
        return hashlib.sha256(json.dumps(_canonical(values), sort_keys=True).encode()).hexdigest()[:12]

    def _hashed_groups(self) -> dict[str, dict[str, Any]]:
        """Return the groups as the hash sees them."""
        if self.num_levels is None:
            return {}
        return {
            name: asdict(group)
            for name, group in effective_groups(self.groups, self.family).items()
            if self.allocation.bits is None or not name.startswith(ALLOCATED)
        }


def _canonical(value: Any) -> Any:
    """The same for configurations that are equal: 1 and 1.0 are."""
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    return float(value) if isinstance(value, (int, float)) else value
