"""The searcher, fed by hand as Ray feeds it: every trial ends in Optuna as it ended in truth."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState as OptunaState
from ray.tune.search import Searcher

from study.config import StudyConfig
from study.ledger.facts import CHECKPOINT, ENDED, EPOCH, LOST
from study.ledger.ledger import Ledger
from study.search.optuna_trials import OBJECTIVES
from study.search.outcomes import outcome
from study.search.rungs import Rungs
from study.search.sampling.sampler_history import FAILURE
from study.search.searcher import MAX_REPEATS, OptunaSearcher
from study.search.space import ANCHOR
from tests.support.example_studies import metrics, start_session, study_config
from tests.support.slow_copy import SlowCopy
from trainables.result import TrialState

EPOCHS = 4
IN_OPTUNA = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAIL: OptunaState.FAIL,
}
ENDS = ("complete", "stopped", "diverged", "diverged at once", "broken", "broken at once")
EXHAUSTIBLE = {"family": ["none"], "num_levels": {"low": 2, "high": 5}, "placement": ["kmeans", "uniform"]}


def config_of(**changes: Any) -> StudyConfig:
    """A study that no test comes to the end of by chance."""
    return study_config(**{"trials": 1000} | changes)


class Driver:
    """Stands where Ray stands: asks the searcher, trains, records, and tells how each trial ended."""

    def __init__(self, folder: Path, config: StudyConfig) -> None:
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.searcher = OptunaSearcher(config, self.ledger)
        self.ray_ids: dict[int, str] = {}
        self._names = itertools.count()

    def ask(self) -> dict[str, Any]:
        ray_id = f"ray-{next(self._names)}"
        suggestion = self.searcher.suggest(ray_id)
        assert isinstance(suggestion, dict)
        self.ray_ids[suggestion["number"]] = ray_id
        return suggestion

    def train(self, number: int, epochs: int) -> dict[str, Any] | None:
        """Records epochs and checkpoints; returns the last result."""
        result = None
        if self.ledger.history.trials[number].epochs:
            start_session(self.ledger)  # only then is an epoch trained again
        for epoch in range(1, epochs + 1):
            quality = (number * 7 % 13 + epoch / EPOCHS) / 14
            result = metrics(epoch, accuracy=quality, bits=1 + 5 * quality**2)
            self.ledger.record(EPOCH, number=number, metrics=result)
            checkpoint = f"ray/session-001/{number}/checkpoint_{epoch:06}"
            (self.ledger.path.parent / checkpoint).mkdir(parents=True, exist_ok=True)
            self.ledger.record(CHECKPOINT, number=number, epoch=epoch, path=checkpoint)
        return result

    def end(self, number: int, how: str = "complete") -> None:
        """Trains a trial to one of `ENDS`, and says so to the ledger and to the searcher."""
        epochs = {"complete": EPOCHS, "diverged at once": 0, "broken at once": 0}.get(how, 2)
        result = self.train(number, epochs)
        if how.startswith("diverged"):
            result = {"epoch": epochs, "failure": "the loss is not finite (nan)", "done": True}
        broken = how.startswith("broken")
        state, failure = (TrialState.FAIL, "it broke") if broken else outcome(result, EPOCHS)
        self.ledger.record(ENDED, number=number, state=state, failure=failure)
        self.searcher.on_trial_complete(self.ray_ids[number], result, error=broken)

    def lose(self, number: int) -> None:
        """Takes away the actor that trains a trial."""
        self.ledger.record(LOST, number=number, reason="the node is gone")
        self.searcher.on_trial_complete(self.ray_ids[number], None, error=True)

    def run(self, trials: int, how: str = "complete") -> list[dict[str, Any]]:
        """Asks for trials and ends each before the next."""
        suggestions = []
        for _ in range(trials):
            suggestions.append(self.ask())
            self.end(suggestions[-1]["number"], how)
        return suggestions

    @property
    def optuna_trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.searcher.optuna_study.get_trials(deepcopy=False)

    def in_optuna(self, state: OptunaState) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self.optuna_trials if trial.state == state]

    def die(self) -> None:
        """Lets go of the ledger without a word, as a killed process does."""
        self.ledger.close()


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(tmp_path, config_of())
    yield driver
    driver.die()


def identities(driver: Driver) -> list[tuple[str, int]]:
    return [(trial.config_hash, trial.config["seed"]) for trial in driver.ledger.history.trials.values()]


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ("complete", TrialState.COMPLETE),
        ("stopped", TrialState.PRUNED),
        ("diverged", TrialState.FAIL),
        ("diverged at once", TrialState.FAIL),
        ("broken", TrialState.FAIL),
        ("broken at once", TrialState.FAIL),
    ],
)
def test_optuna_is_told_how_a_trial_ended(how: str, state: TrialState, driver: Driver) -> None:
    driver.run(2, how)
    (trial,) = driver.optuna_trials
    known = driver.ledger.history.trials[1]
    assert known.state == state
    assert trial.state == IN_OPTUNA[state]
    assert trial.values == ([known.last[name] for name in OBJECTIVES] if state == TrialState.COMPLETE else None)
    assert trial.user_attrs.get(FAILURE) == known.failure
    assert (known.failure is not None) == (state == TrialState.FAIL)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"epoch": 4}, (TrialState.COMPLETE, None)),
        ({"epoch": 5}, (TrialState.COMPLETE, None)),
        ({"epoch": 3}, (TrialState.PRUNED, None)),
        ({"epoch": 4, "failure": "it diverged"}, (TrialState.FAIL, "it diverged")),
        (None, (TrialState.FAIL, None)),
    ],
)
def test_outcome_follows_the_last_result(result: dict[str, Any] | None, expected: tuple[str, str]) -> None:
    assert outcome(result, EPOCHS) == expected


def test_only_full_budgets_are_on_optunas_front(driver: Driver) -> None:
    for how in ENDS * 3:
        driver.end(driver.ask()["number"], how)
    front = driver.searcher.optuna_study.best_trials
    assert front
    assert all(trial.state == OptunaState.COMPLETE for trial in front)


def test_suggestion_is_what_the_ledger_says(driver: Driver) -> None:
    for suggestion in driver.run(10):
        trial = driver.ledger.history.trials[suggestion["number"]]
        expected = {
            "number": trial.number,
            "trial_id": f"small-{trial.number:05d}",
            "anchor": trial.anchor,
            "trial": trial.config,
            "restore_from": [],
            "attempt": 0,
        }
        assert expected.items() <= suggestion.items()


def test_first_suggestions_are_anchors_then_each_family(driver: Driver) -> None:
    suggestions = driver.run(8)
    trials = [suggestion["trial"] for suggestion in suggestions]
    assert [trial["num_levels"] for trial in trials[:3]] == [None, 2, 4]
    assert [trial["family"] for trial in trials] == ["none"] * 3 + ["none", "RS", "RC", "RM", "RE"]
    assert all(suggestion["anchor"] for suggestion in suggestions)
    assert not driver.ask()["anchor"]


@pytest.mark.parametrize(("rule", "finished"), [("finished", {"none", "RS", "RC", "RM", "RE"}), ("compared", {"none"})])
def test_every_family_has_a_result_however_few_trials_go_on(rule: str, finished: set[str], tmp_path: Path) -> None:
    """Each trial is worse than those before it, so that the rungs give up all that they compare but the first."""
    stopping = {"grace_period": 1, "reduction_factor": 4, "first_of_family": rule}
    config = config_of(early_stopping=stopping)
    driver, rungs = Driver(tmp_path, config), Rungs(config)
    for _ in range(12):
        suggestion = driver.ask()
        number = suggestion["number"]
        for epoch in range(1, EPOCHS + 1):
            result = metrics(epoch, accuracy=0.9 - number / 100, bits=2 + number)
            driver.ledger.record(EPOCH, number=number, metrics=result)
            if not rungs.report(number, suggestion["anchor"], result):
                break
        state, failure = outcome(result, EPOCHS)
        driver.ledger.record(ENDED, number=number, state=state, failure=failure)
        driver.searcher.on_trial_complete(driver.ray_ids[number], result)
    complete = [trial for trial in driver.ledger.history.trials.values() if trial.state == TrialState.COMPLETE]
    assert {trial.config["family"] for trial in complete} == finished
    replayed = Rungs.replay(config, driver.ledger.history)
    assert [replayed.stopped(number) for number in range(12)] == [rungs.stopped(number) for number in range(12)]


def test_sampler_is_not_shown_the_baseline(driver: Driver) -> None:
    """A trial without parameters would leave samplers that search the common dimensions without any."""
    driver.run(1)
    assert driver.ledger.history.trials[0].params == {}
    assert driver.optuna_trials == []


def test_searcher_is_one_of_rays() -> None:
    assert issubclass(OptunaSearcher, Searcher)


@settings(max_examples=12)
@given(
    st.lists(
        st.one_of(st.sampled_from(ENDS), st.sampled_from(["ask", "kill", "train", "lose"])), min_size=5, max_size=40
    ),
    st.integers(0, 99),
)
def test_whatever_happens_ledger_and_optuna_agree(life: list[str], seed: int) -> None:
    """Random lives: trials asked for, trained, ended in every way, drivers killed and made anew."""
    config = config_of(seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(Path(folder), config)
        running: list[int] = []
        for event in life:
            if event == "kill":
                driver.die()
                driver = Driver(Path(folder), config)
                to_continue, running = sorted(running), []
                for number in to_continue:
                    suggestion = driver.ask()
                    trial = driver.ledger.history.trials[number]
                    assert suggestion["number"] == number
                    assert suggestion["trial"] == trial.config
                    assert suggestion["anchor"] == trial.anchor
                    expected = [str(Path(folder) / saved.path) for saved in trial.checkpoints[::-1]]
                    assert suggestion["restore_from"] == expected
                    running.append(number)
            elif event == "ask" or not running:
                running.append(driver.ask()["number"])
            elif event == "train":
                driver.train(running[0], 1)
            elif event == "lose":
                driver.lose(running[0])
                again = driver.ask()
                assert again["number"] == running[0]
                assert again["attempt"] == driver.ledger.history.trials[running[0]].losses
            else:
                driver.end(running.pop(0), event)
        for number in running:
            driver.end(number)
        history = driver.ledger.history
        assert driver.in_optuna(OptunaState.RUNNING) == []
        assert history.unfinished == []
        assert list(history.trials) == list(range(len(history.trials)))
        assert len(set(identities(driver))) == len(history.trials)
        anchors = [trial.config["num_levels"] for trial in history.trials.values() if trial.anchor]
        assert anchors[:3] == [None, 2, 4][: len(history.trials)]
        assert len(anchors) <= 8, "the anchors proper and one of each family"
        # Every trial of the ledger has its like in Optuna; what was answered from memory has its result.
        shown = [(trial.params, trial.state) for trial in driver.optuna_trials]
        for trial in history.trials.values():
            assert not trial.params or (trial.params, IN_OPTUNA[trial.state]) in shown
        driver.die()


@pytest.mark.parametrize("ended", range(0, 11, 2))
def test_rebuilt_searcher_goes_on_with_the_unfinished_before_anything_new(ended: int, tmp_path: Path) -> None:
    config = config_of()
    first = Driver(tmp_path, config)
    first.run(ended)
    untrained, trained = first.ask()["number"], first.ask()["number"]
    first.train(trained, 2)
    first.die()

    second = Driver(tmp_path, config)
    again = [second.ask(), second.ask()]
    assert [suggestion["number"] for suggestion in again] == [untrained, trained]
    checkpoints = tmp_path / f"ray/session-001/{trained}"
    assert again[0]["restore_from"] == []
    assert again[1]["restore_from"] == [str(checkpoints / f"checkpoint_00000{epoch}") for epoch in (2, 1)]
    assert len(second.ledger.history.trials) == ended + 2  # nothing was asked for anew
    new = second.ask()
    assert new["number"] == ended + 2
    assert new["restore_from"] == []
    for suggestion in (*again, new):
        second.end(suggestion["number"])
    assert second.in_optuna(OptunaState.RUNNING) == []
    assert second.ledger.history.count(TrialState.RUNNING) == 0
    second.die()


def test_restore_from_is_understood_when_the_folder_is_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's workers live in another folder, and pyarrow takes a relative path for a broken URI."""
    monkeypatch.chdir(tmp_path)
    Path("studies").mkdir()
    first = Driver(Path("studies"), config_of())
    first.train(first.ask()["number"], 1)
    first.die()
    second = Driver(Path("studies"), config_of())
    (restore_from,) = second.ask()["restore_from"]
    second.die()
    assert "://" in restore_from or Path(restore_from).is_absolute()
    assert restore_from.endswith(str(tmp_path / "studies/ray/session-001/0/checkpoint_000001"))


