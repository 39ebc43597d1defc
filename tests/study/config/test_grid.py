"""Plans that are written as a grid."""

from typing import Any

import pytest

from study.config import parse_study


def parsed(grid: dict[str, Any], seeds: Any = 2) -> Any:
    return parse_study({"name": "s", "space": {"family": ["RS"]}, "plan": {"grid": grid, "seeds": seeds}}, "s.yaml")


def test_equal_combinations_are_listed_once() -> None:
    plan = parsed({"family": ["RS", "none", "RS"], "num_levels": [2, 4], "lam": [1, 1.0, 0.5]}).plan
    assert [(trial.family, trial.num_levels, trial.lam) for trial in plan] == [
        *(("RS", num_levels, lam) for num_levels in (2, 4) for lam in (1.0, 0.5)),
        *(("none", num_levels, 0.0) for num_levels in (2, 4)),
    ]


@pytest.mark.parametrize(
    ("grid", "seeds", "rule"),
    [
        ({"family": [["RS"]], "num_levels": [2]}, 1, r"plan\.0\.family must be a? ?text"),
        ({"family": [None], "num_levels": [2]}, 1, r"plan\.0\.family must be a? ?text"),
        ({"family": [3], "num_levels": [2]}, 1, r"plan\.0\.family must be a? ?text"),
        ({"family": ["RS"], "num_levels": [True]}, 1, r"plan\.0\.num_levels must be an integer"),
        ({"family": ["RS"], "num_levels": [2], "lam": [float("nan")]}, 1, r"plan\.0\.lam must be a finite number"),
        ({"family": ["RS"], "num_levels": [2]}, True, r"plan\.seeds must be an integer of at least 1"),
        (
            {"family": ["RS"], "num_levels": list(range(2, 1002)), "lam": [i / 1000 for i in range(1, 1001)]},
            10**9,
            r"plan\.grid must have at most 10000 combinations, got 1000000",
        ),
    ],
)
def test_wrong_grids_are_refused_in_one_line(grid: dict[str, Any], seeds: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as caught:
        parsed(grid, seeds)
    assert "\n" not in str(caught.value)
