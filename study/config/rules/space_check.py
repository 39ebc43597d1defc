"""Check that a search space holds valid trials."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from study.config.sections import ABSENT, Space

if TYPE_CHECKING:
    from study.config.schema import StudyConfig

MOST_COMBINATIONS = 2000
"""Combinations of values of a space that are checked; of more, the first ones."""


def check_space(config: "StudyConfig") -> None:
    """Check that trials may have the values of a space: each of a list, and both ends of each range.

    Lists are checked in combination, since rules of a trial may concern two fields.

    Raises:
        ValueError: a trial would break a rule; one line.
    """
    space = config.space
    whole = space.fields.get("regularize_epochs")
    if whole is not None and (highest := max(whole.examples())) > config.epochs:
        raise ValueError(
            f"space.regularize_epochs must be at most the epochs of both phases ({config.epochs}), got {highest}; "
            "lower it, or raise trial.finetune_epochs"
        )
    fixed_network = config.trial["init"] == "pretrained" and {"model", "width"} | {
        name for name in space.fields if name.startswith("model_options.")
    }
    for name in space.fields:
        if fixed_network and name in fixed_network:
            raise ValueError(
                f"space.{name} must be left out where trials begin from one float network (trial.init 'pretrained'), "
                "got it; set it under trial, or trial.init to 'scratch'"
            )
    for family in space.family if space.fields else ():
        base = {"family": family, "num_levels": 2, "placement": space.placements(family)[0]}
        for chosen in islice(_combinations(space, {"family": family}), MOST_COMBINATIONS):
            try:
                config.trial_config(base | {name: value for name, value in chosen.items() if name != "family"})
            except ValueError as error:
                raise ValueError(f"space must hold valid trials, got {chosen}: {error}") from None


def _combinations(space: Space, chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the combinations of examples of all fields that exist for chosen values."""
    waiting = next((name for name in space.fields if name not in chosen), None)
    if waiting is None:
        yield {name: value for name, value in chosen.items() if value is not ABSENT}
        return
    dimension = space.fields[waiting]
    values = dimension.examples() if space.exists(waiting, chosen) else [ABSENT]
    for value in values:
        yield from _combinations(space, chosen | {waiting: value})
