"""Data sets and batches: prepared files good and bad, partitions, proportions, and what a seed decides."""

import multiprocessing
import os
import struct
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.example_datasets import assert_holds, small_arrays
from trainables.data.augmentation import crop_flip, draw_crop_flips
from trainables.data.batches import Split, channel_moments, stratified_choice, stratified_split, train_and_validation
from trainables.data.cache import cache_folder
from trainables.data.datasets import DATASETS, check_dataset_name, load_dataset
from trainables.data.prepared import Dataset, unpacked_folder, write_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=200).map(np.array),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_stratified_split_is_a_partition_in_proportion(labels: np.ndarray, fraction: float, seed: int) -> None:
    first, second = stratified_split(labels, fraction, np.random.default_rng(seed))
    assert sorted([*first, *second]) == list(range(len(labels)))
    assert list(first) == sorted(first)
    assert list(second) == sorted(second)
    for label in np.unique(labels):
        held_out = int((labels[second] == label).sum())
        assert held_out >= 1
        assert abs(held_out - fraction * (labels == label).sum()) <= max(0.5, 1 - fraction * (labels == label).sum())


def test_stratified_split_is_decided_by_its_generator() -> None:
    labels = np.repeat(np.arange(5), 40)
    first = stratified_split(labels, 0.25, np.random.default_rng(3))
    again = stratified_split(labels, 0.25, np.random.default_rng(3))
    other = stratified_split(labels, 0.25, np.random.default_rng(4))
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def numbered_split(size: int) -> Split:
    """Images of one pixel, whose value is their number and their class."""
    numbers = torch.arange(size)
    return Split(
        pool=numbers.to(torch.uint8)[:, None, None, None], labels=numbers, mean=torch.zeros(1), std=torch.ones(1)
    )


def yielded(split: Split, batch_size: int, generator: torch.Generator | None) -> list[int]:
    """Classes in the order in which batches hold them; checks that images go along with them."""
    labels = []
    for images, classes in split.batches(batch_size, generator):
        assert len(images) <= batch_size
        assert torch.equal(images.flatten(), classes.float())
        labels += classes.tolist()
    return labels


@given(size=st.integers(1, 100), batch_size=st.integers(2, 40), seed=st.integers(0, 99))
def test_batches_cover_every_image_once(size: int, batch_size: int, seed: int) -> None:
    split = numbered_split(size)
    assert yielded(split, batch_size, None) == list(range(size))
    shuffled = yielded(split, batch_size, torch.Generator().manual_seed(seed))
    # A last batch of one image can't train batch normalization, and is left out.
    left_out = size > batch_size and size % batch_size == 1
    assert len(shuffled) == size - left_out
    assert len(set(shuffled)) == len(shuffled)
    assert set(shuffled) <= set(range(size))


def test_batches_are_shuffled_by_their_generator_alone() -> None:
    split = numbered_split(50)
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    first, second = yielded(split, 10, generator), yielded(split, 10, generator)
    torch.manual_seed(99)
    assert yielded(split, 10, torch.Generator().manual_seed(1)) == first
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first != sorted(first)


def test_batches_leave_the_stored_images_untouched() -> None:
    split = replace(numbered_split(20), mean=torch.tensor([3.0]), std=torch.tensor([2.0]))
    before = split.images.clone()
    (images, _), *_ = split.batches(20)
    assert torch.equal(images.flatten(), (torch.arange(20) - 3.0) / 2)
    assert torch.equal(split.images, before)


def test_digits_have_their_shapes(digits: Dataset) -> None:
    assert len(digits.x_train) + len(digits.x_test) == 1797
    assert abs(len(digits.x_test) / 1797 - 0.2) < 0.005
    assert digits.x_train.shape[1:] == digits.x_test.shape[1:] == (8, 8, 1)
    assert digits.x_train.dtype == digits.x_test.dtype == np.uint8
    assert digits.x_train.max() == 255
    assert digits.image_shape == (1, 8, 8)
    assert digits.num_classes == 10
    assert set(digits.y_test) == set(range(10))


