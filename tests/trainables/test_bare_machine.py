"""A trial is trained where only torch, torchvision and numpy are installed, as on a machine with a GPU for an hour."""

import subprocess
import sys
from pathlib import Path

import numpy as np

ABSENT = (
    "constriction",
    "matplotlib",
    "moocore",
    "onnx",
    "optuna",
    "pandas",
    "pyarrow",
    "pydantic",
    "ray",
    "rich",
    "safetensors",
    "scipy",
    "sklearn",
    "typer",
    "yaml",
)
SCRIPT = f"""
import sys

for name in {ABSENT!r}:
    sys.modules[name] = None  # its import fails

from trainables.config import Recipe, TrialConfig
from trainables.run import CompressionRun

common = {{"dataset": "npz:images.npz", "model": "small_cnn", "regularize_epochs": 1, "finetune_epochs": 1}}
recipe = Recipe(recalibration_batches=1)
run = CompressionRun(TrialConfig(family="RM", num_levels=4, lam=8.0, placement="own", recipe=recipe, **common))
while not run.finished:
    metrics = run.run_epoch()
print(metrics["bits_per_weight"])
"""


def test_trial_needs_torch_and_numpy_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (count, 8, 8, 1), np.uint8) for count in (64, 16)]
    labels = [np.arange(len(part)) % 2 for part in images]
    np.savez(tmp_path / "images.npz", x_train=images[0], y_train=labels[0], x_test=images[1], y_test=labels[1])
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0