def test_checkpoint_that_is_gone_is_not_restored_from(tmp_path: Path) -> None:
    """Whoever deletes `ray/` to save space loses checkpoints, not trials."""
    first = Driver(tmp_path, config_of())
    first.train(first.ask()["number"], 2)
    first.die()
    shutil.rmtree(tmp_path / "ray")
    second = Driver(tmp_path, config_of())
    suggestion = second.ask()
    second.die()
    assert (suggestion["number"], suggestion["restore_from"]) == (0, [])


@pytest.mark.parametrize("ended", [1, 2, 3, 5, 8, 12])
def test_anchors_are_enqueued_once_ever(ended: int, tmp_path: Path) -> None:
    config = config_of()
    for trials in (ended, 4, 4):
        driver = Driver(tmp_path, config)
        driver.run(trials)
        driver.die()
    anchors = [trial for trial in driver.ledger.history.trials.values() if trial.anchor]
    assert [trial.number for trial in anchors] == list(range(8))
    assert sum(ANCHOR in trial.user_attrs for trial in driver.optuna_trials) == 7  # the baseline isn't shown


@pytest.mark.parametrize("ended", [1, 4, 6, 9])
def test_each_family_is_asked_for_once_before_the_sampler_chooses(ended: int, tmp_path: Path) -> None:
    """Also where a driver was killed between them, and where the sampler's choice had been run before."""
    config = config_of(space={"family": ["none", "RS", "RE"], "num_levels": {"low": 4, "high": 5}})
    first = Driver(tmp_path, config)
    first.run(ended)
    first.die()
    second = Driver(tmp_path, config)
    second.run(10 - ended)
    families = [trial.config["family"] for trial in second.ledger.history.trials.values()]
    waiting = second.in_optuna(OptunaState.WAITING)
    second.die()
    assert families[:3] == ["none"] * 3
    assert {"RS", "RE"} <= set(families[3:6])
    assert waiting == []


