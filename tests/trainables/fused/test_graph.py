"""A captured step, with CUDA's part of it replaced: there is no GPU."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch

from trainables.fused.graph import WARMUP_STEPS, CapturedStep


class Stream:
    def wait_stream(self, other: "Stream") -> None:
        assert isinstance(other, Stream)


class Graph:
    """Takes the steps that run while it is captured, and replays them."""

    replays = 0
    stream: "Stream"

    def replay(self) -> None:
        self.replays += 1


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    made: list[Graph] = []

    @contextmanager
    def capture(graph: Graph, stream: Stream, **_: Any) -> Iterator[None]:
        graph.stream = stream
        yield
        made.append(graph)

    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    stream = Stream()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    return made


def test_step_is_run_then_captured_once_then_replayed(graphs: list[Graph]) -> None:
    runs: list[int] = []
    step = CapturedStep(lambda: runs.append(1))
    for _ in range(WARMUP_STEPS):
        assert not step.is_captured
        step()
    assert len(runs) == WARMUP_STEPS
    for _ in range(4):
        step()
    assert step.is_captured
    assert len(runs) == WARMUP_STEPS + 1  # while it was captured
    assert [graph.replays for graph in graphs] == [4]


def test_step_that_can_not_be_captured_goes_on_to_be_run(graphs: list[Graph]) -> None:
    runs: list[int] = []

    def run() -> None:
        if len(runs) == WARMUP_STEPS and not broken:
            broken.append(1)
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        runs.append(1)

    broken: list[int] = []
    step = CapturedStep(run)
    for _ in range(WARMUP_STEPS):
        step()
    with pytest.warns(UserWarning, match="can't be captured as a CUDA graph: operation not permitted"):
        step()
    step()
    assert len(runs) == WARMUP_STEPS + 2
    assert not step.is_captured
    assert step.failure == "operation not permitted when stream is capturing"
    assert graphs == []


def test_steps_are_run_where_capturing_is_switched_off(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CapturedStep, "enabled", False)
    runs: list[int] = []
    step = CapturedStep(lambda: runs.append(1))
    for _ in range(WARMUP_STEPS + 2):
        step()
    assert len(runs) == WARMUP_STEPS + 2
    assert graphs == []


def test_step_is_captured_in_the_current_stream_but_for_the_default_one(
    graphs: list[Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of several places of a pack are replayed at the same time, and must not share a stream's memory."""
    default, of_place = torch.cuda.default_stream(), Stream()
    for current in (default, of_place):
        monkeypatch.setattr(torch.cuda, "current_stream", lambda current=current: current)
        step = CapturedStep(lambda: None)
        for _ in range(WARMUP_STEPS + 1):
            step()
    assert graphs[0].stream not in (default, of_place)
    assert graphs[1].stream is of_place
