"""A training step captured as one CUDA graph, so that a step costs the host a single launch."""

import warnings
from collections.abc import Callable
from typing import Any

import torch

WARMUP_STEPS = 3
"""Steps that are run one operator after the other before one is captured: they allocate what stays, such as momenta."""


class CapturedStep:
    """A step that runs eagerly for `WARMUP_STEPS` calls, is then captured, and is replayed from then on.

    A captured step must neither wait for the device nor depend on anything in host memory: all that changes from call
    to call lies in device memory, at places that stay. If the capture fails, the step keeps running eagerly.

    It is captured in the stream in which it is called first, or in another one if that is the default, which can't be
    captured. Steps that are replayed at the same time must be called in different streams: libraries of CUDA have one
    piece of memory for each stream.

    Attributes:
        enabled: whether steps are captured at all.
        failure: why the step can't be captured; None if it is, or is not yet.

    Source: https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs (whole-network capture).
    """

    enabled = True

    def __init__(self, step: Callable[[], None]) -> None:
        """Take a step that changes device memory alone."""
        self._step = step
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream: Any = None  # a torch.cuda.Stream, once the step is run
        self.failure: str | None = None

    @property
    def is_captured(self) -> bool:
        """Whether the next call replays the step."""
        return self._graph is not None

    def __call__(self) -> None:
        """Take a step."""
        if not self.enabled or self.failure is not None:
            self._step()
        elif self._graph is not None:
            self._graph.replay()
        elif self._calls < WARMUP_STEPS:
            self._calls += 1
            self._warm_up()
        else:
            self._capture()
            self()

    def _warm_up(self) -> None:
        """Run the step in the stream in which it is captured later: autograd remembers streams."""
        current = torch.cuda.current_stream()
        if self._stream is None:
            self._stream = torch.cuda.Stream() if current == torch.cuda.default_stream() else current
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._step()
        current.wait_stream(self._stream)

    def _capture(self) -> None:
        """Capture the step without executing it."""
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads of the process, such as Ray's, may use the GPU meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._step()
        except RuntimeError as error:
            self.failure = str(error).splitlines()[0]
            warnings.warn(
                f"the training step can't be captured as a CUDA graph: {self.failure}; steps are launched one by one, "
                "which is slower",
                stacklevel=2,
            )
        else:
            self._graph = graph
