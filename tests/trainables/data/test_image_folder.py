"""Trees of images, decoded once per node."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data.datasets import DatasetError, check_dataset_name, load_dataset


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tree(root: Path, parts: dict[str, int], mode: str = "RGB", size: tuple[int, int] = (6, 4), seed: int = 0) -> Path:
    """A tree with classes cat and dog; `parts` holds images of each class by folder, "" for the root."""
    rng = np.random.default_rng(seed)
    for part, count in parts.items():
        for name in ("cat", "dog"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for place in range(count):
                shape = (*size[::-1], 3) if mode == "RGB" else size[::-1]
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{place}.png")
    return root


@pytest.mark.parametrize("test_folder", ["test", "val", "validation"])
def test_trees_with_two_splits(tmp_path: Path, test_folder: str) -> None:
    root = tree(tmp_path / "pets", {"train": 3, test_folder: 2})
    dataset = load_dataset(f"folder:{root}")
    assert dataset.x_train.shape == (6, 4, 6, 3)
    assert dataset.x_test.shape == (4, 4, 6, 3)
    assert dataset.image_shape == (3, 4, 6)
    assert dataset.y_train.tolist() == [0, 0, 0, 1, 1, 1]
    for label, name in enumerate(("cat", "dog")):
        for place in range(3):
            expected = np.asarray(Image.open(root / "train" / name / f"{place}.png"))
            assert np.array_equal(dataset.x_train[3 * label + place], expected)


def test_images_are_mapped_and_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "pets", {"train": 3, "test": 2})
    first = load_dataset(f"folder:{root}")
    monkeypatch.setattr(Image, "open", None)
    second = load_dataset(f"folder:{root}")
    assert isinstance(second.x_train, np.memmap)
    assert np.array_equal(first.x_train, second.x_train)


def test_changed_tree_is_decoded_anew(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"train": 3, "test": 2})
    before = load_dataset(f"folder:{root}")
    Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(root / "train" / "cat" / "9.png")
    assert len(load_dataset(f"folder:{root}").x_train) == len(before.x_train) + 1


def test_tree_without_splits_gets_a_fixed_test_split(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"": 10}, mode="L")
    dataset = load_dataset(f"folder:{root}")
    assert dataset.image_shape == (1, 4, 6)
    assert np.bincount(dataset.y_train).tolist() == [8, 8]
    assert np.bincount(dataset.y_test).tolist() == [2, 2]


def test_images_are_cropped_to_the_aspect_ratio_and_resized(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"train": 2, "test": 1})
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 200  # the middle third is what a square keeps
    Image.fromarray(wide).save(root / "train" / "cat" / "0.png")
    square = load_dataset(f"folder:{root}?size=5")
    assert square.image_shape == (3, 5, 5)
    assert (abs(square.x_train[0].astype(int) - 200) <= 20).all()
    assert load_dataset(f"folder:{root}?size=4x8").image_shape == (3, 4, 8)


def test_gray_images_among_coloured_ones_become_coloured(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"train": 2, "test": 1})
    Image.fromarray(np.full((4, 6), 7, dtype=np.uint8)).save(root / "train" / "cat" / "0.png")
    assert (load_dataset(f"folder:{root}").x_train[0] == 7).all()


def test_faults_of_trees_are_told_in_one_line(tmp_path: Path, cache: Path) -> None:
    def refusal(root: Path, options: str = "") -> str:
        with pytest.raises(DatasetError) as caught:
            load_dataset(f"folder:{root}{options}")
        assert "\n" not in str(caught.value)
        assert not list(cache.glob("qar/folders/*"))
        return str(caught.value)

    assert "there must be a folder of images, found none" in refusal(tmp_path / "gone")
    lonely = tree(tmp_path / "a", {"train": 2})
    assert "beside train there must be one of test, val, validation, found none" in refusal(lonely)
    tree(lonely, {"test": 1})
    (lonely / "test" / "bird").mkdir()
    assert "test must have the classes of train, found ['bird']" in refusal(lonely)
    several = tree(tmp_path / "b", {"train": 2, "test": 1})
    Image.new("RGB", (9, 9)).save(several / "train" / "cat" / "0.png")
    assert "images must have one size, or the data set's name one to resize to, found 2 sizes" in refusal(several)
    (several / "train" / "dog" / "1.png").write_bytes(b"no image")
    assert "found 'train/dog/1.png' (cannot identify image file" in refusal(several, "?size=4")
    (tmp_path / "c" / "one").mkdir(parents=True)
    assert "a folder for each of at least 2 classes, found ['one']" in refusal(tmp_path / "c")
    (tmp_path / "c" / "two").mkdir()
    assert "there must be at least 3 images (.bmp, " in refusal(tmp_path / "c")
    assert ") of each class, found 0 of 'one'; add some" in refusal(tmp_path / "c")


def _link(root: Path, name: str, target: str) -> None:
    (root / "train" / "cat" / name).symlink_to(target)


def _save(file: Path, size: tuple[int, int]) -> Path:
    Image.new("1", size).save(file)
    return file


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda root: _link(root, "x.png", "/dev/zero"), "every image must be a file, found '.*x.png'"),
        (lambda root: _link(root, "x.png", "gone"), "every image must be a file, found '.*x.png'"),
        (lambda root: _link(root, "x", "../dog"), "a class must hold no links to folders, found '.*x'"),
        (lambda root: _link(root, "x.png", "/etc/passwd"), "found 'train/cat/x.png' .cannot identify"),
        (lambda root: os.mkfifo(root / "train" / "cat" / "x.png"), "every image must be a file"),
        (
            lambda root: _save(root / "train" / "cat" / "0.png", (9000, 9000)),
            r"found 'train/cat/0.png' .9000x9000, more than 67108864 pixels",
        ),
        (
            lambda root: [_save(file, (1, 5000)) for file in root.rglob("*.png")],
            "at most 4096 pixels per side, or the data set's name a size to resize to, found 5000x1",
        ),
        (
            lambda root: (root / "train" / "cat" / "a\n\x1b[2Jb.png").write_bytes(b"no image"),
            r"found 'train/cat/a\\n\\x1b\[2Jb.png'",
        ),
    ],
    ids=["device", "nothing", "folder", "other file", "pipe", "bomb", "huge", "name"],
)
@pytest.mark.filterwarnings("error")
def test_hostile_trees_are_refused(tmp_path: Path, spoil: Callable[[Path], object], reason: str) -> None:
    root = tree(tmp_path / "pets", {"train": 3, "test": 1})
    spoil(root)
    with pytest.raises(DatasetError, match=reason) as caught:
        load_dataset(f"folder:{root}")
    assert "\n" not in str(caught.value)


def test_names_that_are_no_text_are_read(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"train": 3, "test": 1})
    (root / "train" / "cat" / "0.png").rename(root / "train" / "cat" / os.fsdecode(b"\xff.png"))
    assert len(load_dataset(f"folder:{root}").x_train) == 6


def test_full_disk_ends_in_an_error_and_not_in_a_signal(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"train": 3, "test": 1})
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(DatasetError, match=r"can't be loaded: File too large \(.*/qar\); mend that"):
            load_dataset(f"folder:{root}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


@pytest.mark.parametrize("name", ["folder:", "folder:s3://bucket/x", "folder:x?size=0", "folder:x?size=5x99999"])
def test_malformed_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"dataset|size"):
        check_dataset_name(name)
