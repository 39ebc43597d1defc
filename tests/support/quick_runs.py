"""Configurations of short runs, and their parts."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainables.config import TrialConfig
from trainables.models import build_model, quantized_weights
from trainables.phases import FinetunePhase, RegularizePhase
from trainables.run import CompressionRun, Metrics


class InDouble(nn.Module):
    """A network in float64, for images in float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.double())


def comparable(metrics: Metrics) -> Metrics:
    """All metrics but the clock."""
    return {name: value for name, value in metrics.items() if name != "train_seconds"}


def rest_of(run: CompressionRun) -> list[Metrics]:
    """Metrics of the epochs to come."""
    result = []
    while not run.finished:
        result.append(comparable(run.run_epoch()))
    return result


def float_weights(run: CompressionRun) -> dict[str, Tensor]:
    """A copy of everything in the network."""
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def validation_accuracy(model: nn.Module, run: CompressionRun) -> float:
    """Counted in the plainest way."""
    split = run.validation_split
    images = (split.images.float() - split.mean[:, None, None]) / split.std[:, None, None]
    model.eval()
    with torch.no_grad():
        return float((model(images).argmax(1) == split.labels).double().mean())


def network_in_double(config: TrialConfig) -> tuple[nn.Module, dict[str, nn.Parameter]]:
    model = build_model(config.model, (1, 8, 8), 10, seed=0).double()
    return model, quantized_weights(model)


def batch_in_double() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(40, 1, 8, 8, generator=generator, dtype=torch.float64)
    return images, torch.randint(0, 10, (40,), generator=generator)


def stepped(phase: str, config: TrialConfig) -> dict[str, Tensor]:
    """Parameters after one step of a phase from the same start."""
    model, weights = network_in_double(config)
    training: Any = RegularizePhase(config, model, weights)
    if phase == "finetune":
        training = FinetunePhase(config, model, weights, training.codebooks())
    images, labels = batch_in_double()
    cross_entropy(model(images), labels).backward()
    training.step(0.0)
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
