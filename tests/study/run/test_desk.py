"""The desk of a driver: what users ask for becomes a fact, once, whatever happens in between."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from study.interruption import Interruption
from study.ledger.facts import ASKED, STOP_REQUESTED
from study.ledger.ledger import Ledger
from study.run import desk as desk_module
from study.run.desk import Desk
from study.run.recovery import end_finished_trials
from study.search.searcher import OptunaSearcher
from study.storage.folder import StudyFolder
from study.storage.requests import Request, pending, send
from tests.support.example_studies import asked, start_session, study_config, train
from trainables.result import TrialState

RM = {"family": "RM", "num_levels": 4, "lam": 1e-3, "placement": "own"}
OUTSIDE = {"family": "RM", "num_levels": 3000, "lam": 7.0, "placement": "own"}


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "small")
    folder.create(study_config(trials=40))
    return folder


@pytest.fixture
def ledger(study: StudyFolder) -> Iterator[Ledger]:
    with closing(study.open_ledger(print)) as ledger:
        start_session(ledger, study)
        yield ledger


@pytest.fixture
def interruption(monkeypatch: pytest.MonkeyPatch) -> Interruption:
    own = Interruption()
    monkeypatch.setattr(desk_module, "interruption", own)
    return own


def test_enqueued_trials_come_before_further_proposals_and_take_none_of_their_places(
    study: StudyFolder, ledger: Ledger
) -> None:
    config = study.read_config()
    desk, searcher = Desk(study, config, ledger, print), OptunaSearcher(config, ledger)
    searcher.suggest("a")
    for searched in (RM, OUTSIDE):
        send(study, Request(kind="enqueue", user="ada", searched=searched))
    desk.look()
    assert pending(study) == ([], {})
    for name in "bcd":
        searcher.suggest(name)
    trials = ledger.history.trials
    assert [{name: trials[number].config[name] for name in RM} for number in (1, 2)] == [RM, OUTSIDE]
    assert [(trials[number].request is not None, bool(trials[number].params)) for number in range(4)] == [
        (False, False),
        (True, True),
        (True, False),  # the sampler does not learn from what lies outside the space
        (False, True),
    ]
    assert (trials[3].config["family"], trials[3].config["num_levels"], trials[3].anchor) == ("none", 2, True)
    assert not ledger.history.enqueued


def test_request_is_taken_once_though_its_file_was_left(study: StudyFolder, ledger: Ledger) -> None:
    """The driver was killed between the fact and the removal of the file."""
    request = Request(kind="enqueue", user="ada", searched=RM)
    send(study, request)
    desk = Desk(study, study.read_config(), ledger, print)
    desk.look()
    send(study, request)
    desk.look()
    assert list(ledger.history.enqueued) == [request.name]
    assert pending(study) == ([], {})


def test_requests_that_wait_are_taken_by_the_next_driver_except_those_to_stop(
    study: StudyFolder, ledger: Ledger, interruption: Interruption
) -> None:
    send(study, Request(kind="stop", user="ada"))
    send(study, Request(kind="enqueue", user="ada", searched=RM))
    desk = Desk(study, study.read_config(), ledger, print)
    desk.forget_stops()
    desk.look()
    assert interruption.received is None
    assert len(ledger.history.enqueued) == 1
    assert pending(study) == ([], {})


def test_stop_ends_the_driver_as_ctrl_c_does(study: StudyFolder, ledger: Ledger, interruption: Interruption) -> None:
    said: list[str] = []
    send(study, Request(kind="stop", user="ada"))
    Desk(study, study.read_config(), ledger, said.append).look()
    assert said == ["stopped by ada"]
    assert interruption.status == 130
    with pytest.raises(KeyboardInterrupt):
        interruption.check()
    assert '"fact": "stop_requested"' in study.ledger.read_text()


def test_trial_that_a_user_has_stopped_ends_as_pruned_after_a_crash_too(study: StudyFolder, ledger: Ledger) -> None:
    config = study.read_config()
    for number in range(3):
        ledger.record(ASKED, **asked(number, config.trial_config(RM | {"num_levels": number + 2}), anchor=True))
    train(ledger, 0, 2)
    train(ledger, 1, 2)
    desk = Desk(study, config, ledger, print)
    send(study, Request(kind="stop", user="ada", number=0))
    send(study, Request(kind="stop", user="ada", number=2))
    desk.look()
    end_finished_trials(ledger, config)
    trials = ledger.history.trials
    assert [(trials[number].state, trials[number].stopped_by) for number in range(3)] == [
        (TrialState.PRUNED, "ada"),
        (TrialState.RUNNING, None),
        (TrialState.RUNNING, "ada"),  # it has trained no epoch, so it ends after its first
    ]
    assert len(trials[0].epochs) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no JSON object"),
        (b"[1]", "is no JSON object"),
        (b'{"kind": "launch"}', "should be 'enqueue' or 'stop'"),
        (b'{"kind": "stop", "extra": 1}', "Unexpected keyword argument"),
        (b'{"kind": "enqueue", "user": "ada", "searched": {"family": "nosuch"}}', "nosuch"),
        (b'{"kind": "stop", "user": "ada", "number": 7}', "trial 7 does not run"),
    ],
)
def test_request_that_makes_no_sense_is_dropped_with_a_line(
    study: StudyFolder, ledger: Ledger, content: bytes, reason: str
) -> None:
    said: list[str] = []
    study.storage.add_request("0" * 32, content)
    before = study.ledger.read_bytes()
    Desk(study, study.read_config(), ledger, said.append).look()
    assert len(said) == 1
    assert reason in said[0]
    assert pending(study) == ([], {})
    assert study.ledger.read_bytes() == before


def test_facts_about_requests_keep_their_order(ledger: Ledger) -> None:
    stop = {"request": "0" * 32, "user": "ada", "number": None}
    ledger.record(STOP_REQUESTED, **stop)
    with pytest.raises(ValueError, match="request must be new"):
        ledger.record(STOP_REQUESTED, **stop)
    with pytest.raises(ValueError, match="number must be that of one of 0 trials"):
        ledger.record(STOP_REQUESTED, **stop | {"request": "1" * 32, "number": 3})
    config = study_config().trial_config(RM)
    with pytest.raises(ValueError, match="request must be one that waits"):
        ledger.record(ASKED, **asked(0, config), request="2" * 32)
