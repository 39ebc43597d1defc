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

for name in ("places", "slopes", "training_kernels", "kernels", "transform_kernels", "cluster_kernels"):
    full_name = f"trainables.fused.{name}"
    spec = importlib.util.spec_from_file_location(full_name, Path(trainables.fused.__path__[0]) / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[full_name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[full_name])
    setattr(trainables.fused, name, sys.modules[full_name])
