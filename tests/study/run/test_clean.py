"""`qar clean` removes checkpoints of finished studies, and nothing that a command still needs."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from study.cli import app
from study.doctor.disk import checkpoint_bytes, forecast
from study.ledger.reading import read_history
from study.sizes import size
from study.storage.folder import StudyFolder
from tests.support.example_studies import files_below, make_study, study_config


def run(*arguments: str | Path, input: str | None = None) -> Result:
    """Call the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)


def with_checkpoints(study: StudyFolder) -> tuple[set[str], int]:
    """Put the checkpoints of all trials on disk, and an older one of each; return the front's newest, and all bytes."""
    history = read_history(study.ledger)
    for trial in history.trials.values():
        for saved in trial.checkpoints:
            for path in (study.path / saved.path, (study.path / saved.path).with_name("checkpoint_000000")):
                path.mkdir(parents=True, exist_ok=True)
                (path / "trial.pt").write_bytes(bytes(1000))
    newest = {number: history.trials[number].checkpoint for number in (1, 2)}
    paths = list(study.ray.rglob("trial.pt"))
    return {saved.path for saved in newest.values() if saved}, 1000 * len(paths)


def left(study: StudyFolder) -> set[str]:
    """Return the checkpoints that are there."""
    return {study.inner(path.parent) for path in study.ray.rglob("trial.pt")}


def test_clean_keeps_the_newest_checkpoint_of_the_front_and_all_other_files(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    front, num_bytes = with_checkpoints(study)
    before = {name: content for name, content in files_below(study.path).items() if not name.startswith("ray/")}
    done = run("clean", study.path, "--yes")
    assert done.exit_code == 0, done.output
    assert left(study) == front
    assert {name: files_below(study.path)[name] for name in before} == before
    assert f"removed 5 checkpoints, {size(num_bytes - 2000)}" in done.stdout
    assert "qar export works for trials 1, 2" in done.stdout
    assert "no longer needed: 0 checkpoints, 0 bytes" in run("clean", study.path, "--yes").stdout


@pytest.mark.parametrize(("arguments", "input", "status"), [(["--dry-run"], None, 0), ([], "n\n", 1)])
def test_clean_removes_nothing_unless_it_is_agreed_to(
    arguments: list[str], input: str | None, status: int, tmp_path: Path
) -> None:
    study = make_study(tmp_path / "small")
    with_checkpoints(study)
    before = files_below(study.path)
    done = run("clean", study.path, *arguments, input=input)
    assert (done.exit_code, "no longer needed: 5 checkpoints" in done.stdout) == (status, True), done.output
    assert files_below(study.path) == before


def test_clean_refuses_a_study_that_goes_on_and_one_with_a_link(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", ended=False)
    with_checkpoints(study)
    done = run("clean", study.path, "--yes")
    assert (done.exit_code, "needs a study that has finished" in done.stderr) == (2, True)
    other = make_study(tmp_path / "other")
    with_checkpoints(other)
    (other.ray / "session-002").symlink_to(study.ray / "session-001")
    before = files_below(study.path)
    done = run("clean", other.path, "--yes")
    assert (done.exit_code, "symbolic link" in done.stderr) == (2, True)
    assert files_below(study.path) == before


def test_forecast_is_of_all_checkpoints_of_all_trials() -> None:
    config = study_config(trials=50)
    each = checkpoint_bytes(config)
    assert 0.5e6 < each < 1e6, "614 kB of the digits study"
    assert f"up to about {size(100 * each)} on disk, 2 of {size(each)} for each of 50 trials" in forecast(config)


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (898e6, "898.0 MB"), (2e12, "2.0 TB")]
)
def test_size(num_bytes: float, text: str) -> None:
    assert size(num_bytes) == text
