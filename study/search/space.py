"""The search space: dimensions of a study as Optuna's distributions, some of which depend on the family or others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from study.config import Space
from study.config.dimensions import FAMILY, Dimension
from trainables.families import family_of

ANCHOR = "anchor"
"""User attribute of an anchor's Optuna trial, which is never stopped early. It holds the fixed searched fields."""


@dataclass(frozen=True, kw_only=True)
class SearchDimension:
    """One dimension as a sampler sees it.

    Attributes:
        name: name of Optuna's parameter. Optuna allows one distribution per name, so a field whose range depends on the
            family has several parameters.
        searched: dotted name of the field of a trial.
        distribution: values of the dimension.
        when: values of other parameters at which the dimension exists.
    """

    name: str
    searched: str
    distribution: BaseDistribution
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def exists(self, params: Mapping[str, Any]) -> bool:
        """Return whether the dimension exists for parameters of the dimensions before it."""
        return all(parent in params and params[parent] in values for parent, values in self.when.items())


def dimensions(space: Space) -> list[SearchDimension]:
    """Return all dimensions of a space; those that one depends on come before it."""
    levels = space.num_levels
    found = [
        SearchDimension(name=FAMILY, searched=FAMILY, distribution=CategoricalDistribution(space.family)),
        SearchDimension(
            name="num_levels",
            searched="num_levels",
            distribution=CategoricalDistribution(levels.values)
            if levels.values
            else IntDistribution(levels.low, levels.high, log=True),
        ),
    ]
    for family in space.family:
        for one in _dimensions_of_family(space, family):
            if one.name not in {other.name for other in found}:
                found.append(one)
    found += [
        SearchDimension(
            name=name,
            searched=name,
            distribution=_distribution(dimension),
            when={parent: tuple(values) for parent, values in dimension.when.items()},
        )
        for name, dimension in space.fields.items()
    ]
    return found


def _dimensions_of_family(space: Space, family: str) -> list[SearchDimension]:
    """Return the dimensions of placement and λ of a family, which it may share with others."""
    representatives = family_of(family).has_representatives
    alike = tuple(name for name in space.family if family_of(name).has_representatives == representatives)
    found = [
        SearchDimension(
            name="placement" if representatives else "placement_none",
            searched="placement",
            distribution=CategoricalDistribution(space.placements(family)),
            when={FAMILY: alike},
        )
    ]
    if family_of(family).has_penalty:
        own = family in space.lam_by_family
        shared = tuple(n for n in space.family if family_of(n).has_penalty and n not in space.lam_by_family)
        lam = space.lam_range(family)
        found.append(
            SearchDimension(
                name=f"lam_{family}" if own else "lam",
                searched="lam",
                distribution=FloatDistribution(lam.low, lam.high, log=True),
                when={FAMILY: (family,) if own else shared},
            )
        )
    return found


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.values is not None:
        return CategoricalDistribution(dimension.values)
    assert dimension.low is not None
    assert dimension.high is not None
    if isinstance(dimension.low, int) and isinstance(dimension.high, int):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def suggest(optuna_trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """Ask Optuna for the searched fields of a `TrialConfig`, by dotted name; λ only for families with a penalty."""
    params: dict[str, Any] = {}
    searched = {}
    for dimension in dimensions(space):
        if dimension.exists(params):
            params[dimension.name] = _suggested(optuna_trial, dimension)
            searched[dimension.searched] = params[dimension.name]
    return searched


def _suggested(optuna_trial: optuna.Trial, dimension: SearchDimension) -> Any:
    match dimension.distribution:
        case CategoricalDistribution(choices=choices):
            return optuna_trial.suggest_categorical(dimension.name, choices)
        case IntDistribution(low=low, high=high, log=log):
            return optuna_trial.suggest_int(dimension.name, low, high, log=log)
        case FloatDistribution(low=low, high=high, log=log):
            return optuna_trial.suggest_float(dimension.name, low, high, log=log)
        case other:
            raise TypeError(f"no dimension has the distribution {other}")


def distributions(space: Space, family: str) -> dict[str, BaseDistribution]:
    """Return the distributions that `suggest` may use for a family, by Optuna's parameter names.

    A dimension that depends on others than the family is included.
    """
    return {
        dimension.name: dimension.distribution
        for dimension in dimensions(space)
        if family in dimension.when.get(FAMILY, (family,))
    }


def first_value(distribution: BaseDistribution) -> Any:
    """Return the first choice or the lowest number of a dimension."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low


def params_of(searched: Mapping[str, Any], space: Space) -> dict[str, Any] | None:
    """Return Optuna's parameters for searched fields (the inverse of `suggest`); None if they lie outside the space."""
    params: dict[str, Any] = {}
    for dimension in dimensions(space):
        if not dimension.exists(params):
            continue
        value = searched.get(dimension.searched)
        if not _holds(dimension.distribution, value):
            return None
        params[dimension.name] = value
    return params


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a value lies in a dimension; a number has the dimension's type."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    is_number = isinstance(value, int if isinstance(distribution, IntDistribution) else int | float)
    return is_number and not isinstance(value, bool) and distribution.low <= value <= distribution.high


def value_at(trial: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field of a trial's configuration; None if an option of the model is not set.

    Args:
        trial: nested dictionary of a `TrialConfig`.
        name: dotted name of the field.
    """
    value: Any = trial
    for part in name.split("."):
        value = value.get(part)
    return value
