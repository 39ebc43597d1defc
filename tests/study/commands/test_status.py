"""`qar status` of a large study shows a part of its running trials and of its front, unless all are asked for."""

import itertools
from pathlib import Path

import pytest
from typer.testing import CliRunner

from study.cli import app
from study.cli.inspection import MOST_ROWS
from study.ledger.facts import ASKED, ENDED
from study.ledger.ledger import Ledger
from study.storage.folder import StudyFolder
from tests.support.example_studies import asked, start_session, study_config, train
from trainables.result import TrialState


def make_front(folder: Path, points: int, running: int) -> StudyFolder:
    """Write a study with as many points on its front, at 1, 2, … bits, and as many trials that have not ended."""
    config = study_config(trials=points + running)
    study = StudyFolder(folder)
    study.create(config)
    ledger = Ledger(study.ledger)
    start_session(ledger, study)
    for number in range(points + running):
        trial = config.trial_config({"family": "RS", "num_levels": 2 + number, "lam": 1e-3})
        ledger.record(ASKED, **asked(number, trial))
        if number < points:
            train(ledger, number, 4, accuracy=0.5 + number / 1000, bits=number + 1.0)
            ledger.record(ENDED, number=number, state=TrialState.COMPLETE, failure=None)
    ledger.close()
    return study


def status(*arguments: str) -> list[str]:
    result = CliRunner().invoke(app, ["status", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def bits_shown(lines: list[str]) -> list[float]:
    start = next(place for place, line in enumerate(lines) if line.lstrip().startswith("bits/weight"))
    return [float(line.split()[0]) for line in lines[start + 1 :] if line[:1].isspace() or line[:1].isdigit()]


@pytest.mark.parametrize("more", [0, 1, 80])
def test_status_shows_both_ends_of_a_large_front_and_some_between(more: int, tmp_path: Path) -> None:
    points = MOST_ROWS + more
    study = make_front(tmp_path / "large", points, running=0)
    lines = status(str(study.path))
    shown = bits_shown(lines)
    assert len(shown) == MOST_ROWS
    assert (shown[0], shown[-1]) == (1.0, points)
    distances = [after - before for before, after in itertools.pairwise(shown)]
    assert max(distances) - min(distances) <= 1
    hint = f"… and {more} more points of the front; show all with: qar status {study.path} --all"
    assert [line for line in lines if line.startswith("…")] == ([hint] if more else [])
    assert bits_shown(status(str(study.path), "--all")) == [float(bits) for bits in range(1, points + 1)]


def test_status_names_some_of_many_running_trials(tmp_path: Path) -> None:
    study = make_front(tmp_path / "large", 2, running=MOST_ROWS + 5)
    lines, every = status(str(study.path)), status(str(study.path), "--all")
    assert sum(line.startswith("trial ") for line in lines) == MOST_ROWS
    assert "… and 5 more trials that have not ended" in lines
    assert sum(line.startswith("trial ") for line in every) == MOST_ROWS + 5
    assert not any(line.startswith("…") for line in every)
