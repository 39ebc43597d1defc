"""Settings under which little is learned or compressed: refused or warned of, and sound ones left alone."""

import pytest

from trainables.config import TrialConfig
from trainables.models import build_model
from trainables.plausibility import check_width, most_bits_per_weight, warnings_for


def config_of(**changes: object) -> TrialConfig:
    return TrialConfig.from_dict({"family": "none", "num_levels": None} | changes)


@pytest.mark.parametrize(("width", "refused"), [(0.001, True), (0.03, True), (0.1, False), (1.0, False)])
def test_width_that_leaves_a_layer_one_channel_is_refused(width: float, refused: bool) -> None:
    model = build_model("small_cnn", (1, 8, 8), 10, 0, width)
    if not refused:
        check_width(config_of(width=width), model)
        return
    with pytest.raises(ValueError, match=rf"^trial.width must leave [^\n]*, got {width}, [^\n]*; raise it$"):
        check_width(config_of(width=width), model)


@pytest.mark.parametrize(
    ("changes", "most_levels", "words"),
    [
        ({}, 64, []),
        ({"recipe": {"batch_size": 100_000}}, 64, ["batch_size 100000 exceeds the 1000 images"]),
        ({"recipe": {"warmup_epochs": 13.0}}, 64, ["warmup_epochs 13.0 exceeds the 12 epochs"]),
        ({}, 65_536, ["K = 65536 may take 47"]),
        ({}, None, []),
    ],
)
def test_settings_that_hardly_make_sense_are_warned_of(
    changes: dict[str, object], most_levels: int | None, words: list[str]
) -> None:
    lines = warnings_for(config_of(**changes), build_model("small_cnn", (1, 8, 8), 10, 0), 1000, most_levels)
    assert len(lines) == len(words)
    assert all(word in line for word, line in zip(words, lines, strict=True))


def test_few_levels_take_few_bits() -> None:
    model = build_model("small_cnn", (1, 8, 8), 10, 0)
    assert 2 < most_bits_per_weight(model, 4) < 2.5
