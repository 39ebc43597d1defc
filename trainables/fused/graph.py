"""A training step captured as one CUDA graph, so that a step costs the host a single launch."""

import warnings
from collections.abc import Callable

import torch

WARMUP_STEPS = 3
"""Steps that are run one operator after the other before one is captured: they allocate what stays, such as momenta."""


class CapturedStep:
    """A step that is run for the first times, then captured, then replayed.

    A captured step must neither wait for the device nor depend on anything in host memory: all that changes from call
    to call lies in device memory, at places that stay. If it can't be captured, it goes on to be run.

    Source: https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs (whole-network capture).
    """

    def __init__(self, step: Callable[[], None]) -> None:
        """Take a step that changes device memory alone."""
        self._step = step
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Take a step."""
        if self._graph is None and self._calls == WARMUP_STEPS:
            self._capture()
        self._calls += 1
        if self._graph is not None:
            self._graph.replay()
        else:
            self._step()

    def _capture(self) -> None:
        """Capture a step, which does not take it."""
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads of the process, such as Ray's, may use the GPU meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._step()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            warnings.warn(f"the training step can't be captured as a CUDA graph: {reason}", stacklevel=2)
        else:
            self._graph = graph
