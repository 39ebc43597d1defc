"""Layers of groups: by word, by glob, without exclusions, each in at most one group."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.config import TrialConfig
from trainables.groups import check_groups, layers_of_groups
from trainables.models import build_model, quantized_weights

VGG16 = build_model("vgg16", (3, 32, 32), 10, seed=0, width=0.05)
LAYERS = [name.removesuffix(".weight") for name in quantized_weights(VGG16)]
CONVOLUTIONS = [name for name in LAYERS if VGG16.get_submodule(name).__class__.__name__ == "Conv2d"]


def groups_of(**groups: object) -> TrialConfig:
    return TrialConfig.from_dict({"family": "none", "num_levels": 4, "groups": groups})


def layers(**groups: object) -> dict[str, list[str]]:
    of_groups = layers_of_groups(groups_of(**groups).groups, VGG16)
    return {name: [layer.removesuffix(".weight") for layer in found] for name, found in of_groups.items()}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("first", LAYERS[:1]),
        ("last", LAYERS[-1:]),
        ("conv", CONVOLUTIONS),
        ("linear", [name for name in LAYERS if name not in CONVOLUTIONS]),
        (LAYERS[3], LAYERS[3:4]),
        ("*", LAYERS),
        ("first, last", [LAYERS[0], LAYERS[-1]]),
        (["last", "first"], [LAYERS[0], LAYERS[-1]]),
        ("conv, not first", CONVOLUTIONS[1:]),
        ("not first,  not   last", LAYERS[1:-1]),
        ("not conv", [name for name in LAYERS if name not in CONVOLUTIONS]),
    ],
)
def test_patterns_name_layers_in_the_order_of_definition(patterns: object, expected: list[str]) -> None:
    assert layers(some={"layers": patterns, "num_levels": 8}) == {"some": expected}


def test_a_group_named_by_a_word_needs_no_pattern() -> None:
    assert layers(first="float", linear=16) == {
        "first": LAYERS[:1],
        "linear": [name for name in LAYERS if name not in CONVOLUTIONS],
    }
    assert groups_of(first="float") == groups_of(first={"layers": ["first"], "num_levels": "float"})


@given(chosen=st.lists(st.sampled_from(LAYERS), min_size=1, unique=True), rest=st.booleans())
def test_groups_of_exact_names_partition_the_layers(chosen: list[str], rest: bool) -> None:
    groups: dict[str, object] = {f"g{place}": {"layers": name, "num_levels": 2} for place, name in enumerate(chosen)}
    others = [name for name in LAYERS if name not in chosen]
    if rest and others:
        groups["rest"] = {"layers": [f"not {name}" for name in chosen], "num_levels": 4}
    found = layers(**groups)
    assert sorted(layer for group in found.values() for layer in group) == sorted(
        chosen + (others if "rest" in groups else [])
    )


@pytest.mark.parametrize(
    ("groups", "fragments"),
    [
        ({"body": {"layers": "convs", "num_levels": 2}}, ["groups.body.layers", "'convs'", "conv", LAYERS[0]]),
        ({"body": {"layers": "conv, not head.*"}}, ["groups.body.layers", "'head.*'"]),
        ({"body": {"layers": "conv, not conv"}}, ["groups.body.layers", "leave a layer in the group"]),
        ({"conv": 2, "first": "float"}, ["groups.first.layers", LAYERS[0], "'conv'", f"first, not {LAYERS[0]}"]),
        ({"conv": "float", "linear": "float"}, ["groups must leave a layer to quantize", str(len(LAYERS))]),
    ],
)
def test_groups_that_do_not_fit_the_network_are_refused(groups: dict[str, object], fragments: list[str]) -> None:
    with pytest.raises(ValueError, match="groups") as refused:
        check_groups(groups_of(**groups).groups, VGG16)
    assert "\n" not in str(refused.value)
    assert all(fragment in str(refused.value) for fragment in fragments), refused.value
