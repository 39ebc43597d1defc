"""The conformance kit of forward transforms: it accepts our own, and names the fault of a wrong one."""

import pytest
import torch
from torch import Tensor

from trainables.config import PenaltyForm
from trainables.conformance.kinds import check_part
from trainables.conformance.transforms import check_transform
from trainables.regularizers.registry import TRANSFORMS
from trainables.regularizers.siblings.learned_step import LearnedStep


@pytest.mark.parametrize("family", sorted(TRANSFORMS))
def test_our_transforms_keep_their_promises(family: str) -> None:
    findings = list(check_part(family))
    assert len(findings) == 8
    assert [found for found in findings if not found.passed] == []


def test_family_without_representatives_is_refused() -> None:
    with pytest.raises(ValueError, match="family must have representatives of its own to be checked, got 'none'"):
        check_part("none")


class TooFar(LearnedStep):
    def transform(self, weights: Tensor) -> Tensor:
        return 3 * super().transform(weights)


class Forgets(LearnedStep):
    def chain(self, weights: Tensor, gradient: Tensor) -> None:
        gradient.zero_()


class Saturates(LearnedStep):
    def chain(self, weights: Tensor, gradient: Tensor) -> None:
        gradient.clamp_(-1e-3, 1e-3)


class Moves(LearnedStep):
    def chain(self, weights: Tensor, gradient: Tensor) -> None:
        weights.mul_(0.99)


class KnowsPlaces(LearnedStep):
    def chain(self, weights: Tensor, gradient: Tensor) -> None:
        gradient.mul_(torch.linspace(1, 2, len(gradient)))


class Overwrites(LearnedStep):
    def chain(self, weights: Tensor, gradient: Tensor) -> None:
        super().chain(weights, gradient)
        assert self.state.grad is not None
        self.state.grad.fill_(0.7)


class Remembers(LearnedStep):
    def __init__(self, weights: Tensor, num_levels: int, form: PenaltyForm) -> None:
        super().__init__(weights, num_levels, form)
        self.noise = torch.rand(())

    def transform(self, weights: Tensor) -> Tensor:
        return super().transform(weights) * self.noise


FAULTS: dict[type[LearnedStep], tuple[str, str]] = {
    TooFar: ("values within the representatives, K = 2", "outside of"),
    Forgets: ("linear in the gradient", "no weight gets a gradient"),
    Saturates: ("linear in the gradient", "at twice the gradient, weight"),
    Moves: ("in-place contract", "must not change the weights"),
    KnowsPlaces: ("independence of place", "depends on its place in the layer"),
    Overwrites: ("gradient of the state", "must add to the gradient of the state"),
    Remembers: ("restore of the state", "the state must hold all"),
}


@pytest.mark.parametrize("wrong", FAULTS, ids=lambda kind: kind.__name__)
def test_fault_is_found_and_named(wrong: type[LearnedStep]) -> None:
    name, text = FAULTS[wrong]
    found = {finding.name: finding for finding in check_transform(wrong)}
    assert not found[name].passed
    assert text in found[name].detail
