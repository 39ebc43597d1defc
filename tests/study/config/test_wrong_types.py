"""Values of wrong types in every place of a configuration: one line that names the key, and never a traceback."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from study.config import parse_study

WHOLE: dict[str, Any] = {
    "name": "s",
    "trials": 4,
    "seed": 0,
    "trial": {
        "model": "small_cnn",
        "dataset": "digits",
        "regularize_epochs": 2,
        "finetune_epochs": 1,
        "init": "scratch",
        "width": 0.5,
        "subset": 100,
        "data_dir": "data",
        "recipe": {"learning_rate": 0.01, "batch_size": 32},
    },
    "space": {
        "family": ["RS", "RC"],
        "num_levels": {"low": 2, "high": 16},
        "lam": {"low": 0.01, "high": 1.0},
        "placement": ["kmeans"],
        "recipe.weight_decay": {"low": 0.0, "high": 0.1},
        "width": [0.5, 1.0],
    },
    "anchors": {"num_levels": [2, 4], "family": ["none"]},
    "early_stopping": {"scheduler": "pareto-asha", "grace_period": 1, "reduction_factor": 3},
    "resources": {"cpus": 1, "gpus": 0.5, "max_concurrent": 2},
    "sampler": "tpe",
    "constraints": ["val_accuracy >= 0.5"],
    "warm_start": ["studies/other"],
    "loggers": ["tensorboard"],
    "notify": "https://example.org/hook",
    "code": {"part.py": "x = 1"},
    "stop": {"hours": 1.0, "plateau": {"trials": 5, "hypervolume": 0.1}, "target": "val_accuracy >= 0.9"},
}
PLANNED: dict[str, Any] = {
    "name": "s",
    "trials": 1,
    "space": {"family": ["RS"]},
    "plan": [{"family": "RS", "num_levels": 4, "lam": 0.1, "placement": "kmeans", "recipe.weight_decay": 0.1}],
}
GRID: dict[str, Any] = {
    "name": "s",
    "space": {"family": ["RS"]},
    "plan": {"grid": {"family": ["RS", "RC"], "num_levels": [2, 4], "lam": [0.1], "placement": ["kmeans"]}, "seeds": 2},
}
WRONG: tuple[Any, ...] = (
    *(None, True, -1, 2**70, 1.5, float("nan"), float("-inf"), "", "a\n\x1b[2Jb", "x" * 10_000, b"bytes"),
    *([], [None], [["RS"]], [1, "a"], {}, {"a": 1}, {"low": "a", "high": []}),
)


def places(values: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each value."""
    if path:
        yield path
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


@pytest.mark.parametrize("whole", [WHOLE, PLANNED, GRID], ids=["search", "plan", "grid"])
def test_wrong_value_anywhere_is_refused_in_one_line_or_valid(whole: dict[str, Any]) -> None:
    parse_study(whole, "s.yaml")
    defects = []
    for path in places(whole):
        for value in WRONG:
            values = copy.deepcopy(whole)
            inner: Any = values
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
            try:
                parse_study(values, "s.yaml")
            except ValueError as error:
                if "\n" in str(error) or not str(error).startswith("s.yaml: "):
                    defects.append(f"{path} = {str(value)[:20]!r}: {str(error)[:100]!r}")
            except Exception as error:
                defects.append(f"{path} = {str(value)[:20]!r}: {error!r}"[:200])
    assert not defects, f"{len(defects)} defects, at first:\n" + "\n".join(defects[:20])


def test_number_of_float_networks_has_a_limit() -> None:
    values = WHOLE | {"replicates": 10**12, "trial": WHOLE["trial"] | {"init": "pretrained"}}
    values["space"] = {"family": ["RS"]}
    with pytest.raises(ValueError, match="replicates must be at most 1000 where trials begin from float networks"):
        parse_study(values, "s.yaml")


def test_unknown_key_of_an_optional_section_names_those_that_it_has() -> None:
    with pytest.raises(ValueError, match=r"unknown key 'stop\.minutes'; choose from \['cost', 'gpu_hours', 'hours', "):
        parse_study(WHOLE | {"stop": {"minutes": 3}}, "s.yaml")