@pytest.mark.parametrize("how", ["complete", "stopped", "diverged"])
def test_configuration_that_was_run_is_not_run_again(how: str, tmp_path: Path) -> None:
    """Sixteen configurations are in the space; the sampler alone would repeat some long before the last."""
    driver = Driver(tmp_path, config_of(space=EXHAUSTIBLE))
    driver.run(6, how)
    driver.die()
    assert len(set(identities(driver))) == 6
    assert driver.in_optuna(OptunaState.RUNNING) == []


def test_configuration_that_runs_is_not_run_beside_itself(tmp_path: Path) -> None:
    driver = Driver(tmp_path, config_of(space=EXHAUSTIBLE))
    for _ in range(6):
        driver.ask()
    driver.die()
    assert len(set(identities(driver))) == 6


def test_repeat_is_answered_from_memory_with_the_known_result(tmp_path: Path) -> None:
    space = {"family": ["none"], "num_levels": {"low": 4, "high": 4}, "placement": ["kmeans"]}
    driver = Driver(tmp_path, config_of(space=space, anchors={"num_levels": [4]}))
    driver.run(2)
    driver.ask()  # the space is exhausted: after so many repeats one is run again
    driver.die()
    known = driver.ledger.history.trials[1].last
    repeats = [trial for trial in driver.in_optuna(OptunaState.COMPLETE) if trial.params.get("num_levels") == 4]
    assert len(repeats) == 1 + MAX_REPEATS
    assert {tuple(trial.values) for trial in repeats} == {tuple(known[name] for name in OBJECTIVES)}


