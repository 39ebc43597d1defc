"""A pack whose trials are driven by threads: lockstep, late trials, places that are filled, and failures."""

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.example_trials import quick
from tests.support.quick_runs import comparable
from trainables.config import Recipe, TrialConfig
from trainables.errors import NonFiniteLossError
from trainables.packed import pack as pack_module
from trainables.packed.pack import Pack
from trainables.packed.training import PackedTraining
from trainables.run import CompressionRun, Metrics

pytestmark = pytest.mark.usefixtures("quick_names")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for trials that are late until they come, however slow the machine is."""
    monkeypatch.setattr(pack_module, "SHORTEST_WAIT", 60.0)
    monkeypatch.setattr(pack_module, "LONGEST_WAIT", 60.0)


class Recorded(Pack):
    """A pack that remembers which places each of its epochs had."""

    def __init__(self, places: int) -> None:
        super().__init__(places, lambda config: CompressionRun(config["trial"]))
        self.epochs: list[list[int]] = []
        train = self._training.run_epoch

        def run_epoch(runs: dict[int, CompressionRun]) -> dict[int, Metrics | Exception]:
            self.epochs.append(sorted(runs))
            return train(runs)

        self._training.run_epoch = run_epoch  # type: ignore[method-assign, assignment]


def alone_in_a_pack(config: TrialConfig, places: int) -> list[Metrics]:
    training, run = PackedTraining(places), CompressionRun(config)
    results = []
    while not run.finished:
        metrics = training.run_epoch({0: run})[0]
        assert not isinstance(metrics, Exception)
        results.append(comparable(metrics))
    return results


def test_places_are_taken_and_given_back() -> None:
    pack = Recorded(2)
    assert [pack.join(name) for name in "abc"] == [0, 1, None]
    pack.leave(0)
    assert pack.join("d") == 0
    assert pack.owners == {0: "d", 1: "b"}


def test_trials_are_trained_in_lockstep_and_a_stopped_one_makes_place_for_the_next() -> None:
    pack = Recorded(2)
    configs = [quick(), quick("RS", seed=1), quick("RE", seed=2)]
    places = [pack.join(name) for name in "ab"]
    for place, config in zip(places, configs, strict=False):
        assert place is not None
        pack.begin(place, {"trial": config})
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(lambda: [comparable(pack.epoch(0)) for _ in range(4)])
        pack.epoch(1)
        pack.begin(1, {"trial": configs[2]})  # the trial there was stopped after one epoch
        third = [comparable(pack.epoch(1)) for _ in range(4)]
        assert first.result() == alone_in_a_pack(configs[0], 2)
    assert third == alone_in_a_pack(configs[2], 2)
    assert pack.epochs == [[0, 1], [0, 1], [0, 1], [0, 1], [1]]


def test_late_trial_is_waited_for_no_longer_than_the_others_can_afford(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_module, "SHORTEST_WAIT", 0.05)
    monkeypatch.setattr(pack_module, "LONGEST_WAIT", 0.05)
    pack = Recorded(2)
    for place in (pack.join("a"), pack.join("b")):
        assert place is not None
        pack.begin(place, {"trial": quick()})
    pack.epoch(0)
    pack.epoch(0)
    pack.epoch(1)
    assert pack.epochs == [[0], [0], [1]]


def test_trial_that_diverges_fails_alone_and_is_not_waited_for() -> None:
    pack = Recorded(2)
    diverging = quick("none", recipe=Recipe(batch_size=40, learning_rate=1e30))
    for place, config in zip((pack.join("a"), pack.join("b")), (quick(), diverging), strict=True):
        assert place is not None
        pack.begin(place, {"trial": config})
    with ThreadPoolExecutor(1) as threads:
        rest: Future[list[Metrics]] = threads.submit(lambda: [comparable(pack.epoch(0)) for _ in range(4)])
        with pytest.raises(NonFiniteLossError, match="not finite"):
            pack.epoch(1)
        assert rest.result() == alone_in_a_pack(quick(), 2)
    assert pack.epochs == [[0, 1], [0], [0], [0]]


def test_failure_of_the_shared_passes_reaches_every_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = Recorded(2)
    for place in (pack.join("a"), pack.join("b")):
        assert place is not None
        pack.begin(place, {"trial": quick()})

    def fail(runs: dict[int, CompressionRun]) -> dict[int, Metrics | Exception]:
        raise MemoryError("no memory is left")

    monkeypatch.setattr(pack._training, "run_epoch", fail)
    with ThreadPoolExecutor(2) as threads:
        for epoch in [threads.submit(pack.epoch, place) for place in range(2)]:
            with pytest.raises(MemoryError, match="no memory is left"):
                epoch.result()


def test_trial_that_does_not_fit_is_refused_and_the_others_go_on() -> None:
    pack = Recorded(2)
    place = pack.join("a")
    other = pack.join("b")
    assert place is not None
    assert other is not None
    pack.begin(place, {"trial": quick()})
    with pytest.raises(ValueError, match="same network"):
        pack.begin(other, {"trial": quick(model="small_cnn")})
    assert pack.epoch(place)["epoch"] == 1
