"""Parts of the live panel."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from analysis.statistics.pareto import hypervolume
from study.ledger.facts import ASKED
from study.ledger.front import front_so_far
from study.ledger.history import History
from study.run.progress.display import Progress
from study.run.progress.field_columns import short_names
from study.run.progress.lines import front_table
from study.run.progress.panel import (
    FRONT_HEIGHT,
    FRONT_WIDTH,
    MOST_ROWS,
    front_in_text,
    hypervolume_line,
    running_table,
)
from tests.support.example_studies import Unwritten, asked, history_of, study_config, train, trials_frame
from trainables.result import TrialState

POINTS = st.lists(st.tuples(st.floats(0.1, 1), st.floats(0.5, 16)), min_size=1, max_size=10)


def shown(table: object, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(table)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue().splitlines()


def running(count: int, *, epochs: int) -> History:
    """Return a history of trials that have trained some of three and one epochs."""
    ledger = Unwritten()
    for number in range(count):
        ledger.record(ASKED, **asked(number, study_config().trial_config({"family": "none", "num_levels": 2})))
        train(ledger, number, epochs)
    return ledger.history


def test_trial_that_has_quantized_finetunes() -> None:
    assert "finetune" in shown(running_table(running(1, epochs=3), {0: 1.0}), 80)[1]


@settings(max_examples=40)
@given(POINTS)
def test_front_fits_80_columns_and_has_a_mark_for_its_knee(points: list[tuple[float, float]]) -> None:
    history = history_of(*[(accuracy, bits, TrialState.COMPLETE, 4) for accuracy, bits in points])
    lines = front_in_text(history)
    assert len(lines) == FRONT_HEIGHT + 2
    assert max(map(len, lines)) <= 80
    drawn = "".join(lines)
    assert drawn.count("◉") == 1
    assert drawn.count("●") + 1 <= len(front_so_far(history))


def test_front_climbs_from_the_left_to_the_right() -> None:
    history = history_of((0.5, 1.0, TrialState.COMPLETE, 4), (0.9, 4.0, TrialState.COMPLETE, 4))
    lines = front_in_text(history)
    assert lines[0] == f" 0.900 │{' ' * (FRONT_WIDTH - 1)}●"
    assert lines[FRONT_HEIGHT - 1].startswith(" 0.500 │◉")
    assert "1.00" in lines[-1]
    assert "4.00 bits/weight" in lines[-1]


def test_nothing_is_drawn_before_a_trial_is_complete() -> None:
    history = history_of((0.5, 1.0, TrialState.PRUNED, 2), (0.5, 1.0, None, 2))
    assert (front_in_text(history), hypervolume_line(history)) == ([], "")


@settings(max_examples=40)
@given(POINTS)
def test_hypervolume_is_that_of_the_report(points: list[tuple[float, float]]) -> None:
    history = history_of(*[(accuracy, bits, TrialState.COMPLETE, 4) for accuracy, bits in points])
    trials = trials_frame(*({"val_accuracy": accuracy, "bits_per_weight": bits} for accuracy, bits in points))
    word, value, *blocks = hypervolume_line(history).split()
    assert word == "hypervolume"
    assert float(value) == pytest.approx(hypervolume(trials), abs=6e-5)
    assert len("".join(blocks)) == len(points)
    assert list("".join(blocks)) == sorted("".join(blocks))  # it never falls


@pytest.mark.parametrize("width", [80, 160])
def test_running_trials_are_a_line_each(width: int) -> None:
    history = running(MOST_ROWS + 3, epochs=2)
    lines = shown(running_table(history, dict.fromkeys(range(MOST_ROWS + 3), 61.0)), width)
    assert len(lines) == MOST_ROWS + 2
    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["trial", "family", "K", "λ", "phase", "epoch", "for", "accuracy", "bits", "node"]
    assert "regularize" in lines[1]
    assert "3/4" in lines[1]
    assert "1:01" in lines[1]
    assert lines[-1].split() == ["…", "3", "more"]


FIELDS = ["recipe.learning_rate", "penalty.squared", "allocation.bits"]


def test_further_fields_have_columns() -> None:
    lines = [line.split() for line in shown(running_table(running(1, epochs=2), {0: 1.0}, FIELDS), 160)]
    assert lines[0][3:8] == ["λ", "learning_rate", "squared", "bits", "phase"]
    assert lines[1][4:7] == ["0.003", "False", "–"]
    front = front_so_far(history_of((0.5, 2.0, TrialState.COMPLETE, 4)))
    header, row = (line.split() for line in shown(front_table(front, FIELDS), 120))
    assert (header[-4:], row[-4:]) == (["learning_rate", "squared", "bits", "trial"], ["0.003", "False", "–", "0"])


def test_live_panel_shows_them_where_the_terminal_is_wide() -> None:
    config = study_config(space={"recipe.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}})
    history = history_of((0.5, 2.0, TrialState.COMPLETE, 4))
    for width in (80, 120):
        screen = Console(file=io.StringIO(), width=width, force_terminal=True)
        text = "\n".join(shown(Progress(history, config, screen)._panel(), width))
        assert ("learning_rate" in text) == (width == 120)


def test_short_names_tell_fields_apart() -> None:
    fields = ["recipe.learning_rate", "penalty.temperature", "groups.ends.num_levels", "groups.rest.num_levels"]
    assert short_names(fields) == ["learning_rate", "temperature", "ends.num_levels", "rest.num_levels"]
    assert short_names(["a.b", "b"]) == ["a.b", "b"]
