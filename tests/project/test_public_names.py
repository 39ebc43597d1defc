"""Each package names its public objects, and each name is there."""

import subprocess
import sys
from importlib import import_module

import pytest

PACKAGES = [
    *("study", "study.cluster", "study.config", "study.doctor", "study.ledger", "study.notebook", "study.records"),
    *("study.run", "study.search", "study.sources", "study.storage", "study.trackers"),
    *("analysis.plots", "analysis.report", "analysis.statistics"),
    *("trainables", "trainables.codebooks", "trainables.config", "trainables.data", "trainables.files"),
    *("trainables.formats", "trainables.measurement", "trainables.models", "trainables.phases"),
    "trainables.regularizers",
]


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_exist(package: str) -> None:
    module = import_module(package)
    assert module.__all__
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = module.no_such_name


@pytest.mark.parametrize(("package", "heavy"), [("trainables", "torch"), ("analysis.statistics", "pandas")])
def test_packages_import_nothing_heavy_by_themselves(package: str, heavy: str) -> None:
    code = f"import sys, {package}; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_interface_for_notebooks_is_imported_quickly() -> None:
    """Neither `import study` nor its functions import Ray, which runs in the process of a driver alone."""
    heavy = ("ray", "torch", "pandas", "numpy", "optuna", "pydantic")
    code = f"import sys, study; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    code = "import sys, study; study.launch, study.Study; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
