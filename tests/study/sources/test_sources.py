"""Code of users: what a study takes with it, and how it becomes importable."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from study.addresses import check_code, may_import, remember
from study.config import StudyConfig, parse_study
from study.config.yaml_loading import dump_yaml, load_written_yaml, load_yaml
from study.sources import import_paths_of, make_importable, shipped_modules, with_sources
from study.sources.collecting import collect
from study.storage.folder import StudyFolder

STUDY = {"name": "own", "trials": 5, "space": {"family": ["none"]}}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Caches and memories of this test alone, and Python's path and modules as before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ownlab", "ownhelp", "ownmodel")]:
        del sys.modules[name]


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / (name.replace("__in__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def study_of(**trial: object) -> StudyConfig:
    return parse_study(STUDY | {"trial": trial}, "own.yaml").with_absolute_paths()


def test_modules_are_collected_with_what_they_import(tmp_path: Path) -> None:
    beside, working = tmp_path / "beside", tmp_path / "working"
    write(beside, ownlab__in__nets="import torch\nfrom . import parts\n", ownlab__in__parts="import ownhelp\n")
    write(beside, ownlab__in____init__="", ownlab__in__deep__in__more="def f():\n    from ownmodel import x\n")
    write(working, ownhelp="x = 1\n", ownlab__in__nets="other = 1\n", unused="x = 2\n", ownmodel="x = 3\n")
    (beside / "ownlab" / "notes.txt").write_text("no code")
    code = collect(["ownlab.nets", "os.path", "torch"], [beside, working])
    assert list(code) == [
        "ownhelp.py",
        *(f"ownlab/{name}.py" for name in ("__init__", "deep/more", "nets", "parts")),
        "ownmodel.py",
    ]
    assert code["ownlab/nets.py"].startswith("import torch")


def test_files_that_no_import_finds_are_left_out_and_the_study_can_be_read_again(tmp_path: Path) -> None:
    """Their names would not be accepted from study.yaml, and a study that has trained could never go on."""
    write(tmp_path, ownlab__in____init__="x = 1\n", ownlab__in__größe="y = 2\n")
    for name in ("run-all.py", "data-prep/main.py", os.fsdecode(b"\xff.py"), "2nd.py", ".hidden.py"):
        (tmp_path / "ownlab" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "ownlab" / name).write_text("raise SystemExit\n")
    config = with_sources(study_of(model="ownlab:net"), [tmp_path])
    assert sorted(config.code) == ["ownlab/__init__.py", "ownlab/größe.py"]
    folder = StudyFolder(tmp_path / "study")
    folder.create(config)
    assert folder.read_config() == config


def test_packages_of_this_project_are_never_collected(tmp_path: Path) -> None:
    write(tmp_path, ownlab="import trainables\nimport study.config\n", trainables__in____init__="", study="")
    assert list(collect(["ownlab", "trainables.run"], [tmp_path])) == ["ownlab.py"]


def test_unreadable_and_large_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ownlab.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(ValueError, match=r"ownlab\.py must be a readable file of Python in UTF-8"):
        collect(["ownlab"], [tmp_path])
    write(tmp_path, ownlab__in____init__="", ownlab__in__a="#" * 300_000, ownlab__in__b="#" * 300_000)
    with pytest.raises(ValueError, match="must have at most 500000 characters, got 600000 in 3 files"):
        collect(["ownlab"], [tmp_path])


def test_import_paths_are_those_of_all_parts(tmp_path: Path) -> None:
    config = parse_study(
        STUDY | {"trial": {"model": "ownlab:net", "dataset": "npz:data"}, "space": {"family": ["none", "RM"]}}, "x"
    )
    assert import_paths_of(config) == {"model": ["ownlab:net"]}
    assert import_paths_of(parse_study(STUDY | {"trial": {"model": "torchvision:resnet18"}}, "x")) == {}


def test_study_with_built_in_parts_keeps_its_hash(tmp_path: Path) -> None:
    config = with_sources(study_of(), [tmp_path])
    assert config == study_of()
    assert config.trial["sources"] is None


def test_code_and_weights_decide_the_hash(tmp_path: Path) -> None:
    def hash_of(text: str, weights: bytes | None = None) -> str:
        write(tmp_path, ownmodel=text)
        trial = {"model": "ownmodel:net"}
        if weights is not None:
            (tmp_path / "float.pt").write_bytes(weights)
            trial |= {"init": "pretrained", "initial_weights": str(tmp_path / "float.pt")}
        config = with_sources(study_of(**trial), [tmp_path])
        return config.trial_config({"family": "none", "num_levels": 2}).hash

    assert hash_of("x = 1\n") == hash_of("x = 1\n")
    assert len({hash_of("x = 1\n"), hash_of("x = 2\n"), hash_of("x = 1\n", b"a"), hash_of("x = 1\n", b"b")}) == 4


def test_launched_study_holds_its_code_and_can_be_launched_again_without_the_files(tmp_path: Path) -> None:
    write(tmp_path, ownmodel='def net():\n    """Return λ — "quoted": yes.  """\n\treturn 1\n')
    config = with_sources(study_of(model="ownmodel:net"), [tmp_path])
    text = dump_yaml(config.model_dump())
    assert "    def net():\n" in text or '"def net' in text
    for loaded in (load_yaml(text, "x"), load_written_yaml(text, "x"), yaml.safe_load(text)):
        assert parse_study(loaded, "x") == config
    again = with_sources(parse_study(load_yaml(text, "x"), "x"), [tmp_path / "elsewhere"])
    assert again == config


def test_code_reads_well_in_a_study() -> None:
    text = dump_yaml({"code": {"ownmodel.py": "import torch\n\n\ndef net(image_shape):\n    return 1\n"}})
    assert text == "code:\n  ownmodel.py: |\n    import torch\n\n\n    def net(image_shape):\n        return 1\n"


@pytest.mark.parametrize(
    "path", ["../x.py", "/x.py", "x", "a/../b.py", "x.pyc", "a b.py", ".x.py", "a//b.py", "x.py\n"]
)
def test_paths_that_leave_their_folder_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="a key of code must be the relative path of a Python module"):
        parse_study(STUDY | {"code": {path: "x = 1\n"}}, "x")


def test_code_of_the_latest_study_is_imported() -> None:
    for value in (1, 2, 1):
        make_importable({"ownmodel.py": f"value = {value}\n", "ownlab/inner.py": "from ownmodel import value\n"})
        assert importlib.import_module("ownlab.inner").value == value
    make_importable({})
    assert not [entry for entry in sys.path if "/qar/code/" in entry]


def test_shipped_modules_are_top_level_paths() -> None:
    paths = shipped_modules({"ownmodel.py": "", "ownlab/a.py": "", "ownlab/b/c.py": ""})
    assert [Path(path).name for path in paths] == ["ownlab", "ownmodel.py"]
    assert all(Path(path).exists() for path in paths)
    assert shipped_modules({}) == []


def test_code_of_another_person_needs_trust() -> None:
    config = parse_study(STUDY | {"trial": {"model": "ownmodel:net"}, "code": {"ownmodel.py": "value = 1\n"}}, "x")
    with pytest.raises(ValueError, match=r"^model must be code that you have launched .* got 'ownmodel:net'; read it"):
        check_code(config, trusted=False)
    assert "ownmodel" not in sys.modules
    assert not may_import("ownmodel:net", trusted=False)
    assert may_import("ownmodel:net", trusted=True)
    remember(config)
    check_code(config, trusted=False)
    assert may_import("ownmodel:net", trusted=False)
    changed = config.model_copy(update={"code": {"ownmodel.py": "value = 2\n"}})
    with pytest.raises(ValueError, match=r"^code must be code that you have launched a study with"):
        check_code(changed, trusted=False)
    check_code(changed, trusted=True)
    check_code(changed, trusted=False)
