"""Measurement of a network: accuracy, bits, quantization error, bit operations, and re-estimated batch statistics."""

from trainables.measurement.network import HardQuantized, accuracy, hard_quantized
from trainables.measurement.operations import macs_by_weight, weight_bops
from trainables.measurement.recalibration import recalibrate, recalibrated

__all__ = [
    "HardQuantized",
    "accuracy",
    "hard_quantized",
    "macs_by_weight",
    "recalibrate",
    "recalibrated",
    "weight_bops",
]
