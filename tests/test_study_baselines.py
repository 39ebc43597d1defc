"""Float baselines: what is told while they are trained, and of one that diverges.

Studies that begin from them: test_study_confirm.py, and on an object store test_remote_end_to_end.py.
"""

import io
import re

import pytest
from rich.console import Console

from study import baselines
from study.baselines import BaselineProgress


def told(epochs: dict[int, int], ends: list[tuple[int, float]]) -> list[str]:
    """Lines on the console for these budgets by seed, and these seeds and accuracies of epochs, in their order."""
    console = Console(file=io.StringIO(), width=200)
    progress = BaselineProgress(epochs, console)
    for seed, accuracy in ends:
        progress.tell(seed, accuracy)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_each_epoch_is_told_where_epochs_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "SECONDS_BETWEEN_LINES", 0.0)
    lines = told({0: 2, 1: 2}, [(0, 0.5), (1, 0.25), (0, 0.75), (1, 0.5)])
    assert lines[0] == "training the float baselines that all trials begin from, 2 seeds"
    found = [
        re.fullmatch(r"float baseline: (\d) of 4 epochs, val_accuracy ([\d.]+); 0:00 elapsed.*", x) for x in lines[1:]
    ]
    assert [match and match.groups() for match in found] == [
        *(("1", "0.5000"), ("2", "0.3750"), ("3", "0.5000"), ("4", "0.6250"))
    ]


def test_only_the_end_is_told_where_they_are_short() -> None:
    lines = told({3: 3}, [(3, 0.1), (3, 0.2), (3, 0.3)])
    assert lines == [
        "training the float baseline that all trials begin from, 1 seed",
        "float baseline: 3 of 3 epochs, val_accuracy 0.3000; 0:00 elapsed",
    ]


def test_nothing_is_told_where_all_are_there() -> None:
    assert told({}, []) == []
