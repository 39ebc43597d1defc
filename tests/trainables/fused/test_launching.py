"""Whether Triton can launch kernels; without it, a GPU trains layer by layer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainables.fused import launching
from trainables.fused.phases import is_fused_by_default

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

SCRIPT = """
from triton.backends.nvidia.driver import CudaDriver
from trainables.fused.launching import why_not

CudaDriver.is_active = staticmethod(lambda: True)
print(why_not("cpu"))
"""


def test_kernel_is_launched_to_find_out() -> None:
    assert launching.why_not(DEVICE) is None


def test_missing_compiler_is_the_reason(tmp_path: Path) -> None:
    """In a process of its own, as this one may run kernels in the interpreter."""
    environment = {name: value for name, value in os.environ.items() if name not in ("TRITON_INTERPRET", "CC")}
    environment |= {
        "PATH": "",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TRITON_CACHE_DIR": str(tmp_path),
        "TRITON_LIBCUDA_PATH": str(tmp_path),  # the library of the driver is not what is missing
    }
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert "Failed to find C compiler" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_layers_are_trained_at_once_where_kernels_can_be_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "why_not", lambda: None)
    assert is_fused_by_default(torch.device("cuda"))
    assert not is_fused_by_default(torch.device("cpu"))


def test_gpu_without_kernels_trains_layer_by_layer_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "why_not", lambda: "no compiler")
    with pytest.warns(UserWarning, match=r"layers are trained one by one.*on this GPU \(no compiler\); .* installed"):
        assert not is_fused_by_default(torch.device("cuda"))
