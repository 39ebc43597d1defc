"""Epochs in columns: every value comes back as it went in, and an epoch takes little memory."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.ledger.epoch_batches import append_batch, batches
from study.ledger.epochs import EpochLog, TrialEpochs
from study.ledger.paged_array import PAGE, PagedArray
from tests.support.examples import examples

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
)
METRICS = st.dictionaries(st.sampled_from("abcdef"), VALUES).map(lambda values: values | {"epoch": 1})


def logged(rows: list[dict[str, Any]]) -> EpochLog:
    log = EpochLog()
    for number, metrics in enumerate(rows):
        log.append(number, 1, metrics, seconds=float(number))
    return log


@given(st.lists(METRICS, max_size=12))
def test_metrics_come_back_as_they_were(rows: list[dict[str, Any]]) -> None:
    """Types and missing values included: 1, 1.0 and True are three values."""
    log = logged(rows)
    for row, metrics in enumerate(rows):
        assert {name: repr(value) for name, value in log.metrics(row).items()} == {
            name: repr(value) for name, value in metrics.items()
        }
        texts = {name: value for name, value in metrics.items() if isinstance(value, str)}
        assert {name: log.text(row, name) for name in "abcdefg"} == dict.fromkeys("abcdefg") | texts


@given(st.lists(METRICS, max_size=12))
def test_batches_give_the_log_back(rows: list[dict[str, Any]]) -> None:
    log = logged(rows)
    again = EpochLog(log.interned)
    for batch in batches(log):
        append_batch(again, batch)
    assert [repr(again.metrics(row)) for row in range(len(rows))] == [
        repr(log.metrics(row)) for row in range(len(rows))
    ]
    assert again.numbers == log.numbers


def test_numbers_of_a_metric_are_nan_where_there_is_none() -> None:
    log = logged([{"epoch": 1, "loss": 0.5}, {"epoch": 1}, {"epoch": 1, "loss": None}, {"epoch": 1, "loss": 2}])
    np.testing.assert_array_equal(log.numbers_of("loss"), [0.5, np.nan, np.nan, 2.0])
    np.testing.assert_array_equal(log.is_value("loss", None), [False, False, True, False])
    np.testing.assert_array_equal(log.numbers_of("unknown"), [np.nan] * 4)


def test_epoch_that_was_trained_again_supersedes_the_first() -> None:
    log = EpochLog()
    epochs = TrialEpochs(log)
    for epoch, loss in ((1, 0.9), (2, 0.8), (2, 0.7)):
        epochs.record(epoch, log.append(5, 1, {"epoch": epoch, "loss": loss}, epochs.row(epoch)))
    assert epochs == {1: {"epoch": 1, "loss": 0.9}, 2: {"epoch": 2, "loss": 0.7}}
    assert (list(log.counts), list(log.is_first)) == ([True, False, True], [True, True, False])
    with pytest.raises(KeyError):
        epochs[3]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30))
def test_rows_by_trial_are_those_that_were_recorded(steps: list[tuple[int, bool]]) -> None:
    """Each step trains the next epoch of a trial, or its latest again."""
    log = EpochLog()
    trials: dict[int, TrialEpochs] = {}
    for number, again in steps:
        epochs = trials.setdefault(number, TrialEpochs(log))
        epoch = max(1, len(epochs) + (not again))
        epochs.record(epoch, log.append(number, 1, {"epoch": epoch}, epochs.row(epoch)))
    read = {number: TrialEpochs(log) for number in trials}
    for number, rows in log.rows_by_trial():
        read[number].record_all(rows)
    assert {number: [epochs.row(epoch) for epoch in epochs] for number, epochs in read.items()} == {
        number: [epochs.row(epoch) for epoch in epochs] for number, epochs in trials.items()
    }


def test_log_that_lacks_an_epoch_of_a_trial_is_refused() -> None:
    log = logged([{"epoch": 2}])
    with pytest.raises(ValueError, match="missing"):
        list(log.rows_by_trial())


def test_pages_hold_what_an_array_holds() -> None:
    paged, plain = PagedArray("q"), np.arange(3 * PAGE + 5)
    paged.extend(plain[:7])
    for value in plain[7 : PAGE + 9]:
        paged.append(int(value))
    paged.extend(plain[PAGE + 9 :])
    assert len(paged) == len(plain)
    np.testing.assert_array_equal(paged.numpy(), plain)
    np.testing.assert_array_equal(paged.latest(PAGE + 1), plain[-PAGE - 1 :])
    np.testing.assert_array_equal(paged.numpy(1, 2), plain[PAGE : 3 * PAGE])
    assert (paged[PAGE], paged[3 * PAGE + 4]) == (PAGE, 3 * PAGE + 4)


RUNS = st.lists(st.tuples(st.sampled_from([0.0, -0.0, 1.5]), st.sampled_from([1, 7, PAGE - 1, PAGE, 2 * PAGE])))


@examples(100)
@given(
    RUNS,
    st.lists(st.tuples(st.integers(0, 2**31), st.sampled_from([0.0, 2.5]))),
    st.booleans(),
    st.lists(st.integers(0, 2**31)),
)
def test_pages_of_one_value_hold_what_an_array_holds(
    runs: list[tuple[float, int]], changes: list[tuple[int, float]], at_once: bool, wanted: list[int]
) -> None:
    plain = np.concatenate([np.full(count, value) for value, count in runs] or [np.zeros(0)])
    paged, other = PagedArray("d"), PagedArray("d")
    for value, count in runs:
        if at_once:
            paged.extend(np.full(count, value))
        else:
            for _ in range(count):
                paged.append(value)
    for where, value in changes if len(plain) else ():
        paged[where % len(plain)] = plain[where % len(plain)] = value
    other.extend(plain)
    assert paged.numpy().tobytes() == plain.tobytes()
    assert paged == other
    assert [*paged] == plain.tolist()
    for first in range(0, len(plain), PAGE):
        np.testing.assert_array_equal(paged.numpy(first // PAGE, 1), plain[first : first + PAGE])
    places = np.array(wanted if len(plain) else [], int) % max(1, len(plain))
    assert paged.take(places).tobytes() == plain[places].tobytes()


def test_places_beyond_the_end_are_refused() -> None:
    paged = PagedArray("d")
    with pytest.raises(IndexError):
        paged[0]
    paged.append(1.0)
    for place in (1, 5, PAGE):
        with pytest.raises(IndexError):
            paged[place]
        with pytest.raises(IndexError):
            paged[place] = 2.0


def test_page_of_one_value_takes_no_memory() -> None:
    tracemalloc.start()
    paged = PagedArray("d")
    paged.extend(np.zeros(100 * PAGE))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 4 * 8 * PAGE


def test_epoch_of_sixteen_metrics_takes_at_most_300_bytes() -> None:
    rows = 4 * PAGE
    tracemalloc.start()
    log, epochs = EpochLog(), TrialEpochs(EpochLog())
    for row in range(rows):
        metrics = {f"metric {place}": 1.5 * row for place in range(15)} | {"hostname": f"node-{row % 10}"}
        epochs.record(row % 20 + 1, log.append(row // 20, 1, metrics))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / rows <= 300
