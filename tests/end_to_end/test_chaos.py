"""Studies whose driver is killed again and again: by the clock, after a number of facts, in the middle of a write.

One of them is changed meanwhile as well: its space, trials that are enqueued, a trial or the driver that is stopped.

`make chaos` asks for the full number of kills; every run prints what was done.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from analysis.load import load_trials
from study.ledger.history import History, Trial
from study.ledger.reading import read_history
from study.storage.folder import StudyFolder
from study.storage.requests import ENQUEUE, pending
from tests.support.dying_driver import OPERATIONS
from tests.support.live_studies import PATIENCE, LiveRun, qar
from tests.support.promises import assert_only_epochs_after_a_checkpoint_are_repeated, assert_three_ledgers_agree
from trainables.result import END_STATES

pytestmark = [pytest.mark.e2e, pytest.mark.chaos, pytest.mark.timeout(3600)]

TIMES_AND_PLACES = {"train_seconds", "hostname", "device", "session", "checkpoint"}
MOST_FACTS = 14
"""Between two kills: a trial that is trained to its end tells ten."""
EXTENSION = 10
"""Trials that a study is extended by when it is finished before it was killed often enough."""
SETTINGS = (
    *("--set", "trial.subset=160", "--set", "trial.width=0.25"),
    *("--set", "trial.regularize_epochs=3", "--set", "trial.finetune_epochs=1"),
    *("--set", "early_stopping.grace_period=1", "--set", "early_stopping.reduction_factor=2"),
)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(f"{request.node.name} {request.config.getoption('--chaos-seed')}")


@dataclass
class Victim:
    """A study that is launched, killed and resumed until it is finished.

    Attributes:
        kills: how often it was killed, by the way in which.
    """

    cwd: Path
    launch: tuple[str, ...]
    rng: random.Random

    def __post_init__(self) -> None:
        self.folder = StudyFolder(self.cwd / "studies" / "digits")
        self.kills: Counter[str] = Counter()

    def run_until_killed(self) -> bool:
        """Launches or resumes; returns whether it was killed rather than finished."""
        command = self.resumption() if self.folder.exists() else self.launch
        if self.is_finished:
            command += ("--trials", str(EXTENSION))
        way = self.rng.choice(("clock", "facts", "facts", "file"))
        if way == "file":
            operation = self.rng.choice(OPERATIONS)
            way = f"file: {operation}"
            most = 4 if "re" in operation.split()[-1] else 2 * MOST_FACTS
            program = (
                str(Path(__file__).parents[1] / "support" / "dying_driver.py"),
                operation,
                str(self.rng.randint(1, most)),
            )
            run = LiveRun(command, self.cwd, program=program)
            self._wait(run, lambda: False)
        else:
            run = LiveRun(command, self.cwd)
            if way == "clock":
                until = time.monotonic() + self.rng.uniform(0, 10)
                self._wait(run, lambda: time.monotonic() > until)
            else:
                facts = self._num_facts() + self.rng.randint(1, MOST_FACTS)
                self._wait(run, lambda: self._num_facts() >= facts)
                time.sleep(self.rng.uniform(0, 0.1))
            if run.process.poll() is None:
                run.kill_driver()
        ended = run.finish()
        assert ended.status in (0, -9, 130), ended  # 130: a user has stopped it
        if ended.status == -9:
            self.kills[way] += 1
        return ended.status != 0

    def resumption(self) -> tuple[str, ...]:
        return "resume", str(self.folder.path)

    @property
    def is_finished(self) -> bool:
        return self.folder.exists() and self.history().num_ended >= self.folder.read_config().trials

    def _num_facts(self) -> int:
        return self.folder.ledger.read_bytes().count(b"\n") if self.folder.ledger.exists() else 0

    def _wait(self, run: LiveRun, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while run.process.poll() is None and not condition():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def finish(self) -> None:
        if not self.folder.exists():  # killed before it began
            ended = qar(*self.launch, cwd=self.cwd)
        else:
            ended = qar("resume", str(self.folder.path), cwd=self.cwd)
        assert ended.status == 0, ended

    def history(self) -> History:
        return read_history(self.folder.ledger) if self.folder.ledger.exists() else History()


WIDENINGS = (
    "space.lam.high=64",
    "space.num_levels.high=32",
    "space.family=[none, RS, RC, RM]",
    "space.family=[none, RS, RC, RM, RE]",
    "early_stopping.reduction_factor=3",
)
"""Changes of the space in a random order; a family that is left out comes back with a later one."""


@dataclass
class Changed(Victim):
    """A victim that lives: every session may begin with a change of the space, and users enqueue and stop meanwhile.

    Attributes:
        events: how often each kind of request was made.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.events: Counter[str] = Counter()
        self.changes: tuple[str, ...] = ()

    def resumption(self) -> tuple[str, ...]:
        if self.rng.random() < 0.5:
            return super().resumption()
        change = self.rng.choice(WIDENINGS)
        self.events["change"] += 1
        return (*super().resumption(), "--set", change)

    def _wait(self, run: LiveRun, condition: Callable[[], bool]) -> None:
        """Make a request when the session has begun, and then wait."""
        sessions = self._num_sessions()
        super()._wait(run, lambda: self._num_sessions() > sessions or condition())
        if run.process.poll() is None and not condition():
            self._request(self.rng.choice(("enqueue", "enqueue", "stop trial", "stop")))
        super()._wait(run, condition)

    def _num_sessions(self) -> int:
        return self.folder.ledger.read_bytes().count(b'"fact": "session_started"') if self.folder.ledger.exists() else 0

    def _request(self, event: str) -> None:
        study = str(self.folder.path)
        family, levels, lam = self.rng.choice(("RS", "RM")), self.rng.randint(2, 40), self.rng.uniform(0.5, 90)
        trial = ("--set", f"family={family}", "--set", f"num_levels={levels}", "--set", f"lam={lam:.4f}")
        command = {
            "enqueue": ("enqueue", study, *trial),
            "stop trial": ("stop", study, "--trial", str(max(self.history().trials, default=0))),
            "stop": ("stop", study),
        }[event]
        ended = qar(*command, cwd=self.cwd)
        assert ended.status in (0, 2), ended  # 2: the driver, or the trial, has ended meanwhile
        self.events[event] += ended.status == 0


