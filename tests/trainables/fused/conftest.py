"""Without a GPU, Triton's kernels run in its interpreter, which has to be chosen before they are imported.

Triton reads the source of a kernel, so that the checks of annotations, which wrap functions, have to be left out.
"""

import importlib.util
import os
import sys
from pathlib import Path

import torch

import trainables.fused

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

NAME = "trainables.fused.kernels"
_spec = importlib.util.spec_from_file_location(NAME, Path(trainables.fused.__path__[0]) / "kernels.py")
assert _spec is not None
assert _spec.loader is not None
sys.modules[NAME] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules[NAME])
trainables.fused.kernels = sys.modules[NAME]
