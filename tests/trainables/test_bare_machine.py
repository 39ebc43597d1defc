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
    splits = {
        f"{kind}_{split}": values
        for split, count in (("train", 64), ("test", 16))
        for kind, values in (
            ("x", rng.integers(0, 256, (count, 8, 8, 1), np.uint8)),
            ("y", np.arange(count) % 2),
        )
    }
    np.savez(tmp_path / "images.npz", **splits)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0
