"""The soft minimum of RE for all layers of a small network at once, on a CPU."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainables.codebooks.assignment import assign
from trainables.fused.flat_search import LevelBins
from trainables.regularizers.application import moved_no_farther
from trainables.regularizers.chunks import flat
from trainables.regularizers.exponential.soft_minimum import SoftMinimum, evaluate_slopes
from trainables.regularizers.reduction import reduction_divisor
from trainables.shapes import Float, Int

NEGLIGIBLE = 14.0
"""Representatives whose shares of a weight are together below exp(−14) = 1e-6 are left out."""

BINS_A_LEVEL = 32
"""Bins per level: the narrower a bin, the closer two representatives may be for the formula of an interval to hold."""


class _Tables(NamedTuple):
    """Numbers that the formula needs, by layer, interval and bin.

    Attributes:
        tau: (layers,), the temperatures.
        crowded: (bins of all layers,), bool, whether weights of a bin may feel a third representative; None if none do.
        near: (bins of all layers,), the level of r, the nearest one to the middle of each bin.
        other: (bins of all layers,), the level of r′, the other end of the interval.
        by_bin: (3, bins of all layers), float32: r, g = r′ − r and 2g/τ of each bin.
    """

    tau: np.ndarray
    crowded: np.ndarray | None
    near: np.ndarray
    other: np.ndarray
    by_bin: np.ndarray


class FlatSoftMinimum:
    """The penalties of all layers, which draw the weights by a few operators over one flat buffer.

    A weight w between two neighbours, r and the other one r′, with g = r′ − r of either sign and v = w − r, has the
    slope 2(v − g p) with p = σ(2g (v − g/2)/τ), the share of r′, if all other representatives are negligible. Those
    beyond r are at least d away from it, with d the gap there, and have shares of at most exp(−d²/τ) of the nearest
    one's: for those below r ≤ w, (w − r_i)² − (w − r)² = (r − r_i)(2w − r_i − r) ≥ (r − r_i)². So all K of them
    together have at most exp(−`NEGLIGIBLE`) where d² ≥ (`NEGLIGIBLE` + log K) τ.

    A weight takes the interval that the lower end of its bin is in. It may lie above that by up to the width h of a
    bin; with d the gap there, the next representatives are as negligible where d (d − 2h) ≥ (`NEGLIGIBLE` + log K) τ.
    Weights with a narrower gap beside their interval are evaluated one by one.

    Source: `trainables.families`, RE.
    """

    def __init__(self, regularizers: Sequence[SoftMinimum], weights: Sequence[Float[Tensor, " ..."]]) -> None:
        """Make the penalties of layers with K ≥ 2 when the phase begins.

        Args:
            regularizers: one for each layer.
            weights: of each layer, dense, in any shape.
        """
        self._regularizers = list(regularizers)
        self._weights = [flat(weight.detach()) for weight in weights]
        self._sizes = [len(weight) for weight in self._weights]
        self._levels = [len(one.representatives) for one in regularizers]
        self._bins = LevelBins(self._sizes, self._levels, BINS_A_LEVEL)
        self._is_gap = np.append(self._bins.layer[1:] == self._bins.layer[:-1], False)
        self._middles = np.arange(self._bins.count, dtype=np.float32) + np.float32(0.5)
        form = regularizers[0].form
        self._factors = [1 / reduction_divisor(form, size) for size in self._sizes]
        self._factor_of_level = -2 * np.array(self._factors)[self._bins.layer]
        self._negligible = np.array([NEGLIGIBLE + math.log(count) for count in self._levels], dtype=np.float32)
        self._num_gaps = np.array(self._levels, dtype=np.float32) - 1
        # Memory that is kept need not be cleared by the system in each step.
        self._buffers = torch.empty((4, sum(self._sizes)))
        self._summands = torch.empty((2, sum(self._sizes)), dtype=torch.float64)
        self._sums = torch.empty((2, self._bins.count * len(self._sizes)), dtype=torch.float64)

    def progress(self, fraction: float, values: Float[Tensor, " levels"]) -> None:
        """Set the temperatures after a share of the phase, by the spacings of the representatives."""
        own = values.numpy()
        spacings = (own[self._bins.last] - own[self._bins.first]) / self._num_gaps
        for one, spacing in zip(self._regularizers, spacings.tolist(), strict=True):
            one.anneal(fraction, spacing or 1.0)

    def draw(self, distances: Sequence[float], values: Float[Tensor, " levels"]) -> Float[Tensor, " levels"]:
        """Move each weight by its layer's distance times the penalty's slope, never past its nearest representative.

        Args:
            distances: how far a weight at slope 1 moves, of each layer.
            values: (levels,), the representatives of all layers.

        Returns:
            The gradient of the representatives, (levels,), float64, not multiplied by λ.
        """
        slope, pull, crowded = self._half_slopes(values)
        parts = slope.split(self._sizes)
        shares = [2 * factor * distance for factor, distance in zip(self._factors, distances, strict=True)]
        # Between two representatives that count alone, a step of the share 1 or less stops at the nearest one.
        careful = crowded | {layer: torch.arange(self._sizes[layer]) for layer, share in enumerate(shares) if share > 1}
        stopped = {}
        for layer, chosen in careful.items():
            own, before = values.split(self._levels)[layer], self._weights[layer].index_select(0, chosen)
            nearest = own.index_select(0, assign(before, own))
            move = parts[layer].index_select(0, chosen).mul_(shares[layer])
            stopped[layer] = moved_no_farther(before, nearest, move)
        if min(shares) == max(shares):
            torch._foreach_add_(self._weights, list(parts), alpha=-shares[0])
        else:
            for weight, part, share in zip(self._weights, parts, shares, strict=True):
                weight.add_(part, alpha=-share)
        for layer, after in stopped.items():
            self._weights[layer].index_copy_(0, careful[layer], after)
        return pull

    def gradient(
        self, strengths: Sequence[float], values: Float[Tensor, " levels"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " levels"]]:
        """Return the gradients of the weights, multiplied by each layer's strength, and of the representatives.

        Args:
            strengths: of each layer.
            values: (levels,), the representatives of all layers.

        Returns:
            For the weights of all layers one after the other, (n,); overwritten by the next call. For the
            representatives, (levels,), float64, not multiplied by the strengths.
        """
        slope, pull, _ = self._half_slopes(values)
        for part, factor, strength in zip(slope.split(self._sizes), self._factors, strengths, strict=True):
            part.mul_(2 * factor * strength)
        return slope, pull

    def _half_slopes(
        self, values: Float[Tensor, " levels"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " levels"], dict[int, Int[Tensor, " m"]]]:
        """Return half the slopes of the weights, the gradient of the representatives, and who is crowded.

        Returns:
            (n,), overwritten by the next call; (levels,), float64; by layer, the indices of its weights in crowded
            intervals, where there are any.
        """
        offset, gap, share, slope = self._buffers
        tables = self._tables(values.numpy())
        by_bin = torch.from_numpy(tables.by_bin)
        place = self._bins.find(self._weights)
        torch.index_select(by_bin[0], 0, place, out=gap)
        for weight, near, away in zip(self._weights, gap.split(self._sizes), offset.split(self._sizes), strict=True):
            torch.sub(weight, near, out=away)
        torch.index_select(by_bin[1], 0, place, out=gap)
        torch.add(offset, gap, alpha=-0.5, out=share)
        share.mul_(torch.index_select(by_bin[2], 0, place, out=slope)).sigmoid_()
        torch.addcmul(offset, gap, share, value=-1, out=slope)
        # The parts of the slope that r and r′ cause, in place of the offset and the gap.
        offset.addcmul_(offset, share, value=-1)
        torch.sub(slope, offset, out=gap)
        pull = np.zeros(len(values))
        crowded = self._crowded(tables.crowded, place)
        for layer, chosen in crowded.items():
            own, tau = values.split(self._levels)[layer], float(tables.tau[layer])
            slopes, by_level = evaluate_slopes(self._weights[layer].index_select(0, chosen), own, tau, 0.5)
            slope.split(self._sizes)[layer].index_copy_(0, chosen, slopes)
            pull[self._bins.first[layer] : self._bins.last[layer] + 1] += by_level.numpy()
            for part in (offset, gap):
                part.split(self._sizes)[layer].index_fill_(0, chosen, 0.0)
        self._sums.zero_().scatter_add_(1, place.expand(2, -1), self._summands.copy_(self._buffers[:2]))
        for level, sums in zip((tables.near, tables.other), self._sums.numpy(), strict=True):
            pull += np.bincount(level, sums, minlength=len(pull))
        return slope, torch.from_numpy(pull * self._factor_of_level), crowded

    def _tables(self, values: np.ndarray) -> _Tables:
        """Return the tables for representatives, (levels,), and the current temperatures."""
        bins = self._bins
        lower = bins.intervals(bins.divide(values))
        tau = np.array([one.tau for one in self._regularizers], dtype=np.float32)
        gaps = np.zeros_like(values)
        np.subtract(values[1:], values[:-1], out=gaps[:-1])
        narrow = (gaps * (gaps - 2 * bins.width[bins.layer]) < (self._negligible * tau)[bins.layer]) & self._is_gap
        crowded = None
        if narrow.any():
            beside = np.zeros_like(narrow)
            beside[1:] |= narrow[:-1]
            beside[:-1] |= narrow[1:]
            crowded = (beside & self._is_gap)[lower]
        middles = values[bins.first][:, None] + self._middles * bins.width[:, None]
        is_upper = middles.reshape(-1) > (values + 0.5 * gaps)[lower]
        near, other = lower + is_upper, lower + ~is_upper
        by_bin = np.empty((3, len(lower)), dtype=np.float32)
        values.take(near, out=by_bin[0])
        np.subtract(values[other], by_bin[0], out=by_bin[1])
        np.divide(by_bin[1].reshape(len(tau), -1), 0.5 * tau[:, None], out=by_bin[2].reshape(len(tau), -1))
        return _Tables(tau, crowded, near, other, by_bin)

    def _crowded(self, by_bin: np.ndarray | None, place: Int[Tensor, " n"]) -> dict[int, Int[Tensor, " m"]]:
        """Return the indices of weights in crowded bins, by layer, where there are any."""
        if by_bin is None:
            return {}
        crowded = torch.from_numpy(by_bin)
        chosen = {
            layer: crowded.index_select(0, place.split(self._sizes)[layer]).nonzero().squeeze(1)
            for layer in np.flatnonzero(by_bin.reshape(len(self._sizes), -1).any(axis=1)).tolist()
        }
        return {layer: indices for layer, indices in chosen.items() if len(indices)}
