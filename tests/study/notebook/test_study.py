"""A study as an object: results, status and refusals, without Ray."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import study
from analysis.load import load_epochs, load_trials
from study.errors import StudyInterrupted
from study.ledger.ledger import Ledger
from study.notebook.driver_process import DriverProcess
from study.storage.folder import StudyFolder
from tests.support.example_studies import files_below, make_study, study_config

ROOT = Path(__file__).parents[3]


def test_results_are_those_of_the_tables(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "small")
    known = study.Study.open(folder.path)
    pd.testing.assert_frame_equal(known.trials(), load_trials(folder.path))
    pd.testing.assert_frame_equal(known.epochs(), load_epochs(folder.path))
    assert list(known.front()["number"]) == [1, 2]
    assert str(known.status()).startswith("small: finished; ")


def test_results_are_as_new_as_the_ledger(tmp_path: Path) -> None:
    """While a study runs, its tables lag behind."""
    folder = make_study(tmp_path / "small", ended=False)
    folder.trials.unlink()
    assert len(study.Study.open(folder.path).trials()) == 5


def test_published_studies_without_a_ledger_can_be_read() -> None:
    published = study.Study.open(ROOT / "docs" / "results" / "cifar10-small-vgg16")
    trials = published.trials()
    assert len(trials)
    assert set(published.front()["number"]) < set(trials["number"])
    assert len(published.epochs()) == trials["epochs"].sum()


def test_report_takes_the_options_of_the_command(tmp_path: Path) -> None:
    known = study.Study.open(make_study(tmp_path / "small").path)
    report = known.report(tmp_path / "out", formats=["svg"], cost="size")
    assert not report.failures
    assert (tmp_path / "out" / "report.html").exists()
    assert {path.suffix for path in report.files if "figures" in path.parts} == {".svg"}
    with pytest.raises(ValueError, match="unknown cost 'euros'"):
        known.report(tmp_path / "other", cost="euros")
    assert not (tmp_path / "other").exists()


def test_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no study folder"):
        study.Study.open(tmp_path)
    with pytest.raises(ValueError, match=r"must name a bucket|s3"):
        study.Study.open("s3://")


# Arguments of `launch`, and what the line has to name.
WRONG_LAUNCHES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown study": ({"config": "nosuch"}, "unknown study 'nosuch'; choose from"),
    "missing file": ({"config": Path("nosuch.yaml")}, "unknown study 'nosuch.yaml'"),
    "no name": ({"config": {"trials": 3, "space": {"family": ["none"]}}}, "config: name is missing; set it"),
    "unknown key": ({"nosuch": 1}, "unknown key 'nosuch'"),
    "unknown nested key": ({"trial": {"recipe": {"nosuch": 1}}}, r"unknown key 'trial\.recipe\.nosuch'"),
    "text as number": ({"trials": "many"}, "trials must be .*, got 'many'"),
    "no trials": ({"trials": 0}, "trials must be at least 1, got 0"),
    "below a value": ({"trials": {"low": 3}}, r"--set trials\.low: 'trials' holds no keys, got 28"),
    "no plain data": ({"trials": object()}, "trials must be plain data"),
    "range": ({"space": {"lam": {"low": 3.0, "high": 1.0}}}, r"high must be at least low \(3\.0\), got 1\.0"),
    "unknown field": ({"space": {"recipe.rate": [1.0]}}, r"unknown field of a trial 'recipe\.rate'"),
    "grid": ({"plan": {"grid": {"family": ["none"]}, "seeds": 2}}, r"plan\.grid\.num_levels"),
    "name": ({"name": "a/b"}, "name must consist of letters"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG_LAUNCHES.values(), ids=WRONG_LAUNCHES)
def test_wrong_launch_is_refused_before_a_process_begins(
    arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    with pytest.raises(ValueError, match=message) as caught:
        study.launch(**{"config": "digits"} | arguments)
    assert "\n" not in str(caught.value)
    assert files_below(tmp_path) == {}


def test_refusal_of_the_process_is_an_exception_of_the_call(tmp_path: Path) -> None:
    """Nowhere can a folder be made, and nothing runs on a study that another process holds: the process finds both."""
    folder = make_study(tmp_path / "small", ended=False)
    known = study.Study.open(folder.path)
    with pytest.raises(ValueError, match="--trials extends a study that has finished, got 3"):
        known.resume(trials=3)
    ledger = Ledger(folder.ledger)
    with pytest.raises(ValueError, match="is being run by another process"):
        known.resume()
    ledger.close()
    with pytest.raises(ValueError, match="--set must change one of"):
        known.resume(seed=3)
    with pytest.raises(ValueError, match="levels must lie between 2 and 8"):
        known.confirm(levels=[64])
    assert known.log is not None
    assert "qar: " in known.log.read_text()


def test_driver_that_is_killed_says_so() -> None:
    driver = DriverProcess(["dashboard", "--help"])
    driver._process.send_signal(signal.SIGKILL)
    with pytest.raises(StudyInterrupted, match="was killed by signal 9; go on with: resume"):
        driver.wait(quiet=True)


def test_file_of_a_driver_gets_lines_and_no_live_panel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kernels ask all programs for colours by the environment."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    folder = make_study(tmp_path / "small")
    driver = DriverProcess(["status", str(folder.path)])
    driver.wait(quiet=True)
    assert driver.log.read_text().startswith("small: finished")
    assert "\x1b" not in driver.log.read_text()


def test_driver_prints_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    driver = DriverProcess(["--version"])
    driver.wait()
    assert capsys.readouterr().out.startswith("qar 0.")
    driver.wait()
    assert capsys.readouterr().out == ""


def test_waiting_ends_with_the_lock_of_another_process(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "small", study_config(trials=5))
    known = study.Study.open(folder.path)
    assert known.wait(quiet=True).state == "finished"
    ledger = Ledger(folder.ledger)
    with pytest.raises(TimeoutError, match=r"still runs after 0\.1 seconds"):
        known.wait(0.1)
    ledger.close()
    assert known.stop().state == "finished", "there is nothing to stop"


def test_stop_asks_the_driver_of_another_process(tmp_path: Path) -> None:
    """It holds the ledger's lock until it takes the request, as a driver on any machine does."""
    folder = make_study(tmp_path / "small", study_config(trials=12))
    program = (
        "import sys, time; from pathlib import Path; from study.ledger.ledger import Ledger\n"
        "from study.storage.folder import StudyFolder; from study.storage.requests import pending\n"
        "folder = StudyFolder(Path(sys.argv[1])); ledger = Ledger(folder.ledger)\n"
        "ledger.record('session_started', session=2, pid=1, hostname='elsewhere', provenance={})\n"
        "while not pending(folder)[0]: time.sleep(0.1)\n"
        "ledger.record('session_ended', session=2, outcome='interrupted')\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", program, str(folder.path)])
    known = study.Study.open(folder.path)
    while known.num_sessions < 2:
        time.sleep(0.1)
    assert known.status().state == "running"
    assert known.stop().state == "interrupted"
    assert driver.wait() == 0


def test_folder_of_a_study_is_named_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(tmp_path / "small")
    monkeypatch.chdir(tmp_path)
    known = study.Study.open("small")
    monkeypatch.chdir("/")
    assert known.folder == StudyFolder(tmp_path / "small")
    assert known.status().config.name == "small"