def describe(victim: Victim) -> str:
    ways = ", ".join(f"{count} {way}" for way, count in sorted(victim.kills.items()))
    sessions = len(victim.history().sessions)
    return f"{victim.kills.total()} kills ({ways}), {sessions} sessions, {len(victim.history().trials)} trials"


def test_killed_study_equals_undisturbed_one_when_one_trial_runs_at_a_time(
    tmp_path: Path, rng: random.Random, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = request.config.getoption("--kills-alone")
    launch = ("launch", "digits", "--set", "resources.max_concurrent=1", *SETTINGS, "--trials")
    victim = Victim(tmp_path, (*launch, str(max(8, 2 * kills))), rng)
    while victim.kills.total() < kills:
        killed = victim.run_until_killed()
        assert killed or victim.is_finished
    victim.finish()
    result = load_trials(victim.folder.path)
    assert len(result) == victim.folder.read_config().trials

    # As long as the other has become: it is extended where it was finished before it was killed often enough.
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    assert qar(*launch, str(len(result)), cwd=undisturbed).status == 0
    expected = load_trials(undisturbed / "studies" / "digits")
    different = [
        column for column in expected if column not in TIMES_AND_PLACES and not expected[column].equals(result[column])
    ]
    with capsys.disabled():
        print(f"\none trial at a time: {describe(victim)}; columns that differ: {different or 'none'}")
    assert different == []
    assert_only_epochs_after_a_checkpoint_are_repeated(victim.folder)
    assert_three_ledgers_agree(victim.folder)


def test_killed_study_keeps_its_promises_when_several_trials_run_at_a_time(
    tmp_path: Path, rng: random.Random, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = request.config.getoption("--kills-together")
    trials = max(10, 2 * kills)
    launch = ("launch", "digits", "--trials", str(trials), *SETTINGS)
    victim = Victim(tmp_path, launch, rng)
    while victim.kills.total() < kills:
        before = victim.history()
        killed = victim.run_until_killed()
        after = victim.history()
        for number, trial in before.trials.items():
            if trial.state in END_STATES:
                assert after.trials[number] == trial, "what has ended is not touched again"
        assert killed or victim.is_finished
    victim.finish()
    assert_only_epochs_after_a_checkpoint_are_repeated(victim.folder)
    assert_three_ledgers_agree(victim.folder)
    with capsys.disabled():
        print(f"\nseveral trials at a time: {describe(victim)}; every promise kept")


def test_study_that_is_changed_and_killed_keeps_its_promises(
    tmp_path: Path, rng: random.Random, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each trial is drawn from the space in force, and what users have asked for is done once."""
    kills = request.config.getoption("--kills-changed")
    space = "{family: [none, RS], num_levels: {low: 2, high: 8}, lam: {low: 1.0, high: 8.0}}"
    narrow = ("--set", f"space={space}", "--set", "anchors={num_levels: [2], family: [none]}")
    victim = Changed(tmp_path, ("launch", "digits", "--trials", str(max(10, 2 * kills)), *SETTINGS, *narrow), rng)
    while victim.kills.total() < kills:
        before = victim.history()
        killed = victim.run_until_killed()
        after = victim.history()
        for number, trial in before.trials.items():
            if trial.state in END_STATES:
                assert after.trials[number] == trial, "what has ended is not touched again"
        assert killed or victim.is_finished
    victim.finish()
    assert_only_epochs_after_a_checkpoint_are_repeated(victim.folder)
    assert_three_ledgers_agree(victim.folder)
    history, config = victim.history(), victim.folder.read_config()
    begins = [history.version_changes[version].proposals for version in range(2, config.version + 1)]
    own = [proposal for proposal in history.proposals if isinstance(proposal, Trial)]
    for trial in own:
        assert trial.space_version == 1 + sum(begin <= history.proposals.index(trial) for begin in begins)
        space_of_trial = config.versions[trial.space_version - 1].space
        if trial.params and trial.request is None:
            assert trial.config["family"] in space_of_trial.family
            assert space_of_trial.num_levels.low <= trial.config["num_levels"] <= space_of_trial.num_levels.high
    asked = [trial.request for trial in own if trial.request is not None] + list(history.enqueued)
    waiting = [one.name for one in pending(victim.folder)[0] if one.kind == ENQUEUE]
    assert len(asked) == len(set(asked))
    assert len({*asked, *waiting}) == victim.events["enqueue"], "each is trained once, or still waits"
    with capsys.disabled():
        events = ", ".join(f"{count} {event}" for event, count in sorted(victim.events.items()))
        print(f"\nchanged meanwhile: {describe(victim)}; {events}; {config.version} versions; every promise kept")
