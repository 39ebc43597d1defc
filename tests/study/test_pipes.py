"""Pipes and folders in the place of a study's files: a command neither waits for them nor ends in a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.storage.study_storage import LEDGER, OPTUNA_DB, STUDY_JSON, STUDY_YAML, TRIALS
from tests.support.example_studies import make_study
from trainables.errors import IrregularFileError
from trainables.files.regular import open_regular

SECONDS = 300
"""Longest time of the process below, which takes ten seconds or so; a pipe would block it for ever."""

CALLS = """
import sys
from pathlib import Path
from typer.testing import CliRunner
from study.cli.app import app
from study.cli.completion import complete_trial
for place in sys.argv[1:]:
    for command in ("doctor", "status", "repair", "list", *["report"] * ("parquet" in place)):
        result = CliRunner().invoke(app, [command, str(Path(place).parent) if command == "list" else place])
        ended = isinstance(result.exception, SystemExit | None) and result.exit_code in (0, 1, 2)
        if not ended or len(result.stderr.splitlines()) > 1:
            sys.exit(f"{command} {place}: {result.exception!r} {result.stderr}")
"""


def test_commands_answer_whatever_is_in_a_files_place(tmp_path: Path) -> None:
    places = []
    for kind, make in (("pipe", os.mkfifo), ("folder", os.mkdir)):
        for name in (LEDGER, STUDY_YAML, TRIALS, STUDY_JSON, OPTUNA_DB, "network.qar"):
            folder = make_study(tmp_path / f"{kind}-{name}" / "small")
            (folder.path / name).unlink(missing_ok=True)
            make(folder.path / name)
            places.append(str(folder.path))
    ended = subprocess.run(
        [sys.executable, "-c", CALLS, *places], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IrregularFileError, match="pipe must be a regular file, got a device or a pipe"):
        open_regular(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError) as caught:
        open_regular(tmp_path)
    assert caught.value.filename == str(tmp_path)
