"""Networks that can and can't be trained together."""

import pytest
from torch import Tensor, nn

from tests.support.example_trials import quick
from trainables.models import MODELS
from trainables.packed.check import check_packable

pytestmark = pytest.mark.usefixtures("quick_names")


@pytest.mark.parametrize("model", ["tiny_cnn", "small_cnn", "alexnet_bn"])
def test_network_can_be_trained_together(model: str) -> None:
    assert check_packable(quick(model=model, width=0.25), 4) == []


def test_network_with_dropout_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^resources.trials_per_actor must be 1 for trial.model 'alexnet'.*dropout"):
        check_packable(quick(model="alexnet", width=0.1), 4)
    assert check_packable(quick(model="alexnet", width=0.25, model_options={"dropout": 0.0}), 4) == []


class Branching(nn.Module):
    """A network whose way through depends on its images."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: float) -> None:
        super().__init__()
        channels, height, side = image_shape
        self.linear = nn.Linear(channels * height * side, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1))
        return logits if logits.sum() > 0 else -logits


def test_network_whose_way_depends_on_its_images_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "branching", Branching)
    with pytest.raises(ValueError, match="can't be trained several at a time, got 3") as error:
        check_packable(quick(model="branching"), 3)
    assert "\n" not in str(error.value)


def test_results_that_depend_on_the_place_are_announced() -> None:
    """Where channels are no multiple of what a processor handles at a time, a place may be summed in another order."""
    lines = check_packable(quick(model="mobilenet_v2", width=0.25), 4)
    assert all("depend on the place of a trial among the 4" in line for line in lines)
    assert len(lines) <= 1
