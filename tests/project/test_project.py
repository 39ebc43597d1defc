"""Agreement of README, Makefile, cluster file, pins and wheel with the code."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import ray.autoscaler
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from ray.autoscaler._private.util import prepare_config, validate_config
from typer.main import get_command

from study.cli import app
from study.config import load_study, named_studies
from study.storage.folder import StudyFolder

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ["analysis", "study", "trainables"]


def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def written_commands() -> list[tuple[str, list[str]]]:
    """Every `qar COMMAND …` that is written for a reader or a machine: where it stands, and its words."""
    found = []
    for name in ("README.md", "Makefile", "cluster.yaml", "docs/*.md"):
        for path in ROOT.glob(name):
            for match in re.finditer(r"(?:^|[\s`'\"/])qar ([a-z]+)([^`'\"#\n]*)", path.read_text(), re.MULTILINE):
                found.append((path.name, [match[1], *match[2].split()]))
    return found


def test_readme_shows_how_to_run_a_study() -> None:
    shown = {words[0] for name, words in written_commands() if name == "README.md"}
    assert {"launch", "resume", "status", "report"} <= shown


@pytest.mark.parametrize(
    ("where", "words"), written_commands(), ids=[f"{where}: {' '.join(words)}" for where, words in written_commands()]
)
def test_written_command_exists_with_its_options(where: str, words: list[str]) -> None:
    commands: Any = get_command(app)
    assert words[0] in commands.commands, where
    known = {option for parameter in commands.commands[words[0]].params for option in parameter.opts}
    assert {re.split(r"[=,.;:)]", word)[0] for word in words if re.match(r"--\w", word)} <= known


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))))
def test_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_make_knows_what_to_do() -> None:
    targets = ["study", "test", "check"]
    done = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "qar launch digits" in done.stdout
    assert "pytest" in done.stdout


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_link_of_the_readme_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_readme_names_the_files_of_a_study() -> None:
    folder = StudyFolder(Path("x"))
    files = (folder.study_yaml, folder.study_json, folder.ledger, folder.trials, folder.epochs)
    assert [path.name for path in files if f"`{path.name}`" not in README] == []


def test_readme_names_only_families_that_exist() -> None:
    from trainables.families import FAMILIES

    of_the_paper = {name for name, family in FAMILIES.items() if family.kind == "paper"}
    assert of_the_paper <= set(re.findall(r"`(R[A-Z])`", README)) <= set(FAMILIES)


@pytest.mark.parametrize("name", named_studies())
def test_named_study_says_what_it_is(name: str) -> None:
    text = (ROOT / "study" / "configs" / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    assert load_study(name).name == name


def test_cluster_yaml_keeps_to_rays_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(cluster(), schema)


def test_cluster_yaml_is_accepted_by_rays_launcher() -> None:
    prepared = prepare_config(cluster())
    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_cluster_yaml_lets_workers_start() -> None:
    config = cluster()
    workers = {name: node for name, node in config["available_node_types"].items() if name != config["head_node_type"]}
    assert workers
    assert all(0 < node["max_workers"] <= config["max_workers"] for node in workers.values())


def test_cluster_yaml_installs_from_the_folder_that_it_mounts() -> None:
    config = cluster()
    (mounted,) = (target for target, source in config["file_mounts"].items() if source == ".")
    folder = mounted.replace(f"/home/{config['auth']['ssh_user']}", "$HOME")
    assert any(folder in command and "deploy/requirements.txt" in command for command in config["setup_commands"])


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_constraints_are_exact_pins_in_order() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    names = [canonicalize_name(line.split("==")[0]) for line in lines]
    assert len(names) == len(set(names))


def declared() -> list[Requirement]:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for text in (*project["dependencies"], *(text for extra in extras for text in extra))]


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_constraints_pin_a_version_that_the_dependency_allows(requirement: Requirement) -> None:
    pinned = {canonicalize_name(name): version for name, version in pins().items()}
    assert requirement.specifier.contains(Version(pinned[canonicalize_name(requirement.name)]))


def test_constraints_pin_all_that_gets_installed() -> None:
    """Dependencies of dependencies too, or two clones a month apart give different numbers."""
    pinned = {canonicalize_name(name) for name in pins()}
    unpinned, seen = set(), set()
    # Clusters have ray[default] too: its own dependencies are followed where it is installed (`make test-jobs`).
    asked = [*declared(), Requirement("ray[default]")]
    waiting = [(requirement.name, frozenset(requirement.extras)) for requirement in asked]
    while waiting:
        name, extras = waiting.pop()
        if (canonicalize_name(name), extras) in seen:
            continue
        seen.add((canonicalize_name(name), extras))
        if canonicalize_name(name) not in pinned:
            unpinned.add(canonicalize_name(name))
        try:
            required = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        for text in required:
            requirement = Requirement(text)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in (*extras, "")):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    assert unpinned <= {"pip", "setuptools"}  # which a virtual environment brings along, or pip installs apart


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in the wheel, built from a copy so that nothing is left here."""
    copy = tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    build = "import setuptools.build_meta as backend; backend.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, check=True)
    (path,) = (copy / "dist").glob("qar-*.whl")
    return zipfile.ZipFile(path).namelist()


@pytest.mark.parametrize("name", named_studies())
def test_wheel_holds_every_named_study(name: str, wheel: list[str]) -> None:
    assert f"study/configs/{name}.yaml" in wheel


def test_wheel_holds_what_pages_are_made_of(wheel: list[str]) -> None:
    assert {f"analysis/report/web/{name}" for name in ("report.html", "report.css", "js/report.js")} <= set(wheel)


def test_wheel_holds_all_of_the_code_and_nothing_else(wheel: list[str]) -> None:
    code = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {name for name in wheel if name.endswith(".py")} == code
    assert {name.split("/")[0] for name in wheel if ".dist-info" not in name} == set(PACKAGES)


def test_wheel_holds_the_licence_and_the_command(wheel: list[str]) -> None:
    assert any(name.endswith("/LICENSE") for name in wheel)
    assert any(name.endswith("/entry_points.txt") for name in wheel)
    assert len((ROOT / "LICENSE").read_text()) > 1000
