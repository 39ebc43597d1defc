"""Completion of names, through the protocol by which a shell asks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.example_studies import make_study


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    (folder / "studies").mkdir()
    make_study(folder / "studies" / "small")
    make_study(folder / "studies" / "smart")
    make_study(folder / "apart")
    (folder / "stuff").mkdir()
    return folder


def completed(words: str, here: Path, shell: str = "bash") -> list[str]:
    """Completes the last of the words, as Bash and Zsh ask for it."""
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    asked |= {"_TYPER_COMPLETE_ARGS": words, "_QAR_COMPLETE": f"complete_{shell}"}
    program = "import sys; sys.argv = ['qar']; from study.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=here, env=os.environ | asked, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("qar status st", ["studies/small", "studies/smart"]),
        ("qar resume studies/sma", ["studies/small", "studies/smart"]),
        ("qar report apart studies/smar", ["studies/smart"]),
        ("qar stop nosuch/", []),
        ("qar stop s3://bucket/", []),
        ("qar stop studies/small --trial small-0000", [f"small-{number:05d}" for number in range(5)]),
        ("qar export studies/small --trial 3", ["3"]),
        ("qar export nosuch --trial 3", []),
        ("qar enq", ["enqueue"]),
    ],
)
def test_shell_completes_studies_and_trials(words: str, names: list[str], here: Path) -> None:
    assert completed(words, here) == names


def test_completion_of_zsh_names_the_same(here: Path) -> None:
    assert "apart" in " ".join(completed("qar status ap", here, "zsh"))