def test_end_of_an_unknown_trial_is_passed_over(driver: Driver) -> None:
    driver.searcher.on_trial_complete("nobody", {"epoch": 4, "val_accuracy": 0.5, "bits_per_weight": 2.0})
    assert driver.in_optuna(OptunaState.COMPLETE) == []


def test_rebuilt_searcher_knows_what_was_learnt(tmp_path: Path) -> None:
    config = config_of()
    first = Driver(tmp_path, config)
    for how in ENDS * 2:
        first.end(first.ask()["number"], how)
    first.die()
    second = Driver(tmp_path, config)
    second.die()

    def learnt(driver: Driver) -> list[Any]:
        trials = [trial for trial in driver.optuna_trials if trial.state.is_finished()]
        return [(trial.state, trial.params, trial.distributions, trial.values) for trial in trials]

    assert learnt(second) == learnt(first)
    assert len(learnt(second)) == len(ENDS * 2) - 1  # the baseline isn't shown


def test_rays_own_state_is_not_restored_from(driver: Driver, tmp_path: Path) -> None:
    driver.searcher.save(str(tmp_path / "state"))
    assert str(driver.ledger.path) in (tmp_path / "state").read_text()
    with pytest.raises(RuntimeError, match="qar resume"):
        driver.searcher.restore(str(tmp_path / "state"))


