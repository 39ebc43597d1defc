"""Data sets in a bucket: fetched once a node, and one copy in memory for all trials there."""

import gzip
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.storage.object_store import BucketFolder
from tests.support.faulty_store import FaultyStore
from trainables.data.datasets import load_dataset
from trainables.data.fetched import fetched

LOAD_AND_SHOW = """
import sys
from trainables.data.datasets import load_dataset
dataset = load_dataset("cifar10", sys.argv[1])
assert dataset.x_train.sum() > 0
print(*{tuple(line.split()[3:6]) for line in open("/proc/self/maps") if "x_train" in line})
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.fixture
def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = {"train": 400, "test": 40}
    return {f"x_{part}": rng.integers(0, 256, (size, 8, 8, 3), np.uint8) for part, size in sizes.items()} | {
        f"y_{part}": np.arange(size) % 10 for part, size in sizes.items()
    }


@pytest.fixture
def data_dir(server: FaultyStore, images: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of a folder with a prepared data set, of which this node has no copy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "prepared.npz"
    np.savez(file, **images)
    uri = server.uri("bucket/sets")
    BucketFolder.open(uri).write("cifar10.npz", file.read_bytes())
    return uri


@pytest.fixture
def uri(data_dir: str) -> str:
    """Return the URI of the file."""
    return data_dir.replace("sets?", "sets/cifar10.npz?")


def test_data_set_of_a_bucket_is_that_of_the_file(data_dir: str, uri: str, images: dict[str, np.ndarray]) -> None:
    for dataset in (load_dataset("cifar10", data_dir), load_dataset(f"npz:{uri}")):
        assert (dataset.x_train == images["x_train"]).all()
        assert (dataset.y_test == images["y_test"]).all()


def test_trials_that_begin_together_fetch_once(uri: str, server: FaultyStore, tmp_path: Path) -> None:
    def gets(trials: int) -> int:
        before = server.requests["GET"]
        with ThreadPoolExecutor(trials) as pool:
            (path,) = set(pool.map(fetched, [uri] * trials))
        assert path.is_relative_to(tmp_path / "cache" / "qar")
        path.unlink()
        return server.requests["GET"] - before

    alone = gets(1)
    assert alone > 0
    assert gets(8) == alone


def test_file_that_was_replaced_in_the_bucket_is_fetched_anew(data_dir: str, uri: str) -> None:
    first = fetched(uri)
    BucketFolder.open(data_dir).write("cifar10.npz", b"another")
    assert (fetched(uri).read_bytes(), first.exists()) == (b"another", True)


def test_fetch_follows_no_link_to_somebody_elses_file(uri: str, tmp_path: Path) -> None:
    first = fetched(uri)
    content = first.read_bytes()
    first.unlink()
    (tmp_path / "theirs").write_text("theirs")
    first.with_name(f".{first.name}.draft").symlink_to(tmp_path / "theirs")
    assert fetched(uri).read_bytes() == content
    assert (tmp_path / "theirs").read_text() == "theirs"


def test_file_whose_name_ends_as_a_compressed_one_is_fetched_as_it_is(data_dir: str) -> None:
    BucketFolder.open(data_dir).write("set.npz.gz", content := gzip.compress(b"images"))
    assert fetched(data_dir.replace("sets?", "sets/set.npz.gz?")).read_bytes() == content


def test_trials_of_a_node_map_one_file(data_dir: str) -> None:
    command = [sys.executable, "-c", LOAD_AND_SHOW, data_dir]
    trials = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    shown = [trial.stdout.readline() for trial in trials if trial.stdout]  # both run until their input ends
    for trial in trials:
        trial.communicate()
    assert shown[0] == shown[1]
    assert "x_train.npy" in shown[0]


def test_data_set_that_is_not_in_the_bucket_is_one_line(data_dir: str) -> None:
    with pytest.raises(ValueError, match=r"fashion_mnist.npz\S*: there must be this file, found none"):
        load_dataset("fashion_mnist", data_dir)
    with pytest.raises(ValueError, match="can't be fetched"):
        load_dataset("cifar10", "s3://data/x?colour=red")
