"""Networks: the built-in ones, torchvision's classifiers and users' own, and which of their weights are quantized."""

from trainables.models.meta_shapes import model_shapes
from trainables.models.parameters import WEIGHT_MATRICES, decayed_weights, quantized_weights
from trainables.models.registry import MODELS, build_model, check_model_name
from trainables.models.torchvision_models import torchvision_classifiers

__all__ = [
    "MODELS",
    "WEIGHT_MATRICES",
    "build_model",
    "check_model_name",
    "decayed_weights",
    "model_shapes",
    "quantized_weights",
    "torchvision_classifiers",
]
