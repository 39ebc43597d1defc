"""DKM: the forward pass uses soft assignments of weights to centroids, which soft k-means finds."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.codebooks.kmeans import kmeans
from trainables.config import PenaltyForm
from trainables.regularizers.chunks import CPU_CHUNK
from trainables.regularizers.representatives import mean_spacing
from trainables.shapes import Float

MOST_ITERATIONS = 5
"""Iterations of soft k-means in one forward pass, at most."""
CONVERGED = 1e-4
"""Largest move of a centroid, in mean spacings, at which the iterations end."""
GPU_CHUNK = 1 << 24
"""Attentions that are computed at a time on devices other than a CPU."""


class _Iteration(NamedTuple):
    """One iteration of soft k-means.

    Attributes:
        centroids: (K,), from which attention is computed.
        totals: (K,), the sum of attention to each centroid.
        means: (K,), the centroids after the iteration.
    """

    centroids: Tensor
    totals: Tensor
    means: Tensor


class SoftClusters:
    """The forward pass uses Σ_j a_j c_j for a weight w, with attention a_j = softmax_j(−|w − c_j|/τ).

    Soft k-means starts from the centroids of the previous forward pass. In each iteration, a centroid moves to the mean
    of the weights, weighted by their attention to it. Iterations end when no centroid moves by more than `CONVERGED`,
    at the latest after `MOST_ITERATIONS`. Attention is that to the centroids before the last iteration; the factors c_j
    in the sum are the centroids after it. The gradient goes through all iterations. Its closed form keeps only the
    centroids and totals of each iteration, and computes attention again in chunks of the weights: O(n) memory, and
    O(n K) time an iteration.

    Attributes:
        state: (K,), the centroids; begun by k-means.
        spacing: mean distance of the centroids when the phase begins, the unit of τ.

    Source: Cho et al., "DKM: Differentiable K-Means Clustering Layer for Neural Network Compression", arXiv
    2108.12659, Sec. 3. τ in spacings of the centroids is this project's choice.
    """

    def __init__(self, weights: Float[Tensor, " n"], num_levels: int, form: PenaltyForm) -> None:
        """Begin with the centroids of k-means of a layer's weights, (n,); τ is `form.temperature` mean spacings."""
        self._form = form
        self.state = kmeans(weights, num_levels)
        self.spacing = mean_spacing(self.state)
        self._iterations: list[_Iteration] = []
        self.progress(0.0)

    @property
    def representatives(self) -> Float[Tensor, " k"]:
        """The centroids, (K,); see `LayerQuantizer.representatives`."""
        return self.state

    def progress(self, fraction: float) -> None:
        """Set the temperature τ, in units of the weights; see `LayerQuantizer.progress`."""
        self.tau = self._form.temperature_at(fraction) * self.spacing

    def transform(self, weights: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Move the centroids, and return the soft-clustered weights; see `WeightTransform.transform`."""
        self._iterations = []
        centroids = self.state
        for _ in range(MOST_ITERATIONS):
            self._iterations.append(self._iterate(weights, centroids))
            centroids, before = self._iterations[-1].means, centroids
            if (centroids - before).abs().max().item() <= CONVERGED * self.spacing:
                break
        self.state = centroids.sort().values
        clustered = torch.empty_like(weights)
        for weight, result in self._rows(weights, clustered):
            torch.mv(self._attention(weight, before), centroids, out=result)
        return clustered

    def chain(self, weights: Float[Tensor, " n"], gradient: Float[Tensor, " n"]) -> None:
        """Pass the gradient through the clustering and its iterations; see `WeightTransform.chain`."""
        last = self._iterations[-1]
        by_means, by_centroids = torch.zeros_like(last.means), torch.zeros_like(last.means)
        for weight, grad in self._rows(weights, gradient):
            attention = self._attention(weight, last.centroids)
            by_means.add_(grad @ attention)
            by_attention = grad[:, None] * last.means
            grad.zero_()
            by_centroids.add_(self._pass_attention(weight, grad, last.centroids, attention, by_attention))
        for iteration in reversed(self._iterations):
            self._pass_iteration(weights, gradient, iteration, by_means, by_centroids)
            by_means, by_centroids = by_centroids, torch.zeros_like(by_centroids)

    def _rows(self, *tensors: Float[Tensor, " n"]) -> Iterator[tuple[Tensor, ...]]:
        """Iterate over chunks of flat tensors in step, of a size whose attention to all centroids can be held."""
        size = CPU_CHUNK if tensors[0].device.type == "cpu" else GPU_CHUNK
        return zip(*(tensor.split(max(1, size // len(self.state))) for tensor in tensors), strict=True)

    def _attention(self, weights: Float[Tensor, " m"], centroids: Float[Tensor, " k"]) -> Float[Tensor, "m k"]:
        return (weights[:, None] - centroids).abs_().div_(-self.tau).softmax(1)

    def _iterate(self, weights: Float[Tensor, " n"], centroids: Float[Tensor, " k"]) -> _Iteration:
        sums = torch.zeros(len(centroids), dtype=torch.float64, device=weights.device)
        totals = torch.zeros_like(sums)
        for (weight,) in self._rows(weights):
            attention = self._attention(weight, centroids)
            sums.add_(weight @ attention)
            totals.add_(attention.sum(0))
        means = torch.where(totals > 0, sums / totals, centroids.double())  # without attention, a centroid stays
        return _Iteration(centroids, totals.to(weights.dtype), means.to(weights.dtype))

    def _pass_iteration(
        self,
        weights: Float[Tensor, " n"],
        gradient: Float[Tensor, " n"],
        iteration: _Iteration,
        by_means: Float[Tensor, " k"],
        by_centroids: Float[Tensor, " k"],
    ) -> None:
        """Add to the gradients of the weights and of the centroids what comes from the means of an iteration."""
        centroids, totals, means = iteration
        by_sum = torch.where(totals > 0, by_means / totals, 0.0)
        for weight, grad in self._rows(weights, gradient):
            attention = self._attention(weight, centroids)
            grad.add_(attention @ by_sum)
            by_attention = (weight[:, None] - means).mul_(by_sum)
            by_centroids.add_(self._pass_attention(weight, grad, centroids, attention, by_attention))

    def _pass_attention(
        self,
        weights: Float[Tensor, " m"],
        gradient: Float[Tensor, " m"],
        centroids: Float[Tensor, " k"],
        attention: Float[Tensor, "m k"],
        by_attention: Float[Tensor, "m k"],
    ) -> Float[Tensor, " k"]:
        """Add to the gradient of the weights what comes from their attention; return that of the centroids."""
        mean = (attention * by_attention).sum(1, keepdim=True)
        by_distance = by_attention.sub_(mean).mul_(attention).div_(-self.tau)
        by_offset = by_distance.mul_((weights[:, None] - centroids).sign_())
        gradient.add_(by_offset.sum(1))
        return -by_offset.sum(0)
