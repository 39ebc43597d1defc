"""Display while a study runs, on recorded consoles."""

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from study.durations import duration
from study.ledger.facts import ASKED, ENDED
from study.ledger.front import front_so_far
from study.ledger.history import History
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from study.run.progress.display import Progress, SilentReporter
from study.run.progress.lines import (
    failure_lines,
    front_table,
    states_line,
    training_line,
)
from study.run.progress.panel import front_in_text
from study.storage.folder import StudyFolder
from study.storage.liveliness import liveliness
from tests.support.example_studies import Unwritten, asked, history_of, make_study, study_config, train
from trainables.result import TrialState

CONFIG = study_config()
STUDY = study_config(trials=64)


@pytest.fixture(autouse=True)
def quick_displays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let displays follow each other at the interval that a test asks for, however long one takes."""
    monkeypatch.setattr("study.run.progress.display.MIN_INTERVAL_FACTOR", 0)


def test_failures_of_the_same_reason_are_one_line() -> None:
    ledger = Unwritten()
    for number in range(14):
        ledger.record(ASKED, **asked(number, CONFIG.trial_config({"family": "none", "num_levels": 4})))
        reason = "out of memory" if number == 2 else "the loss is\x1b[2J not finite"
        ledger.record(ENDED, number=number, state=TrialState.FAIL, failure=reason)
    assert failure_lines(ledger.history) == [
        "trials 0, 1, 3, 4, 5, 6, 7, 8, 9, 10 and 3 more failed: the loss is not finite",
        "trial 2 failed: out of memory",
    ]
    assert failure_lines(Unwritten().history) == []


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    shown = io.StringIO()
    return Console(file=shown, force_terminal=terminal, width=100, highlight=False), shown


def lines_of(panel: str) -> list[str]:
    """Lines of what a terminal was sent, without the escape codes."""
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", panel).splitlines()]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (0.9, "0:00"),
        (59.99, "0:59"),
        (60, "1:00"),
        (75, "1:15"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (3661, "1:01:01"),
        (360000, "100:00:00"),
    ],
)
def test_duration_is_written_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.integers(0, 10**7))
def test_duration_loses_no_second(seconds: int) -> None:
    total = 0
    for part in duration(seconds).split(":"):
        total = total * 60 + int(part)
    assert total == seconds


def test_states_line_counts_each_state() -> None:
    history = history_of(
        *[(0.5, 2.0, TrialState.COMPLETE, 4)] * 3,
        (0.5, 2.0, TrialState.PRUNED, 4),
        (0.5, 2.0, TrialState.FAIL, 4),
        (0.5, 2.0, None, 4),
    )
    assert states_line(history, 64) == "5 of 64 trials: 3 COMPLETE, 1 PRUNED, 1 FAIL, 1 RUNNING"


def test_states_line_of_nothing_has_no_colon() -> None:
    assert states_line(History(), 64) == "0 of 64 trials"


@given(st.lists(st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, None]), max_size=9))
def test_states_line_adds_up(states: list[str | None]) -> None:
    line = states_line(history_of(*[(0.5, 2.0, state, 4) for state in states]), 9)
    counts = {state: int(count) for count, state in re.findall(rf"(\d+) ({'|'.join(TrialState)})", line)}
    assert sum(counts.values()) == len(states)
    assert line.startswith(f"{sum(state is not None for state in states)} of 9 trials")


def test_front_table_shows_every_point_with_its_configuration(tmp_path: Path) -> None:
    history = read_history(make_study(tmp_path / "small").ledger)
    screen, shown = console(terminal=False)
    screen.print(front_table(front_so_far(history)))
    header, *rows = [line.split() for line in shown.getvalue().splitlines()]
    assert header == ["bits/weight", "val", "accuracy", "family", "K", "λ", "placement", "trial"]
    assert rows == [
        ["1.30", "0.8000", "none", "2", "–", "kmeans", "1"],
        ["3.30", "0.9500", "RE", "8", "0.001", "own", "2"],
    ]


def test_front_table_shows_trials_at_one_point_in_one_row() -> None:
    history = history_of(
        *[(accuracy, bits, TrialState.COMPLETE, 4) for accuracy, bits in [(0.5, 2.0)] * 3 + [(0.6, 3.0)]]
    )
    screen, shown = console(terminal=False)
    screen.print(front_table(front_so_far(history)))
    _, *rows = [line.split() for line in shown.getvalue().splitlines()]
    assert [row[-2:] for row in rows] == [["0", "(+2)"], [rows[1][-2], "3"]]


def test_front_table_fits_a_terminal_of_80_columns(tmp_path: Path) -> None:
    history = read_history(make_study(tmp_path / "small").ledger)
    shown = io.StringIO()
    Console(file=shown, width=80).print(front_table(front_so_far(history)))
    assert "…" not in shown.getvalue()
    assert len(shown.getvalue().splitlines()) == 3


def test_progress_outside_of_a_terminal_is_plain_lines(tmp_path: Path) -> None:
    history = read_history(make_study(tmp_path / "small").ledger)
    screen, shown = console(terminal=False)
    with Progress(history, STUDY, screen, seconds_between_lines=0.0) as progress:
        progress.on_step_end(0, [])
        progress.on_step_end(1, [])
    first, second = shown.getvalue().splitlines()
    assert first.startswith("5 of 64 trials: 3 COMPLETE, 1 PRUNED, 1 FAIL; 0:00 elapsed")
    assert first.endswith("front (accuracy@bits): 0.800@1.30, 0.950@3.30")
    assert second.startswith("5 of 64 trials")
    assert "\x1b" not in shown.getvalue()


def test_progress_line_names_points_that_look_the_same_once() -> None:
    screen, shown = console(terminal=False)
    history = history_of(
        (0.8, 2.0, TrialState.COMPLETE, 4), (0.8, 2.0, TrialState.COMPLETE, 4), (0.9, 3.0, TrialState.COMPLETE, 4)
    )
    with Progress(history, STUDY, screen, seconds_between_lines=0.0) as progress:
        progress.on_step_end(0, [])
    assert shown.getvalue().rstrip().endswith("front (accuracy@bits): 0.800@2.00, 0.900@3.00")


def test_progress_line_of_many_points_is_one_line() -> None:
    trials = [(0.5 + number / 100, 1 + number / 10, TrialState.COMPLETE, 4) for number in range(40)]
    screen, shown = console(terminal=False)
    with Progress(history_of(*trials), STUDY, screen, seconds_between_lines=0.0) as progress:
        progress.on_step_end(0, [])
    assert len(shown.getvalue().splitlines()) == 1
    assert shown.getvalue().count("@") == 1 + 40


def test_progress_outside_of_a_terminal_says_nothing_before_its_time() -> None:
    screen, shown = console(terminal=False)
    with Progress(History(), STUDY, screen, seconds_between_lines=10_000.0) as progress:
        progress.on_step_end(0, [])
    assert shown.getvalue() == ""


def test_progress_before_anything_has_happened_is_shown_too() -> None:
    screen, shown = console(terminal=False)
    with Progress(History(), STUDY, screen, seconds_between_lines=0.0) as progress:
        progress.on_step_end(0, [])
    assert shown.getvalue().strip() == "0 of 64 trials; 0:00 elapsed"


def test_progress_says_how_long_it_takes_once_epochs_have_ended(tmp_path: Path) -> None:
    history = read_history(make_study(tmp_path / "small").ledger)
    screen, shown = console(terminal=False)
    with Progress(history, STUDY, screen, seconds_between_lines=0.0) as progress:
        progress.on_step_end(0, [])
    assert re.search(r"; 0:00 elapsed, about 0:0\d to go; ", shown.getvalue())


def test_progress_in_a_terminal_is_a_panel_that_vanishes(tmp_path: Path) -> None:
    history = read_history(make_study(tmp_path / "small").ledger)
    screen, shown = console(terminal=True)
    with Progress(history, STUDY, screen):
        panel = shown.getvalue()
    lines = lines_of(panel)
    assert set(lines[0]) <= set("━╸╺ ")
    assert lines[1] == "5 of 64 trials: 3 COMPLETE, 1 PRUNED, 1 FAIL"
    assert lines[2].startswith("0:00 elapsed, about 0:0")
    assert lines[3:5] == ["", "front so far"]
    drawn = front_in_text(history)
    assert lines[5 : 5 + len(drawn)] == [line.rstrip() for line in drawn]
    assert lines[5 + len(drawn)].startswith("hypervolume 0.")
    assert len(lines) == 5 + len(drawn) + 2 + 1 + 2  # a blank line, and a table with its header
    assert "0.9500" in lines[-1]
    after = shown.getvalue().removeprefix(panel)
    assert after.endswith("\x1b[1A\x1b[2K" * len(lines))  # each of its lines is erased


def test_progress_in_a_terminal_without_a_front_has_no_table() -> None:
    screen, shown = console(terminal=True)
    with Progress(History(), STUDY, screen):
        pass
    assert "0 of 64 trials" in lines_of(shown.getvalue())
    assert "front" not in shown.getvalue()


def test_progress_leaves_the_cursor_as_it_was_after_an_error() -> None:
    screen, shown = console(terminal=True)
    with pytest.raises(KeyboardInterrupt), Progress(History(), STUDY, screen):
        raise KeyboardInterrupt
    assert shown.getvalue().rfind("\x1b[?25h") > shown.getvalue().rfind("\x1b[?25l")


@pytest.mark.parametrize("terminal", [False, True])
def test_standstill_is_shown_once(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.run.progress.stall.STALL_BEFORE_EPOCHS", 0.0)
    screen, shown = console(terminal=terminal)
    with Progress(History(), STUDY, screen, seconds_between_lines=0.0) as progress:
        progress._seconds_between_lines = 0.0
        progress.on_step_end(0, [])
        progress.on_step_end(1, [])
    assert shown.getvalue().count("no epoch has ended for") == 1


def test_silent_reporter_reports_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = SilentReporter()
    assert not reporter.should_report([], done=True)
    reporter.report([], True)
    assert capsys.readouterr() == ("", "")


def test_liveliness_tells_every_condition_of_a_study(tmp_path: Path) -> None:
    finished = make_study(tmp_path / "finished")
    assert liveliness(finished, read_history(finished.ledger), study_config(trials=5)) == "finished"
    assert liveliness(finished, read_history(finished.ledger), study_config(trials=12)) == "interrupted", (
        "extended, and not begun with"
    )

    died = make_study(tmp_path / "died", ended=False)
    assert liveliness(died, read_history(died.ledger), study_config(trials=5)) == "died"

    ledger = Ledger(died.ledger)
    assert liveliness(died, ledger.history, study_config(trials=5)) == "running"
    ledger.record("session_ended", session=1, outcome="interrupted")
    ledger.close()
    assert liveliness(died, read_history(died.ledger), study_config(trials=5)) == "interrupted"

    unstarted = StudyFolder(tmp_path / "unstarted")
    assert liveliness(unstarted, read_history(unstarted.ledger), study_config(trials=5)) == "not started"


def test_line_names_the_epoch_of_each_running_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial may train for many minutes without ending."""
    ledger = Unwritten()
    for number, epochs in ((0, 0), (1, 3)):
        config = study_config().trial_config(
            {"family": "RS", "num_levels": 2 + number, "lam": 1e-3, "placement": "own"}
        )
        ledger.record(ASKED, **asked(number, config))
        train(ledger, number, epochs)
    assert training_line(ledger.history, {0: 22.9, 1: 61.0}) == (
        "training: trial 0 epoch 1 of 4 for 0:22, trial 1 epoch 4 of 4 for 1:01"
    )
    assert training_line(ledger.history, {1: 0.0}) == "training: trial 1 epoch 4 of 4 for 0:00", "0 waits for its actor"
    ledger.record(ENDED, number=1, state=TrialState.COMPLETE, failure=None)
    assert training_line(ledger.history, {0: 1.0, 1: 1.0}) == "training: trial 0 epoch 1 of 4 for 0:01"
    assert training_line(ledger.history, {}) == ""


def test_states_line_of_a_study_that_nobody_runs_says_what_is_to_resume() -> None:
    history = history_of((0.5, 2.0, TrialState.COMPLETE, 4), (0.5, 2.0, None, 4))
    assert states_line(history, 9, is_driven=False) == "1 of 9 trials: 1 COMPLETE, 1 to resume"
