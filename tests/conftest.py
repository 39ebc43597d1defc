"""Setup that all tests share: shapes checked at run time, one thread, and Hypothesis without a clock."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from jaxtyping import install_import_hook

from tests.support.requirements import FIXTURES, MISSING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tests.support.faulty_store import FaultyStore

# Sums in another order differ in their last bits, and tests that compare runs bit by bit share a small machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# In the background of a script this process ignores Ctrl-C, and under nohup the end of its terminal; so would all that
# the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Before anything imports trainables: modules that are already loaded stay unchecked.
# As for mypy, an int will do where a float is asked for (PEP 484).
install_import_hook("trainables", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

EXAMPLES = 30
"""Examples of a property that says no number of its own; `make test-all` tries the 100 that Hypothesis would."""

hypothesis.settings.register_profile("local", deadline=None, max_examples=EXAMPLES)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=EXAMPLES, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of `make chaos` and `make fuzz`; the defaults are for every run of the suite."""
    parser.addoption("--kills-alone", type=int, default=3, help="kills of a study with one trial at a time")
    parser.addoption("--kills-together", type=int, default=3, help="kills of a study with several at a time")
    parser.addoption("--kills-changed", type=int, default=3, help="kills of a study that is changed meanwhile")
    parser.addoption("--workers-killed", type=int, default=1, help="nodes killed under a study, for each head")
    parser.addoption("--heads-killed", type=int, default=1, help="heads killed, with the driver")
    parser.addoption("--nodes", type=int, default=3, help="nodes of a study of many short trials")
    parser.addoption("--node-trials", type=int, default=30, help="trials of that study, whose head is killed twice")
    parser.addoption("--fuzz-cases", type=int, default=300, help="damaged files that are read, over all kinds")
    parser.addoption("--fuzz-seed", default="0", help="of the damage")
    parser.addoption("--races", type=int, default=300, help="races of drivers for a study in a bucket")
    parser.addoption("--chaos-seed", default="0", help="of the moments of the kills")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the users of some fixtures, and sort: quick tests, studies on a real Ray, studies that are killed.

    Several workers begin with the studies on a real Ray, so that none is left to wait for them at the end.
    """
    for item in items:
        for fixture in FIXTURES.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(FIXTURES[fixture])
    studies_first = "PYTEST_XDIST_WORKER" in os.environ
    items.sort(key=lambda item: ["chaos" in item.keywords, ("e2e" in item.keywords) != studies_first])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test where the machine lacks what a marker of it names."""
    for marker, missing in MISSING.items():
        if item.get_closest_marker(marker) and (what := missing()):
            pytest.skip(f"needs {what}")


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what is unpacked, fetched and remembered out of the user's folders, except Matplotlib's list of fonts."""
    fonts = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.environ.setdefault("MPLCONFIGDIR", os.path.join(fonts, "matplotlib"))
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def no_ray_is_left() -> Iterator[None]:
    """Fail a test that leaves this process connected to Ray: the next test would connect to nothing of its own."""
    yield
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()
        pytest.fail("the test leaves Ray connected; end it with ray.shutdown()")


@pytest.fixture(scope="module")
def server() -> Iterator["FaultyStore"]:
    """A real S3 server with an empty bucket, `bucket`, that fails when it is told to."""
    from tests.support.faulty_store import ENVIRONMENT, faulty_store  # moto takes a second to import

    with faulty_store("bucket") as store, pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield store


@pytest.fixture
def quick_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the data set `few_digits`, 24 training images a digit, and the network `tiny_cnn`."""
    import numpy as np
    from torch import nn

    from trainables.data.datasets import DATASETS, load_dataset
    from trainables.data.prepared import Dataset
    from trainables.models import MODELS

    def tiny_cnn(image_shape: tuple[int, int, int], num_classes: int, width: float) -> nn.Module:
        convolution = nn.Conv2d(image_shape[0], 16, 3, padding=1, bias=False)
        linear = nn.Linear(16 * (image_shape[1] // 2) * (image_shape[2] // 2), num_classes)
        return nn.Sequential(convolution, nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), linear)

    digits = load_dataset("digits")
    chosen = np.concatenate([np.flatnonzero(digits.y_train == label)[:24] for label in range(10)])
    few = Dataset(
        x_train=digits.x_train[chosen], y_train=digits.y_train[chosen], x_test=digits.x_test, y_test=digits.y_test
    )
    monkeypatch.setitem(DATASETS, "few_digits", lambda *_: few)
    monkeypatch.setitem(MODELS, "tiny_cnn", tiny_cnn)


@pytest.fixture
def ax() -> Iterator["Axes"]:
    """Empty axes of a figure of their own; settings of matplotlib that a test changes are restored."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        yield Figure(layout="constrained").add_subplot()


@pytest.fixture
def source_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Files as torchvision downloads them, in the test's folder: the arrays that each data set must hold, by name."""
    from tests.support.example_datasets import write_sources

    return write_sources(tmp_path, monkeypatch)
