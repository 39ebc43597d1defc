"""Rules of studies whose actors train several trials together."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.config.schema import StudyConfig

NETWORK = ("model", "model_options", "width")
BATCHES = ("dataset", "data_dir", "subset", "validation_fraction", "recipe.batch_size")
"""Fields that decide the network, and the sizes of the batches; with their parts, alike in all trials of an actor."""


def check_packs(config: "StudyConfig") -> None:
    """Trials that are trained together have the same network and batches, and don't compile it.

    Raises:
        ValueError: they have not; one line.
    """
    together = config.resources.trials_per_actor
    if together == 1:
        return
    for name in config.searched_fields:
        if any(name == field or name.startswith(f"{field}.") for field in NETWORK + BATCHES):
            raise ValueError(
                f"resources.trials_per_actor must be 1 where trials differ in {name}, got {together}; "
                "leave it out, or give all trials the same value"
            )
    if config.trial["recipe"]["compile"]:
        raise ValueError(
            f"trial.recipe.compile must be false where resources.trials_per_actor is above 1, got {together}; "
            "leave one of them out"
        )
