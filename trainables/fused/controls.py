"""Numbers that change from step to step, held in device memory for a whole phase."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.shapes import Float


class StepControls:
    """The controls of each step of a phase; `advance` takes those of the next step, and the host waits for nothing.

    Attributes:
        current: (CONTROLS,), float32: those of the current step; see `trainables.fused.layout`.
    """

    def __init__(self, rows: Sequence[Sequence[float]], device: torch.device) -> None:
        """Begin before the first step.

        Args:
            rows: the controls of every step.
            device: where to hold them.
        """
        self._rows: Float[Tensor, "steps controls"] = torch.tensor(rows, dtype=torch.float32, device=device)
        self._next = torch.zeros(1, dtype=torch.int64, device=device)
        self._taken = torch.zeros_like(self._rows[:1])
        self.current = self._taken[0]

    def begin(self, step: int) -> None:
        """Let `step`, counted from 0 over the phase, be the next one."""
        self._next.fill_(step)

    def advance(self) -> None:
        """Take the controls of the next step."""
        torch.index_select(self._rows, 0, self._next, out=self._taken)
        self._next.add_(1)
