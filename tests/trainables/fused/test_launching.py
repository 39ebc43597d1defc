"""Whether Triton can launch kernels; without it, a GPU trains layer by layer."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from triton.backends.nvidia.driver import CudaDriver
from triton.runtime.driver import DriverConfig

from tests.support.compile_kernels import H100
from trainables.fused import launching
from trainables.fused.phases import is_fused_by_default

GPU = torch.device("cuda")
MODULE = "triton.runtime.driver"
"""The package has an attribute of the same name."""


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> Iterator[DriverConfig]:
    """Triton's choice of a driver, not made yet."""
    config = DriverConfig()
    monkeypatch.setattr(sys.modules[MODULE], "driver", config)
    launching.why_not.cache_clear()
    yield config
    launching.why_not.cache_clear()


def test_layers_are_trained_at_once_where_triton_compiles(drivers: DriverConfig) -> None:
    drivers.set_active(H100())
    assert launching.why_not() is None
    assert is_fused_by_default(GPU)
    assert not is_fused_by_default(torch.device("cpu"))


def test_gpu_without_a_compiler_trains_layer_by_layer_and_says_why(
    drivers: DriverConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CudaDriver, "is_active", staticmethod(lambda: True))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_LIBCUDA_PATH", str(tmp_path))  # the driver's library is not missing
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.warns(UserWarning, match=r"layers are trained one by one.*Failed to find C compiler.*install Triton"):
        assert not is_fused_by_default(GPU)


def test_gpu_without_triton_trains_layer_by_layer_and_says_why(
    drivers: DriverConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)
    with pytest.warns(UserWarning, match=r"layers are trained one by one.*ModuleNotFoundError.*install Triton"):
        assert not is_fused_by_default(GPU)
