"""Representatives of all layers, trained at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.fused.layout import Layout
from trainables.shapes import Float

ROWS = 64
"""Chunks whose partial sums are added at once."""

BLOCK = 64
"""Levels that a program handles at once."""


class FusedRepresentatives:
    """Representatives of all layers in one tensor, with what Adam needs to train them.

    Attributes:
        layout: where each layer's lie.
        state: (3, levels), float32: what is trained, and Adam's first and second moments.
        gradient: (levels,), float32: of the last step.
        counts: (levels,), int32: weights nearest to each level, where the penalty depends on them; 0 between steps.
        starts: (levels,), float32: where the cell of each level begins, where that depends on the counts.
        costs: (levels,), float64: memory for what each level costs a weight.
        partial: (chunks, columns), float64: sums over the weights of each chunk, by level or of a grid's step.
        steps: (layers,), float32: steps of Adam so far.
        arrived: (layers,), int32: programs of a launch that have done their part; 0 between launches.
    """

    def __init__(
        self, layout: Layout, trained: Sequence[Tensor], sums: bool = True, columns: int | None = None
    ) -> None:
        """Begin with what is trained of each layer: its representatives, (K,).

        Args:
            layout: of the layers.
            trained: one tensor for each layer.
            sums: whether there are sums over the weights to be added up.
            columns: sums of each chunk; one for each level if None.
        """
        device = layout.chunks.device
        self.layout = layout
        self._lengths = [len(one) for one in trained]
        values = torch.cat([one.detach() for one in trained]).to(device, torch.float32)
        self.state = torch.stack([values, torch.zeros_like(values), torch.zeros_like(values)])
        self._moved = self.state.clone()
        self.gradient = torch.zeros_like(values)
        self.arrived = torch.zeros(len(layout.num_levels), dtype=torch.int32, device=device)
        self.steps = torch.zeros(len(layout.num_levels), device=device)
        rows = len(layout.chunks) if sums else 1
        columns = columns or max(layout.num_levels)
        self.partial = torch.zeros((rows, columns), dtype=torch.float64, device=device)
        self.counts = torch.zeros(sum(layout.num_levels), dtype=torch.int32, device=device)
        self.starts = torch.zeros(sum(layout.num_levels), device=device)
        self.costs = torch.zeros(sum(layout.num_levels), dtype=torch.float64, device=device)

    @property
    def values(self) -> Float[Tensor, " levels"]:
        """Representatives of all layers."""
        return self.state[0]

    def by_layer(self, row: Tensor) -> list[Tensor]:
        """Return views of a row of `state`, or of the gradient, one for each layer."""
        return list(row.split(self._lengths))

    def adopt(self, optimizer: torch.optim.Optimizer) -> None:
        """Copy an Adam's parameters, one a layer, and their moments into `state`, and make them views of it.

        Checkpoints of the optimizer are then the same as where layers are trained one by one.
        """
        tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
        rows = [self.by_layer(row) for row in (*self.state, self.gradient)]
        for tensor, steps, value, mean, square, gradient in zip(tensors, self.steps, *rows, strict=True):
            saved = optimizer.state.get(tensor) or {}
            value.copy_(tensor.detach())
            tensor.data, tensor.grad = value, gradient
            if saved:
                mean.copy_(saved["exp_avg"])
                square.copy_(saved["exp_avg_sq"])
                steps.copy_(saved["step"])
            optimizer.state[tensor] = {"step": steps, "exp_avg": mean, "exp_avg_sq": square}

    @property
    def training(self) -> tuple[Tensor, ...]:
        """Tensors that the kernels need to train the representatives, beside the tables of `layout`.

        They are: programs of each layer that have stored their sums, steps, state, memory for the state after a step,
        gradient, counts, and for grids the multiples and the representatives.
        """
        return self.arrived, self.steps, self.state, self._moved, self.gradient, self.counts, self.values, self.values


class FusedGrids(FusedRepresentatives):
    """Grids of all layers, each trained by its step; `state` and `gradient` have one column for each layer.

    Attributes:
        multiples: (levels,), float32: representatives of all layers as multiples of their step.
    """

    def __init__(
        self, layout: Layout, trained: Sequence[Tensor], multiples: Sequence[Tensor], columns: int | None = None
    ) -> None:
        """Take the step of each grid, (1,), and its representatives as multiples of the step, (K,).

        Args:
            layout: of the layers.
            trained: the step of each layer.
            multiples: of each layer.
            columns: sums of each chunk; one for each level if None.
        """
        super().__init__(layout, trained, columns=columns)
        self.multiples = torch.cat(list(multiples)).to(self.state)
        self._values = torch.empty_like(self.multiples)
        layers = [layer for layer, count in enumerate(layout.num_levels) for _ in range(count)]
        self._layer = torch.tensor(layers, device=self.state.device)
        self._place()

    def _place(self) -> None:
        torch.mul(self.multiples, self.state[0].abs()[self._layer], out=self._values)

    @property
    def values(self) -> Float[Tensor, " levels"]:
        """Representatives of all layers."""
        return self._values

    def adopt(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the steps and moments be views of these; see `FusedRepresentatives.adopt`."""
        super().adopt(optimizer)
        self._place()

    @property
    def training(self) -> tuple[Tensor, ...]:
        """Tensors that the kernels need for training; see `FusedRepresentatives.training`."""
        return *super().training[:-2], self.multiples, self._values
