"""RM: the distance of each weight to its nearest representative."""

import torch
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.regularizers.chunks import pieces
from trainables.regularizers.dynamic import per_weight, trainable_representatives
from trainables.regularizers.lookup import Codes
from trainables.shapes import Float


class NearestDistance:
    """A weight pays |w − r| of its nearest representative r, or (w − r)² when squared.

    The slope in w depends only on where w lies among the representatives and the midpoints between them, so one code
    a weight (`trainables.regularizers.lookup.Codes`) tells its slope and its level; a representative's gradient is that
    slope, negated, summed over its weights.

    Attributes:
        representatives: (k,), trained.

    Source: `trainables.families`, RM; squared it is the regularizer of MSQE, arXiv 1809.00095.
    """

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> None:
        self.form = form
        self.representatives = trainable_representatives(weights, num_levels, form.initial)

    def _codes(self) -> Codes:
        values = self.representatives.detach()
        breakpoints = values.new_empty(2 * len(values) - 1)
        breakpoints[::2] = values
        breakpoints[1::2] = (values[1:] + values[:-1]) / 2
        return Codes(breakpoints)

    def _by_code(self, by_side: tuple[float, float, float, float]) -> Float[Tensor, " c"]:
        """For each code: what holds below, on, and above a representative, and midway to the next."""
        values = self.representatives
        return torch.tensor(by_side, device=values.device, dtype=values.dtype).repeat(len(values))[:-1]

    def add_gradient(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float) -> None:
        strength *= per_weight(self.form, len(weights))
        codes = self._codes()
        if self.form.squared:
            pull = self._add_squared(weights, gradient, strength, codes)
        else:
            pull = self._add_absolute(weights, gradient, strength, codes)
        grad = self.representatives.grad
        assert grad is not None
        padded = torch.cat([pull, pull.new_zeros(1)])
        grad.sub_(padded.view(-1, 4).sum(1).to(grad.dtype))

    def _add_absolute(
        self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float, codes: Codes
    ) -> Float[Tensor, " c"]:
        """Adds to the weights' gradient, and returns its sum over the weights of each code."""
        slopes = self._by_code((-strength, 0.0, strength, 0.0))
        counts = torch.zeros(len(slopes), dtype=torch.int64, device=weights.device)
        for weight, grad in pieces(weights, gradient):
            code = codes.of(weight)
            grad.add_(slopes.index_select(0, code))
            counts.add_(torch.bincount(code, minlength=len(slopes)))
        return counts * slopes.double()

    def _add_squared(
        self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"], strength: float, codes: Codes
    ) -> Float[Tensor, " c"]:
        values = self.representatives.detach().repeat_interleave(4)[:-1]
        slopes = self._by_code((2 * strength, 0.0, 2 * strength, 0.0))
        pull = torch.zeros(len(slopes), dtype=torch.float64, device=weights.device)
        for weight, grad in pieces(weights, gradient):
            code = codes.of(weight)
            slope = weight.sub(values.index_select(0, code)).mul_(slopes.index_select(0, code))
            grad.add_(slope)
            pull.index_add_(0, code, slope.double())  # the two sides of a level cancel: float32 would lose digits
        return pull

    def value(self, weights: Float[Tensor, " n"]) -> float:
        codes = self._codes()
        values = self.representatives.detach().repeat_interleave(4)[:-1]
        total = 0.0
        for (weight,) in pieces(weights):
            distance = weight.sub(values.index_select(0, codes.of(weight)))
            total += (distance.square_() if self.form.squared else distance.abs_()).sum(dtype=torch.float64).item()
        return total * per_weight(self.form, len(weights))

    def progress(self, fraction: float) -> None:
        pass
