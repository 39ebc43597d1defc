"""The registry of quantizers against the families' own descriptions."""

import pytest
import torch

from trainables.config import PenaltyForm
from trainables.families import FAMILIES
from trainables.regularizers.protocol import LayerQuantizer, ProximalRegularizer, Regularizer, WeightTransform
from trainables.regularizers.registry import QUANTIZERS, REGULARIZERS


def test_every_family_with_representatives_has_a_quantizer() -> None:
    assert set(FAMILIES) == {"none", "quantize-first"} | set(QUANTIZERS)
    assert {name for name, family in FAMILIES.items() if family.has_penalty} == set(REGULARIZERS)
    assert {name for name, family in FAMILIES.items() if family.has_representatives} == set(QUANTIZERS)


@pytest.mark.parametrize("family", sorted(QUANTIZERS))
def test_family_describes_its_quantizer_truly(family: str) -> None:
    quantizer, description = QUANTIZERS[family](torch.linspace(-1, 1, 9), 3, PenaltyForm()), FAMILIES[family]
    assert isinstance(quantizer, LayerQuantizer)
    assert isinstance(quantizer, Regularizer) == description.has_penalty
    assert isinstance(quantizer, ProximalRegularizer) == description.has_proximal_step
    assert isinstance(quantizer, WeightTransform) == (description.forward != "w")
    assert quantizer.state.requires_grad == description.trainable