def test_trial_begins_from_the_baseline_of_its_seed(tmp_path: Path) -> None:
    """Also where the space is exhausted: there is no baseline for more seeds."""
    config = config_of(space=EXHAUSTIBLE, replicates=2, trial={"init": "pretrained"})
    ledger = Ledger(tmp_path / "ledger.jsonl")
    searcher = OptunaSearcher(config, ledger, {0: "of seed 0", 1: "of seed 1"})
    seeds = set()
    for number in range(25):  # 8 configurations under 2 seeds each, and the float baseline
        suggestion = searcher.suggest(f"ray-{number}")
        assert isinstance(suggestion, dict)
        seeds.add(suggestion["trial"]["seed"])
        assert suggestion["initial_weights"] == f"of seed {suggestion['trial']['seed']}"
        ledger.record(ENDED, number=number, state=TrialState.FAIL, failure="it broke")
        searcher.on_trial_complete(f"ray-{number}")
    assert seeds == {0, 1}


def test_no_more_trials_are_asked_for_than_there_is_room_for(tmp_path: Path) -> None:
    room = 2
    searcher = OptunaSearcher(config_of(), Ledger(tmp_path / "ledger.jsonl"), room=lambda: room)
    assert [bool(searcher.suggest(name)) for name in "abc"] == [True, True, False]
    room = 3
    assert [bool(searcher.suggest(name)) for name in "cd"] == [True, False]
    room = 1
    for name in "ab":
        searcher.on_trial_complete(name, error=True)
        assert searcher.suggest("d") is None
    searcher.on_trial_complete("c", error=True)
    assert searcher.suggest("d")


def test_trial_that_lost_its_worker_starts_from_durable_facts_alone(tmp_path: Path) -> None:
    """Else a crash could take back the checkpoint that the trial has gone on from, or count the loss again."""
    copy = SlowCopy()
    copy.go.release(100)
    ledger = Ledger(tmp_path / "ledger.jsonl", copy)
    start_session(ledger)
    searcher = OptunaSearcher(config_of(), ledger, room=lambda: 2, most_ahead=2)
    lost = searcher.suggest("lost")
    ledger.commit()
    beside = searcher.suggest("beside")
    assert isinstance(lost, dict)
    assert isinstance(beside, dict)
    while copy.go.acquire(blocking=False):
        pass  # from now on each commit waits
    ledger.submit(EPOCH, number=lost["number"], metrics=metrics(1))
    ledger.submit(CHECKPOINT, number=lost["number"], epoch=1, path="ray/session-001/lost/checkpoint_000001")
    ledger.submit(LOST, number=lost["number"], reason="the node is gone")
    searcher.on_trial_complete("lost", None, error=True)
    assert searcher.suggest("again") is None
    copy.go.release(100)
    ledger.commit()
    again = searcher.suggest("again")
    assert isinstance(again, dict)
    assert (again["number"], again["attempt"]) == (lost["number"], 1)
    ledger.close()