def test_digits_splits_share_no_position_of_the_source(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    source = np.sort(load_digits().images.sum((1, 2)).round())
    total = np.concatenate([digits.x_train, digits.x_test]).astype(float).sum((1, 2, 3)) * 16 / 255
    np.testing.assert_allclose(np.sort(total), source, atol=2)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist"])
def test_load_dataset_says_what_is_missing_when_the_download_fails(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route\nto host")

    for module in ("cifar", "mnist"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", refuse)
    if name == "fashion_mnist":
        monkeypatch.setattr("torchvision.datasets.FashionMNIST.mirrors", [])
    message = assert_one_line(name, tmp_path / "data")
    for part in (f"{name}.npz", f"{name}/*.npy", "could not download", "network", "y_test"):
        assert part in message
    assert list((tmp_path / "data").iterdir()) == []


def assert_one_line(name: str, data_dir: Path) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        load_dataset(name, data_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_load_dataset_lists_its_choices_when_the_name_is_unknown() -> None:
    for check in (load_dataset, check_dataset_name):
        for name in ("MNIST", "npz:", ""):
            with pytest.raises(ValueError, match=rf"unknown dataset '{name}'; choose from \[.*'digits'.*'npz:<path>'"):
                check(name)
    for name in (*DATASETS, "npz:/nowhere.npz"):
        assert check_dataset_name(name) == name


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    path = tmp_path / "small.npz"
    np.savez(path, **small_arrays())
    return path


def test_prepared_file_is_mapped_read_only_and_shared(prepared: Path) -> None:
    first, second = (load_dataset(f"npz:{prepared}") for _ in range(2))
    assert_holds(first, small_arrays())
    for dataset in (first, second):
        assert isinstance(dataset.x_train, np.memmap)
        assert Path(dataset.x_train.filename or "") == unpacked_folder(prepared) / "x_train.npy"
        assert not dataset.x_train.flags.writeable
    assert [path.name for path in prepared.parent.iterdir()] == ["small.npz"]


def test_prepared_file_serves_a_named_dataset_first(prepared: Path) -> None:
    prepared.rename(prepared.with_name("cifar10.npz"))
    assert_holds(load_dataset("cifar10", prepared.parent), small_arrays())


def test_unpacked_folder_does_without_its_npz(prepared: Path) -> None:
    (prepared.parent / "small").mkdir()
    write_folder(small_arrays(), prepared.parent / "small")
    prepared.unlink()
    assert_holds(load_dataset(f"npz:{prepared}"), small_arrays())
    (prepared.parent / "small" / "y_test.npy").unlink()
    assert "y_test" in assert_one_line(f"npz:{prepared}", prepared.parent)


def test_prepared_file_is_unpacked_anew_when_it_changed(prepared: Path) -> None:
    old = load_dataset(f"npz:{prepared}")
    changed = small_arrays() | {"y_train": small_arrays()["y_train"][::-1]}
    np.savez(prepared, **changed)
    os.utime(prepared, ns=(1, 1))  # an older file than the folder is another file, too
    new = load_dataset(f"npz:{prepared}")
    assert_holds(new, changed)
    assert isinstance(new.x_train, np.memmap)
    assert_holds(old, small_arrays())


def test_folder_beside_the_file_is_ignored_while_the_file_is_there(prepared: Path) -> None:
    """Earlier versions unpacked there; now it is the user's."""
    foreign = prepared.parent / "small" / "x_train.npy"
    foreign.parent.mkdir()
    foreign.write_text("somebody's")
    dataset = load_dataset(f"npz:{prepared}")
    assert_holds(dataset, small_arrays())
    assert isinstance(dataset.x_train, np.memmap)
    assert foreign.read_text() == "somebody's"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("obstacle", ["unwritable", "file", "damaged"])
def test_prepared_file_is_read_into_memory_when_the_cache_is_no_use(
    prepared: Path, compressed: bool, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compressed:
        np.savez_compressed(prepared, **small_arrays())
    match obstacle:
        case "unwritable":
            monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
        case "file":
            monkeypatch.setenv("XDG_CACHE_HOME", str(prepared))
        case "damaged":
            load_dataset(f"npz:{prepared}")
            (unpacked_folder(prepared) / "x_train.npy").write_bytes(b"damaged")
    dataset = load_dataset(f"npz:{prepared}")
    assert_holds(dataset, small_arrays())
    assert not isinstance(dataset.x_train, np.memmap)


def load_and_sum(path: Path) -> tuple[int, bool]:
    dataset = load_dataset(f"npz:{path}")
    return int(dataset.x_train.sum()), isinstance(dataset.x_train, np.memmap)


@pytest.mark.parametrize("stale", [False, True])
def test_prepared_file_is_unpacked_whole_by_processes_at_once(tmp_path: Path, stale: bool) -> None:
    path = tmp_path / "large.npz"
    if stale:
        np.savez(path, **small_arrays())
        load_dataset(f"npz:{path}")
    arrays = small_arrays(size=256)
    np.savez(path, **arrays)
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as pool:
        results = list(pool.map(load_and_sum, [path] * 12))
    assert {total for total, _ in results} == {int(arrays["x_train"].sum())}
    assert load_and_sum(path)[1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["large.npz"]
    assert not list(unpacked_folder(path).parent.glob(".*"))


def test_prepared_images_may_lack_the_channel_axis(tmp_path: Path) -> None:
    arrays = small_arrays(channels=1)
    flat = {name: array.squeeze(-1) if name.startswith("x_") else array for name, array in arrays.items()}
    np.savez(tmp_path / "grey.npz", **flat)
    assert load_dataset(f"npz:{tmp_path}/grey.npz").image_shape == (1, 32, 32)
    assert_holds(load_dataset(f"npz:{tmp_path}/grey.npz"), arrays)


GOOD = small_arrays(size=4)


@pytest.mark.parametrize(
    ("changes", "rule", "found"),
    [
        ({"y_test": None}, "hold the arrays x_train, y_train, x_test, y_test", "no array y_test"),
        ({"x_test": np.array([object()])}, "must be readable", "pickled Python objects in x_test"),
        ({"channels": np.array([3, 3])}, "channels must be one whole number", "shape (2,)"),
        ({"channels": np.array(4)}, "x_train must have the channels=4 that it says", "(50, 4, 4, 3)"),
        ({"x_test": GOOD["x_test"].reshape(10, -1)}, "x_test must be N×H×W×C", "(10, 48)"),
        ({"x_test": GOOD["x_test"][:0], "y_test": GOOD["y_test"][:0]}, "x_test must hold images", "(0, 4, 4, 3)"),
        ({"x_test": GOOD["x_test"][:, :3]}, "must be of one shape", "(3, 4, 3)"),
        ({"y_train": GOOD["y_train"][1:]}, "x_train and y_train must be of one length", "50 and 49"),
        ({"y_train": np.eye(10)[GOOD["y_train"]]}, "y_train must be integers", "float64"),
        ({"y_train": np.eye(10, dtype=int)[GOOD["y_train"]]}, "one class an image", "(50, 10)"),
        ({"y_train": GOOD["y_train"] - 1}, "y_train must count classes from 0", "-1"),
        ({"y_train": GOOD["y_train"] * 0, "y_test": GOOD["y_test"] * 0}, "at least 2 classes", "1"),
        ({"y_train": np.r_[10, GOOD["y_train"][1:]]}, "at least 2 images of a class", "1 of class 10"),
        ({"y_test": GOOD["y_test"] + 1}, "y_test must be below 10", "10"),
    ],
)
def test_prepared_file_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], rule: str, found: str) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **{name: array for name, array in (GOOD | changes).items() if array is not None})
    message = assert_one_line(f"npz:{path}", tmp_path)
    assert message.startswith(f"{path}: ")
    assert rule in message
    assert found in message.split(", found", 1)[1]
    assert message.endswith("; prepare it with np.savez(path, x_train=…, y_train=…, x_test=…, y_test=…)")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x_train": GOOD["x_train"] / 255},
            "x_train must be uint8, found float64; convert images with values from 0 to 1: "
            "(x_train * 255).round().astype(np.uint8)",
        ),
        (
            {"x_test": GOOD["x_test"].astype(np.uint16)},
            "x_test must be uint8, found uint16; convert 16-bit images: (x_test >> 8).astype(np.uint8)",
        ),
        (
            {"x_test": GOOD["x_test"].astype(bool)},
            "x_test must be uint8, found bool; convert values from 0 to 255: x_test.astype(np.uint8)",
        ),
        (
            {"y_train": GOOD["y_train"] + 1},
            "y_train must use each class from 0 to 10, found 10 of 11 classes, and no image of class 0; renumber the ",
        ),
        (
            {"y_train": GOOD["y_train"] + (GOOD["y_train"] > 3)},
            "y_train must use each class from 0 to 10, found 10 of 11 classes, and no image of class 4; renumber the ",
        ),
        ({"y_train": GOOD["y_train"] * 2**40}, "10 of 9895604649985 classes, and no image of class 1; renumber the "),
    ],
)
def test_type_and_classes_are_refused_with_their_own_remedy(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **(GOOD | changes))
    assert message in assert_one_line(f"npz:{path}", tmp_path)


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "text", "empty", "folder", "npy", "suffix"])
def test_damaged_file_is_refused_in_one_line(prepared: Path, damage: str) -> None:
    content = prepared.read_bytes()
    flipped = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
    path = prepared
    match damage:
        case "missing":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
        case "npy":
            with path.open("wb") as file:
                np.save(file, small_arrays()["x_train"])
        case "suffix":
            path = prepared.rename(prepared.with_suffix(".zip"))
        case _:
            damaged = {"truncated": content[: len(content) // 2], "flipped": flipped, "text": b"hello", "empty": b""}
            path.write_bytes(damaged[damage])
    before = set(cache_folder().glob("prepared/*"))
    message = assert_one_line(f"npz:{path}", path.parent)
    assert message.startswith(f"{path}")
    assert not [word for word in ("BadZipFile", "zip file", "KeyError", "archive'") if word in message]
    assert not path.with_suffix("").exists()
    assert set(cache_folder().glob("prepared/*")) == before


def assert_refused_and_nothing_kept(path: Path, *parts: str) -> None:
    before = set(cache_folder().glob("prepared/*"))
    message = assert_one_line(f"npz:{path}", path.parent)
    for part in parts:
        assert part in message
    assert set(cache_folder().glob("prepared/*")) == before


@pytest.mark.parametrize("shape", [(8, 1, 28, 28), (8, 3, 32, 32), (8, 3, 4, 4), (8, 10, 10, 13), (8, 4, 4, 0)])
def test_images_whose_last_axis_is_not_channels_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "axes.npz"
    labels = np.arange(8) % 2
    np.savez(path, x_train=np.zeros(shape, np.uint8), y_train=labels, x_test=np.zeros(shape, np.uint8), y_test=labels)
    assert_refused_and_nothing_kept(path, "x_train", str(shape))


@pytest.mark.parametrize("shape", [(8, 10, 10, 13), (8, 3, 4, 4), (8, 28, 28, 2)])
def test_data_set_may_say_that_it_has_other_channels(shape: tuple[int, ...], tmp_path: Path) -> None:
    images, labels = np.zeros(shape, np.uint8), np.arange(8) % 2
    arrays: dict[str, Any] = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    arrays["channels"] = np.array(shape[-1])
    np.savez(tmp_path / "bands.npz", **arrays)
    assert load_dataset(f"npz:{tmp_path}/bands.npz").image_shape == (shape[-1], *shape[1:3])
    (tmp_path / "bands.npz").unlink()
    (tmp_path / "bands").mkdir()
    write_folder(arrays, tmp_path / "bands")
    assert load_dataset(f"npz:{tmp_path}/bands.npz").image_shape == (shape[-1], *shape[1:3])


def header(shape: str, dtype: str = "|u1") -> bytes:
    """An array in NumPy's format that has a header alone."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (header(f"({2**40}, 32, 32, 3)"), "whose shape"),
        (header(f"({2**20}, {2**20})"), "whose shape"),
        (header("(-1, 32, 32, 3)"), "shape (-1, 32, 32, 3)"),
        (header("(-4, -8)") + bytes(32), "shape (-4, -8)"),
        (header("(1, 1, 1, 1, 1, 1)") + b"1", "shape (1, 1, 1, 1, 1, 1)"),
        (header(f"({10**30},)"), "whose shape"),
        (header("(1,)", "|O") + b"cos", "pickled Python objects"),
        (header("(" * 3000 + ")" * 3000), "damaged content"),
        (header("-" * 5000 + "1"), "damaged content"),
        (header("'text'"), "damaged content"),
        (b"\x93NUMPY\x03\x00" + header("(1,)")[8:], "version (3, 0)"),
        (b"\x80\x04K\x01.", "damaged content"),
        (b"", "damaged content"),
    ],
)
def test_hostile_members_are_refused_before_anything_is_allocated(member: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.npz"
    np.savez(path, **{name: array for name, array in small_arrays().items() if name != "x_train"})
    with ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", member)
    assert_refused_and_nothing_kept(path, reason)
    path.unlink()
    (tmp_path / "hostile").mkdir()
    write_folder(small_arrays(), tmp_path / "hostile")
    (tmp_path / "hostile" / "x_train.npy").write_bytes(member)
    assert_refused_and_nothing_kept(path, reason)


def test_archive_that_unpacks_to_a_multiple_of_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    images = np.zeros((100, 1000, 1000, 1), np.uint8)
    labels = np.arange(100) % 2
    np.savez_compressed(path, x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    assert_refused_and_nothing_kept(path, "more than the")


def test_members_whose_stated_size_is_a_lie_are_refused(prepared: Path) -> None:
    content = prepared.read_bytes()
    size = np.load(prepared)["x_train"].nbytes + 128
    prepared.write_bytes(content.replace(struct.pack("<I", size), struct.pack("<I", 2**31)))
    assert prepared.read_bytes() != content
    assert_refused_and_nothing_kept(prepared)


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_devices_and_pipes_are_refused_at_once(kind: str, tmp_path: Path) -> None:
    for path in (tmp_path / "x.npz", tmp_path / "y" / "x_train.npy"):
        path.parent.mkdir(exist_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")
    for name in ("y_train", "x_test", "y_test"):
        (tmp_path / "y" / f"{name}.npy").write_bytes(b"")
    for path in (tmp_path / "x.npz", tmp_path / "y.npz"):
        assert_refused_and_nothing_kept(path, "must be a regular file")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist"])
def test_nothing_is_downloaded_or_created_when_it_must_not_be(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("downloads")

    for module in ("cifar", "mnist"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", refuse)
    with pytest.raises(ValueError, match=r"must not be downloaded, since a file names it; .*--trust-addresses"):
        load_dataset(name, tmp_path / "data", fetch=False)
    with pytest.raises(ValueError, match=r"must not be fetched, since a file names it; .*--trust-addresses"):
        load_dataset(name, "s3://bucket/data?endpoint_override=http://127.0.0.1:9", fetch=False)
    with pytest.raises(ValueError, match="must not be fetched"):
        load_dataset("npz:s3://bucket/data/x.npz", fetch=False)
    assert list(tmp_path.iterdir()) == []


def test_local_files_are_read_when_nothing_must_be_fetched(tmp_path: Path, source_files: dict[str, Any]) -> None:
    before = sorted(tmp_path.rglob("*"))
    for name, arrays in source_files.items():
        assert_holds(load_dataset(name, tmp_path, fetch=False), arrays)
    assert sorted(tmp_path.rglob("*")) == before


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), fraction=st.sampled_from([0.1, 0.25, 0.5]))
def test_validation_is_held_out_of_training_and_decided_by_the_seed(seed: int, fraction: float) -> None:
    # Each image is its own number, so that the parts can be told apart.
    numbers = np.arange(240, dtype=np.uint8)
    images, labels = numbers[:, None, None, None], np.repeat(np.arange(4), 60)
    dataset = Dataset(x_train=images, y_train=labels, x_test=images[:1], y_test=labels[:1])
    train, validation = train_and_validation(dataset, fraction, np.random.default_rng(seed), CPU)
    parts = [set(part.images.flatten().tolist()) for part in (train, validation)]
    assert parts[0] | parts[1] == set(range(240))
    assert not parts[0] & parts[1]
    assert len(validation) == round(240 * fraction)
    _, again = train_and_validation(dataset, fraction, np.random.default_rng(seed), CPU)
    _, other = train_and_validation(dataset, fraction, np.random.default_rng(seed + 1), CPU)
    assert torch.equal(validation.images, again.images)
    assert not torch.equal(validation.images, other.images)


def test_splits_are_normalized_by_training_images_alone(digits: Dataset) -> None:
    train, validation = train_and_validation(digits, 0.25, np.random.default_rng(0), CPU)
    (images, _), *_ = train.batches(len(train))
    assert images.mean().abs() < 1e-3
    assert (images.std() - 1).abs() < 1e-3
    assert torch.equal(validation.mean, train.mean)
    assert torch.equal(validation.std, train.std)
    assert train.images.shape[1:] == validation.images.shape[1:] == (1, 8, 8)


@given(images=st.integers(1, 9).map(lambda size: np.random.default_rng(size).integers(0, 256, (size, 5, 6, 3))))
def test_channel_moments_match_numpy(images: np.ndarray) -> None:
    mean, std = channel_moments(torch.from_numpy(images.astype(np.uint8)).permute(0, 3, 1, 2).split(4))
    torch.testing.assert_close(mean, torch.from_numpy(images.mean((0, 1, 2))).float(), rtol=1e-7, atol=0)
    torch.testing.assert_close(std, torch.from_numpy(images.std((0, 1, 2))).float(), rtol=1e-7, atol=0)


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=200).map(np.array),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_stratified_choice_is_exact_and_in_proportion(labels: np.ndarray, share: float, seed: int) -> None:
    size = max(1, round(share * len(labels)))
    chosen = stratified_choice(labels, size, np.random.default_rng(seed))
    assert len(set(chosen)) == len(chosen) == size
    assert list(chosen) == sorted(chosen)
    for label in np.unique(labels):
        assert abs((labels[chosen] == label).sum() - size * (labels == label).mean()) < 1
    np.testing.assert_array_equal(chosen, stratified_choice(labels, size, np.random.default_rng(seed)))


def test_subset_is_stratified_and_decided_by_the_seed(digits: Dataset) -> None:
    def images(seed: int) -> list[torch.Tensor]:
        parts = train_and_validation(digits, 0.25, np.random.default_rng(seed), CPU, subset=400)
        assert sum(len(part) for part in parts) == 400
        for part, share in zip(parts, (30, 10), strict=True):
            assert (torch.bincount(part.labels, minlength=10) - share).abs().max() <= 2
        return [part.images for part in parts]

    assert all(torch.equal(first, again) for first, again in zip(images(0), images(0), strict=True))
    assert not any(torch.equal(first, other) for first, other in zip(images(0), images(1), strict=True))


@pytest.mark.parametrize("subset", [0, 1439])
def test_subset_is_refused_when_there_are_fewer_images(digits: Dataset, subset: int) -> None:
    with pytest.raises(ValueError, match=rf"subset must be from 1 to 1438, .*, got {subset}; lower it"):
        train_and_validation(digits, 0.25, np.random.default_rng(0), CPU, subset=subset)


@pytest.mark.parametrize(("subset", "fraction"), [(5, 0.25), (10, 0.25), (20, 0.9)])
def test_splits_are_refused_when_a_class_is_left_out_of_training(digits: Dataset, subset: int, fraction: float) -> None:
    with pytest.raises(ValueError, match=r"each class must have images to train on .* raise subset"):
        train_and_validation(digits, fraction, np.random.default_rng(0), CPU, subset=subset)


def test_trials_on_a_cpu_share_the_mapped_images(digits: Dataset) -> None:
    splits = [train_and_validation(digits, 0.25, np.random.default_rng(seed), CPU, subset=400) for seed in (0, 1)]
    address = digits.x_train.__array_interface__["data"][0]
    assert {part.pool.data_ptr() for parts in splits for part in parts} == {address}


def test_whole_splits_and_batches_draw_as_they_always_did(digits: Dataset) -> None:
    rng = np.random.default_rng(5)
    train, validation = train_and_validation(digits, 0.25, rng, CPU)
    again = np.random.default_rng(5)
    for part, indices in zip((train, validation), stratified_split(digits.y_train, 0.25, again), strict=True):
        assert torch.equal(part.images.permute(0, 2, 3, 1), torch.from_numpy(digits.x_train[indices]))
        assert torch.equal(part.labels, torch.from_numpy(digits.y_train[indices]))
    assert rng.bit_generator.state == again.bit_generator.state
    drawing, reference = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    labels = torch.cat([labels for _, labels in train.batches(64, drawing)])
    assert torch.equal(labels, train.labels[torch.randperm(len(train), generator=reference)][: len(labels)])
    assert torch.equal(drawing.get_state(), reference.get_state())


def color_split() -> Split:
    """Images told apart by their one bright pixel, in the middle, whose classes are their numbers."""
    images = np.zeros((40, 12, 12, 3), np.uint8)
    images[:, 6, 6] = np.arange(1, 41)[:, None] * [1, 2, 3]
    return Split(
        pool=torch.from_numpy(images).permute(0, 3, 1, 2),
        labels=torch.arange(40),
        mean=torch.zeros(3),
        std=torch.ones(3),
    )


@pytest.mark.parametrize("augmentation", ["none", "crop_flip"])
def test_batches_are_channels_last_and_keep_labels_with_images(augmentation: str) -> None:
    split, generator = color_split(), torch.Generator().manual_seed(0)
    for images, labels in split.batches(8, generator, augmentation):
        assert images.shape == (8, 3, 12, 12)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(images.amax((2, 3)), (labels[:, None] + 1) * torch.tensor([1.0, 2.0, 3.0]))


def test_augmented_batches_are_decided_by_their_generator() -> None:
    def epoch(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([images for images, _ in color_split().batches(16, generator, "crop_flip")])

    assert torch.equal(epoch(0), epoch(0))
    assert not torch.equal(epoch(0), epoch(1))


def test_augmented_batches_draw_anew_for_every_image() -> None:
    split, drawing, reference = color_split(), torch.Generator().manual_seed(2), torch.Generator().manual_seed(2)
    augmented = torch.cat([images for images, _ in split.batches(16, drawing, "crop_flip")])
    order = torch.randperm(len(split), generator=reference)
    crop_flips = draw_crop_flips(len(split), reference)
    assert torch.equal(augmented, crop_flip(split.images[order].float(), crop_flips))


def test_augmented_batches_pad_with_the_mean() -> None:
    bright = torch.full((40, 1, 6, 6), 200, dtype=torch.uint8)
    split = Split(pool=bright, labels=torch.arange(40), mean=torch.tensor([50.0]), std=torch.tensor([10.0]))
    (images, _), *_ = split.batches(40, torch.Generator().manual_seed(0), "crop_flip")
    assert images.unique().tolist() == [0.0, 15.0]


def test_batches_in_order_share_no_gather() -> None:
    split = color_split()
    (_, labels), *_ = split.batches(16)
    assert labels.data_ptr() == split.labels.data_ptr()


def test_batches_refuse_augmentation_that_is_unknown_or_without_generator() -> None:
    with pytest.raises(ValueError, match=r"unknown augmentation 'mixup'; choose from \['crop_flip', 'none'\]"):
        next(color_split().batches(8, torch.Generator(), "mixup"))
    with pytest.raises(ValueError, match="generator must be given for augmentation 'crop_flip'"):
        next(color_split().batches(8, None, "crop_flip"))
