"""Large K: what is left out of the soft minimum is negligible, and no layer has more levels than weights."""

import pytest
import torch

from trainables.config import PenaltyForm
from trainables.regularizers.exponential import soft_minimum
from trainables.regularizers.exponential.soft_minimum import SoftMinimum, evaluate_slopes


@pytest.mark.parametrize("tau", [1e-9, 1e-6, 1e-4])
def test_slopes_near_a_weight_are_all_that_count(tau: float, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3000, generator=generator) * 0.05
    values = (torch.randn(1500, generator=generator) * 0.05).sort().values
    near = evaluate_slopes(weights, values, tau, 1.0)
    monkeypatch.setattr(soft_minimum, "uses_windows", lambda *_: False)
    for left, right in zip(near, evaluate_slopes(weights, values, tau, 1.0), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_penalty_of_many_levels_is_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    regularizer = SoftMinimum(weights, 1500, PenaltyForm())
    near = regularizer.value(weights)
    monkeypatch.setattr(soft_minimum, "uses_windows", lambda *_: False)
    assert near == pytest.approx(regularizer.value(weights), rel=1e-4)


def test_slopes_of_65536_levels_are_computed() -> None:
    """All pairs would be 2**32: minutes a step."""
    weights = torch.randn(65_536, generator=torch.Generator().manual_seed(0))
    values = weights.sort().values
    slopes, pull = evaluate_slopes(weights, values, 1e-12, 1.0)
    assert slopes.isfinite().all()
    assert pull.isfinite().all()
