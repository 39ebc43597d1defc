"""Colours as readers with a colour-vision deficiency see them, and in grey."""

import numpy as np

SIMULATIONS = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "grey": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}
"""Matrices on linear RGB. Deficiencies: Machado, Oliveira and Fernandes, "A physiologically-based model for simulation
of color vision deficiency" (IEEE TVCG 2009), severity 1; grey: luminance of sRGB (IEC 61966-2-1)."""


def simulate(rgb: np.ndarray, vision: str) -> np.ndarray:
    """Return sRGB colours, (..., 3) in [0, 1], as they are seen with a key of `SIMULATIONS`."""
    return _encoded(np.clip(_linear(rgb) @ SIMULATIONS[vision].T, 0.0, 1.0))


def lab(rgb: np.ndarray) -> np.ndarray:
    """Return sRGB colours, (..., 3) in [0, 1], in CIELAB under D65, where distances are differences that are seen."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.moveaxis(_linear(rgb) @ to_xyz.T / [0.9505, 1.0, 1.089], -1, 0)
    x, y, z = (np.where(v > 216 / 24389, np.cbrt(v), (24389 / 27 * v + 16) / 116) for v in (x, y, z))
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _encoded(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
