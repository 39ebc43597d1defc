"""The proposals that are made before the sampler chooses: anchors, and a first trial of each family."""

from collections.abc import Sequence
from typing import Any

from study.config import Space, StudyConfig
from study.search.space import ANCHOR, params_of, value_at
from trainables.families import family_of

FirstTrial = tuple[dict[str, Any], dict[str, Any]]
"""Optuna's parameters and user attributes of a proposal."""


def first_trials(study: StudyConfig, proposed: Sequence[int] = ()) -> list[FirstTrial]:
    """Return the proposals to make before the sampler chooses.

    With a plan, these are its trials. Otherwise the anchors come first: the float baseline, then a trial of each family
    of `anchors` at each of its K, with the values of `trial` in all further fields. An anchor outside the space has no
    parameters. One trial of each family follows, whose other dimensions the sampler chooses. That trial is an anchor
    too, so that every family has a result, unless `early_stopping.first_of_family` is `compared`.

    Where the space has changed, the proposals that were left go on, without those of families that it lacks now, and
    one trial of each new family follows.

    Args:
        study: configuration of the study.
        proposed: number of proposals of this kind or the sampler's that were made in each earlier version.
    """
    if study.plan:
        return [({}, {ANCHOR: trial.searched}) for _ in range(study.replicates) for trial in study.plan]
    anchors: list[dict[str, Any]] = [{"family": "none", "num_levels": None}]
    anchors += [
        _anchor(family, num_levels, study.space)
        for num_levels in study.anchors.num_levels
        for family in study.anchors.family
    ]
    others = {name: value_at(study.trial, name) for name in study.space.fields}
    left: list[FirstTrial] = [
        (params_of(others | anchor, study.space) or {}, {ANCHOR: anchor}) for anchor in anchors[sum(proposed) :]
    ]
    for family in _families_left(study, len(anchors), proposed):
        is_anchor = study.early_stopping.first_of_family == "finished"
        left.append(({"family": family}, {ANCHOR: {"family": family}} if is_anchor else {}))
    return left


def _families_left(study: StudyConfig, anchors: int, proposed: Sequence[int]) -> list[str]:
    """Return the families whose first trial is left, in order."""
    first, *others = study.versions[: len(proposed) + 1]
    left, queued = list(first.space.family), set(first.space.family)
    for count, version in zip(proposed, others, strict=True):
        used = max(0, count - anchors)
        anchors = max(0, anchors - count)
        dropped = {family for family in left[used:] if family not in version.space.family}
        queued -= dropped
        new = [family for family in version.space.family if family not in queued]
        left = [family for family in left[used:] if family not in dropped] + new
        queued |= set(new)
    return left


def _anchor(family: str, num_levels: int, space: Space) -> dict[str, Any]:
    """Return the searched fields of an anchor: placed by default, and with λ in the middle of its range."""
    anchor = {"family": family, "num_levels": num_levels, "placement": family_of(family).default_placement}
    return anchor | ({"lam": space.middle_lam(family)} if family_of(family).has_penalty else {})
