"""Measurement of a float network's sensitivity: its validation loss with one layer quantized, for each layer and K."""

import torch
from torch.nn.functional import cross_entropy

from trainables.codebooks.assignment import assign
from trainables.codebooks.bits import FLOAT_BYTES, LayerBits
from trainables.codebooks.kmeans import kmeans
from trainables.groups import allocated_layers, layers_of_groups
from trainables.groups.allocation import Choice
from trainables.groups.sensitivity import Sensitivity
from trainables.regularizers.chunks import flat
from trainables.run import CompressionRun


def measure(run: CompressionRun) -> Sensitivity:
    """Measure the sensitivity of the float network of a trial that has not begun; the network is left as it was.

    Each layer in no group is quantized by itself, by k-means, at each K of `config.allocation`. The loss is the mean
    cross-entropy on the validation split, with statistics of batch normalization as the recipe evaluates networks.
    """
    config, model = run.config, run.model
    layers = allocated_layers(config.groups, model)
    weights = run.weights
    choices: dict[str, list[Choice]] = {}
    for name in layers:
        weight = flat(weights[name].detach())
        before = weight.clone()
        choices[name] = []
        for levels in sorted(config.allocation.num_levels):
            representatives = kmeans(before, min(levels, len(before)))
            assignment = assign(before, representatives)
            weight.copy_(representatives.index_select(0, assignment))
            counts = torch.bincount(assignment, minlength=len(representatives)).tolist()
            num_bytes = LayerBits(counts, config.recipe.coding).payload_bytes
            choices[name].append(Choice(num_levels=levels, num_bytes=num_bytes, loss=_loss(run)))
        weight.copy_(before)
    grouped = {
        name: {layer: weights[layer].numel() for layer in some}
        for name, some in layers_of_groups(config.groups, model).items()
    }
    floats = sum(tensor.numel() for tensor in model.state_dict().values() if tensor.is_floating_point())
    return Sensitivity(
        loss=_loss(run),
        choices=choices,
        grouped=grouped,
        other_bytes=FLOAT_BYTES * (floats - sum(weight.numel() for weight in weights.values())),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


@torch.no_grad()
def _loss(run: CompressionRun, batch_size: int = 1000) -> float:
    """Return the mean cross-entropy on the validation split, nats."""
    with run.evaluation_statistics():
        run.model.eval()
        losses = [
            cross_entropy(run.model(images), labels, reduction="sum").item()
            for images, labels in run.validation_split.batches(batch_size)
        ]
    return sum(losses) / len(run.validation_split)
