"""The key `resources.trials_per_actor`."""

from typing import Any

import pytest

from study.config import Resources, StudyConfig

SPACE: dict[str, Any] = {"family": ["RM"]}


def study(space: dict[str, Any] = SPACE, recipe: dict[str, Any] | None = None, together: int = 4) -> StudyConfig:
    values = {
        "name": "packed",
        "trials": 8,
        "trial": {"recipe": recipe or {}},
        "space": space,
        "resources": {"trials_per_actor": together},
    }
    return StudyConfig.model_validate(values)


@pytest.mark.parametrize(
    ("cpus", "gpus", "together", "share", "trials"),
    [
        (1, 0, 1, (1, 0), 8),
        (1, 0, 4, (0.25, 0), 32),
        (2, 0, 3, (0.6666, 0), 12),
        (1, 1, 4, (0.25, 0.25), 8),
        (1, 0.5, 3, (0.3333, 0.1666), 12),
        (4, 0.3333, 2, (2, 0.1666), 4),
    ],
)
def test_trials_of_an_actor_share_its_resources(
    cpus: int, gpus: float, together: int, share: tuple[float, float], trials: int
) -> None:
    resources = Resources(cpus=cpus, gpus=gpus, trials_per_actor=together)
    assert resources.of_a_trial == share
    assert resources.trials_on({"CPU": 8, "GPU": 2}) == trials


@pytest.mark.parametrize(("gpus", "together", "trials"), [(0.25, 1, 4), (0.25, 4, 16), (0.3333, 2, 6)])
def test_trials_that_share_a_gpu_are_counted(gpus: float, together: int, trials: int) -> None:
    assert Resources(gpus=gpus, trials_per_actor=together).trials_a_gpu == trials


def test_key_is_written_only_where_it_is_used() -> None:
    """Studies without it stay readable by earlier versions."""
    assert "trials_per_actor" not in study(together=1).model_dump()["resources"]
    assert study().model_dump()["resources"]["trials_per_actor"] == 4


@pytest.mark.parametrize("name", ["width", "recipe.batch_size"])
def test_trials_that_differ_in_network_or_batches_are_refused(name: str) -> None:
    values = [1.0, 0.5] if name == "width" else [32, 64]
    with pytest.raises(ValueError, match=rf"resources.trials_per_actor must be 1 where trials differ in {name}, got 4"):
        study({**SPACE, name: values})
    assert study({**SPACE, name: values}, together=1).resources.trials_per_actor == 1
    assert study({**SPACE, "recipe.learning_rate": [0.001, 0.003]}).resources.trials_per_actor == 4


def test_compilation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"trial.recipe.compile must be false where resources.trials_per_actor"):
        study(recipe={"compile": True})


@pytest.mark.parametrize("together", [0, -1, 257, 1.5])
def test_number_of_trials_is_bounded(together: Any) -> None:
    with pytest.raises(ValueError, match="trials_per_actor"):
        study(together=together)
