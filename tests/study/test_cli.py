"""The command without Ray: help, refusals, damage, status, reports. What runs a study is in test_cli_end_to_end.py."""

import errno
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from unittest.mock import ANY
from urllib.error import URLError

import pytest
from typer.testing import CliRunner, Result

from study.cli import app, os_error_line
from study.config import StudyConfig, named_studies
from study.durations import duration
from study.ledger.ledger import Ledger
from study.run.outcome import StudyOutcome
from study.run.study_run import StudyRun
from study.storage.folder import StudyFolder
from study.storage.liveliness import Liveliness
from tests.support.example_studies import files_below, make_study, study_config
from tests.support.few_figures import keep_figures
from trainables.families import FAMILIES
from trainables.result import TrialState

COMMANDS = (
    "launch",
    "resume",
    "confirm",
    "status",
    "doctor",
    "dashboard",
    "report",
    "export",
    "clean",
    "evaluate",
    "families",
)
HEAVY = ("torch", "ray", "optuna", "matplotlib", "pandas", "numpy", "sklearn", "study.config")
"""Packages that `qar --help` must not import. Typer itself may import pydantic."""


def run(*arguments: str | Path) -> Result:
    """Calls the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_process(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Calls the command as a process, outside of a terminal."""
    command = [sys.executable, "-m", "study.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def assert_refused(result: Result, *fragments: str, status: int = 2) -> None:
    """The exit status, and one line on stderr that has all fragments."""
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("qar: ")
    assert [fragment for fragment in fragments if fragment not in line] == [], line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, so that the default storage is in it too."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert [command for command in COMMANDS if command not in result.stdout] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_says_what_it_does(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    assert len(result.stdout.splitlines()) > 5


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from study.cli import app\n"
        f"for arguments in [[], *([command] for command in {COMMANDS})]:\n"
        "    app([*arguments, '--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count("Usage: ") == 1 + len(COMMANDS)
    assert done.stderr == "[]\n"


def test_installed_command_is_this_one() -> None:
    qar = Path(sys.executable).with_name("qar")
    done = subprocess.run([qar, "--help"], capture_output=True, text=True, check=True)
    assert "quantization-aware regularizers" in done.stdout


# Arguments after `launch`, and what the line has to name.
WRONG_LAUNCHES: dict[str, tuple[list[str], list[str]]] = {
    "unknown study": (["nosuch"], ["'nosuch'", *named_studies()]),
    "unknown key": (["digits", "--set", "nosuch=1"], ["'nosuch'", "choose from"]),
    "unknown nested key": (["digits", "--set", "trial.recipe.nosuch=1"], ["'trial.recipe.nosuch'", "choose from"]),
    "unknown family": (["digits", "--set", "space.family=[RX]"], ["family", "'RX'", *FAMILIES]),
    "unknown model": (["digits", "--set", "trial.model=resnet999"], ["model", "'resnet999'", "small_cnn"]),
    "unknown dataset": (["digits", "--set", "trial.dataset=mnist999"], ["dataset", "'mnist999'", "digits"]),
    "too few images": (["digits", "--set", "trial.subset=5000"], ["subset", "5000"]),
    "unknown scheduler": (["digits", "--set", "early_stopping.scheduler=median"], ["'asha'", "'none'", "'median'"]),
    "K below 2": (["digits", "--set", "space.num_levels.low=1"], ["space.num_levels.low", "2", "got 1"]),
    "lam below 0": (["digits", "--set", "space.lam.low=-0.001"], ["space.lam.low", "0", "-0.001"]),
    "lam NaN": (["digits", "--set", "space.lam.low=.nan"], ["space.lam.low", "finite", "nan"]),
    "no trials": (["digits", "--trials", "0"], ["trials", "1", "got 0"]),
    "trials below 0": (["digits", "--trials", "-3"], ["trials", "1", "got -3"]),
    "grace period beyond the last epoch": (
        ["digits", "--set", "early_stopping.grace_period=19"],
        ["early_stopping.grace_period", "(9)", "19"],
    ),
    "malformed --set": (["digits", "--set", "trials"], ["--set", "KEY=VALUE", "'trials'"]),
    "name with a slash": (["digits", "--name", "a/b"], ["--name", "'a/b'"]),
    "name of the folder above": (["digits", "--name", ".."], ["--name", "'..'"]),
    "name with a space": (["digits", "--name", "a b"], ["--name", "'a b'"]),
    "empty name": (["digits", "--name", ""], ["--name", "''"]),
}


@pytest.mark.parametrize(("arguments", "fragments"), WRONG_LAUNCHES.values(), ids=WRONG_LAUNCHES)
def test_launch_refuses_in_one_line_and_writes_nothing(arguments: list[str], fragments: list[str], here: Path) -> None:
    # One trial, lest a request that is not refused takes minutes.
    assert_refused(run("launch", "--set", "trials=1", *arguments), *fragments)
    assert files_below(here) == {}


def test_launch_refuses_as_a_process_without_a_traceback(tmp_path: Path) -> None:
    done = run_process("launch", "digits", "--set", "space.family=[RX]", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "'RX'" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["launch"],
        ["status"],
        ["launch", "digits", "--trials", "many"],
        ["launch", "digits", "--nosuch"],
    ],
    ids=" ".join,
)
def test_malformed_command_line_is_refused_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    done = run_process(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("qar: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("storage", ["file", "file/below", "x" * 300])
def test_launch_refuses_a_storage_that_cant_be_written(storage: str, here: Path) -> None:
    (here / "file").write_text("in the way")
    result = run("launch", "digits", "--trials", "1", "--storage", here / storage)
    assert_refused(result, str(here / storage), "can't be written", "--storage")
    assert files_below(here) == {"file": b"in the way"}


def test_launch_onto_a_study_is_refused_and_says_how_to_resume(here: Path) -> None:
    study = make_study(here / "studies" / "digits")
    before = files_below(here)
    assert_refused(run("launch", "digits", "--trials", "1"), f"qar resume {study.path.relative_to(here)}")
    assert files_below(here) == before


def test_launch_into_a_folder_of_something_else_is_refused(here: Path) -> None:
    (here / "studies" / "digits").mkdir(parents=True)
    (here / "studies" / "digits" / "thesis.tex").write_text("years of work")
    before = files_below(here)
    assert_refused(run("launch", "digits", "--trials", "1"), "studies/digits", "not empty")
    assert files_below(here) == before


def test_refused_launch_leaves_the_folders_that_were_there(here: Path) -> None:
    study = StudyFolder(here / "mine" / "new" / "small")
    (here / "mine").mkdir()
    with pytest.raises(ValueError, match="no node"), study.created(study_config()):
        raise ValueError("its trials fit on no node")
    assert list(here.rglob("*")) == [here / "mine"]


def test_file_that_cant_be_read_is_told_in_one_line(here: Path) -> None:
    study = make_study(here / "small")
    study.ledger.unlink()
    study.ledger.mkdir()
    result = run("status", "small")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "qar: small/ledger.jsonl can't be used: Is a directory; move what is there away, or correct the path, "
        "then try again\n"
    )


@pytest.mark.parametrize("folder", ["empty", "nosuch", "file"])
@pytest.mark.parametrize("command", ["resume", "status", "report"])
def test_folder_that_is_no_study_is_refused(command: str, folder: str, here: Path) -> None:
    (here / "empty").mkdir()
    (here / "file").write_text("x")
    before = files_below(here)
    assert_refused(run(command, folder), folder, "no study folder")
    assert files_below(here) == before


def test_report_refuses_an_out_that_cant_be_written(here: Path) -> None:
    study = make_study(here / "small")
    (here / "file").write_text("in the way")
    before = files_below(here)
    assert_refused(run("report", study.path, "--out", "file/report"), "file/report", "--out")
    assert files_below(here) == before


def test_report_refuses_a_style_and_a_format_that_there_are_not(here: Path) -> None:
    make_study(here / "small")
    (here / "wrong.mplstyle").write_text("font.size: huge\n")
    before = files_below(here)
    assert_refused(run("report", "small", "--formats", "pdf,eps"), "unknown formats ['eps']; choose from")
    assert_refused(run("report", "small", "--style", "nosuch.mplstyle"), "nosuch.mplstyle", "No such file")
    assert_refused(run("report", "small", "--style", "wrong.mplstyle"), "wrong.mplstyle", "huge", "paper.mplstyle")
    assert files_below(here) == before


WRONG_VIEWS = {
    "cost": (["--cost", "money"], ["'money'", "ratio"]),
    "family": (["--families", "RX"], ["'RX'", "RE"]),
    "K": (["--levels", "99"], ["K = 99"]),
    "levels": (["--levels", "two"], ["levels", "'two'"]),
    "phase": (["--phases", "tuning"], ["'tuning'", "finetune"]),
    "names": (["--names", "nosuch.yaml"], ["nosuch.yaml", "No such file"]),
    "title of nothing": (["--names", "titles.yaml"], ["'fronts'", "front"]),
    "literature": (["--literature", "nosuch.csv"], ["nosuch.csv", "No such file"]),
}


@pytest.mark.parametrize(("options", "fragments"), WRONG_VIEWS.values(), ids=WRONG_VIEWS)
def test_report_refuses_a_view_that_no_figure_has(options: list[str], fragments: list[str], here: Path) -> None:
    make_study(here / "small")
    (here / "titles.yaml").write_text("titles: {fronts: A title}\n")
    before = files_below(here)
    assert_refused(run("report", "small", *options), *fragments)
    assert files_below(here) == before


def test_report_says_what_its_figures_leave_out(here: Path) -> None:
    make_study(here / "small")
    (here / "others.csv").write_text("citation,accuracy,bits_per_weight\nHan,0.9,2\n")
    options = ("--families", "RE", "--phases", "finetune", "--cost", "levels", "--literature", "others.csv")
    result = run("report", "small", "--formats", "svg", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "figures and tables show only families RE; phase finetune" in result.stdout
    assert "not drawn: 1 of 1 points from the literature, which have no levels per layer K" in result.stdout
    assert "RE" in (here / "small/report/table-accuracy.tex").read_text()
    assert "none" in (here / "small/report/front.csv").read_text()  # lists hold all trials


def test_report_of_two_studies_refuses_one_that_is_none(here: Path) -> None:
    make_study(here / "small")
    before = files_below(here)
    assert_refused(run("report", "small", "nosuch"), "nosuch", "no study folder")
    assert files_below(here) == before


def test_report_before_the_first_tables_is_refused(here: Path) -> None:
    StudyFolder(here / "small").create(study_config())
    before = files_below(here)
    assert_refused(run("report", "small"), "trials.parquet", "qar resume small")
    assert files_below(here) == before


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("resume", "study.yaml"),
        ("status", "study.yaml"),
        ("resume", "ledger.jsonl"),
        ("status", "ledger.jsonl"),
        ("report", "trials.parquet"),
        ("report", "epochs.parquet"),
    ],
)
def test_damaged_file_is_named_in_one_line_and_left_untouched(command: str, file: str, here: Path) -> None:
    study = make_study(here / "small")
    content = b"trials: [\n" + (study.path / file).read_bytes()[10:]
    (study.path / file).write_bytes(content)
    before = files_below(here)
    assert_refused(run(command, "small"), f"small/{file}", status=1)
    assert files_below(here) == before


def test_damaged_study_yaml_is_not_launched_over(here: Path) -> None:
    study = make_study(here / "studies" / "digits")
    study.study_yaml.write_text("trials: [\n")
    before = files_below(here)
    assert_refused(run("launch", "digits", "--resume-if-exists"), "studies/digits/study.yaml", status=1)
    assert files_below(here) == before


def test_status_says_how_far_a_study_is(here: Path) -> None:
    study = make_study(here / "small")
    result = run("status", "small")
    assert (result.exit_code, result.stderr) == (0, "")
    header, failure, training, families, table_header, *table = result.stdout.splitlines()
    seconds = duration(Ledger(study.ledger).history.seconds)
    assert header == f"small: finished; 5 of 5 trials: 3 COMPLETE, 1 PRUNED, 1 FAIL; {seconds} so far"
    assert failure == "trial 4 failed: it [broke]"
    assert training == "training 0:03, summed over trials: regularize 0:02, finetune 0:01"
    assert families == "by family: none 0:02, RE 0:01, RS 0:00"
    assert "val accuracy" in table_header
    assert [row.split()[-1] for row in table] == ["1", "2"]


@pytest.mark.parametrize("name", ["my study", "a[1]", "it's", "$HOME", "é"])
def test_every_command_in_a_message_can_be_pasted_into_a_shell(
    name: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_figures(monkeypatch, "front")
    make_study(here / name / "small", ended=False)
    make_study(here / name / "done")
    StudyFolder(here / name / "new").create(study_config())
    for arguments in (
        ("status", f"{name}/small"),
        ("clean", f"{name}/small"),
        ("confirm", f"{name}/new"),
        ("resume", f"{name}/small", "--trials", "3"),
        ("resume", f"{name}/done"),
        ("report", f"{name}/done", "--formats", "svg"),
    ):
        result = run(*arguments)
        commands = re.findall(r"qar (?:resume|status|report|confirm) .*", result.stdout + result.stderr)
        assert commands, result.output
        for command in commands:
            assert shlex.split(command.split(";")[0])[2].startswith(f"{name}/"), command


def test_status_reads_and_writes_nothing(here: Path) -> None:
    make_study(here / "small", ended=False)
    before = files_below(here)
    run("status", "small")
    run("status", "small", "--json")
    assert files_below(here) == before


def test_status_as_json_is_for_programs(here: Path) -> None:
    make_study(here / "small")
    result = run("status", "small", "--json")
    told = json.loads(result.stdout)
    assert (told["name"], told["state"], told["trials"]) == ("small", "finished", 5)
    assert {state: told[state] for state in TrialState} == {"COMPLETE": 3, "PRUNED": 1, "FAIL": 1, "RUNNING": 0}
    assert told["front"] == [
        {"trial_id": "small-00001", "val_accuracy": 0.80, "bits_per_weight": 1.3},
        {"trial_id": "small-00002", "val_accuracy": 0.95, "bits_per_weight": 3.3},
    ]
    assert told["wall_seconds"] >= 0


def test_status_shows_the_front_that_the_report_shows(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_figures(monkeypatch, "front")
    make_study(here / "small")
    run("report", "small", "--formats", "svg")
    reported = json.loads((here / "small/report/summary.json").read_text())["front_size"]
    assert len(json.loads(run("status", "small", "--json").stdout)["front"]) == reported


@pytest.mark.parametrize(
    ("prepare", "state"), [("launched", "not started"), ("died", "died"), ("running", "running"), ("done", "finished")]
)
def test_status_tells_the_state_of_a_study(prepare: str, state: str, here: Path) -> None:
    ledger = None
    if prepare == "launched":
        StudyFolder(here / "small").create(study_config(trials=5))
    else:
        study = make_study(here / "small", ended=prepare == "done")
        ledger = Ledger(study.ledger) if prepare == "running" else None
    assert json.loads(run("status", "small", "--json").stdout)["state"] == state
    assert run("status", "small").stdout.startswith(f"small: {state}; ")
    if ledger:
        ledger.close()


def test_status_outside_of_a_terminal_does_not_break_its_lines(tmp_path: Path) -> None:
    name = "a-rather-long-name-of-a-study-on-everything"
    make_study(tmp_path / name, study_config(name=name, trials=5))
    done = run_process("status", name, cwd=tmp_path)
    assert done.stdout.splitlines()[0].endswith(" so far")
    assert "\x1b" not in done.stdout


def test_resume_of_a_study_that_is_being_run_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", ended=False)
    ledger = Ledger(study.ledger)
    before = files_below(tmp_path)
    done = run_process("resume", "small", cwd=tmp_path)
    ledger.close()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "qar: small is being run by another process; watch it with: qar status small\n"
    assert files_below(tmp_path) == before


def test_resume_of_a_finished_study_only_reports(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    before = files_below(study.path)
    done = run_process("resume", "small", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 trials: 3 COMPLETE, 1 PRUNED, 1 FAIL" in done.stdout
    after = files_below(study.path)
    stated = json.loads(before.pop("derived.json"))
    assert json.loads(after["derived.json"]) == stated | {"optuna.db": ANY}
    assert {name: after[name] for name in before} == before
    assert {Path(name).parts[0] for name in set(after) - set(before)} == {"report", "optuna.db", "derived.json"}


def test_dashboard_shows_the_study_on_this_machine_alone(here: Path) -> None:
    make_study(here / "small")
    port = free_port()
    command = [sys.executable, "-m", "study.cli", "dashboard", "small", "--port", str(port)]
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == f"http://127.0.0.1:{port}/dashboard/  (Ctrl-C ends it)\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies") as response:
            (study,) = json.load(response)["study_summaries"]
        rebound = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/studies/1", method="DELETE", headers={"Host": f"evil.example:{port}"}
        )
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(rebound)
        listening = Path(f"/proc/{process.pid}/net/tcp").read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""
    assert (study["study_name"], study["directions"]) == ("small", ["maximize", "minimize"])
    assert f"0100007F:{port:04X}" in listening, "127.0.0.1"
    assert f"00000000:{port:04X}" not in listening


def test_dashboard_refuses_a_port_that_is_taken(here: Path) -> None:
    make_study(here / "small")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert_refused(run("dashboard", "small", "--port", port), f"--port must be free, got {port}", "--port")


def test_dashboard_refuses_what_is_no_study_and_one_that_has_not_begun(here: Path) -> None:
    assert_refused(run("dashboard", "nowhere"), "is no study folder")
    StudyFolder(here / "small").create(study_config())
    assert_refused(run("dashboard", "small"), "has not begun", "qar resume small")


def test_dashboard_of_a_running_study_says_that_its_database_is_away(here: Path) -> None:
    uri = f"sqlite:///{here}/nowhere/optuna.db"
    study = make_study(here / "small", study_config(trials=5, optuna_storage=uri), ended=False)
    driver = Ledger(study.ledger)
    assert_refused(run("dashboard", "small", "--trust-addresses"), f"Optuna's storage {uri} can't be read: ")
    driver.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("ended", [True, False])
def test_resume_extends_only_a_study_that_is_finished(ended: bool, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(here / "small", ended=ended)
    before = files_below(here)
    asked: list[StudyConfig] = []
    monkeypatch.setattr("study.run.launch.connect", lambda *_: None)

    def finished(begun: StudyRun) -> StudyOutcome:
        asked.append(begun.config)
        return StudyOutcome(folder=begun.folder, state=Liveliness.FINISHED, next_steps="")

    monkeypatch.setattr("study.run.launch.run_and_report", finished)
    result = run("resume", "small", "--trials", "7")
    if ended:
        assert result.exit_code == 0
        assert (asked[0].trials, study.read_config().trials) == (12, 12)
    else:
        assert_refused(result, "--trials extends a study that has finished, got 7 for small (died); finish it first")
        assert files_below(here) == before


def test_extension_that_could_not_begin_is_not_made_twice(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(here / "small")
    before = files_below(here)

    def refuse(*_: object) -> None:
        raise ValueError("resources.gpus must be at most 0 here, got 1; lower it")

    monkeypatch.setattr("study.run.launch.connect", refuse)
    assert_refused(run("resume", "small", "--trials", "7"), "resources.gpus must be at most 0")
    assert files_below(here) == before, "nothing is written"

    monkeypatch.undo()
    monkeypatch.chdir(here)
    study.change_config(lambda config, _: config.model_copy(update={"trials": 12}), print)  # and then its driver died
    refused = run("resume", "small", "--trials", "7")
    assert_refused(
        refused, "--trials extends a study that has finished, got 7 for small (interrupted); finish it first"
    )
    assert study.read_config().trials == 12


def test_resume_does_not_extend_a_confirmation(here: Path) -> None:
    """A plan has no more trials, and a search must not look at the test split."""
    lengths = {"regularize_epochs": 3, "finetune_epochs": 1}
    plan = [{"family": "none", "num_levels": 4, "placement": "kmeans"}]
    config = study_config(plan=plan, trials=5, replicates=5, trial=lengths | {"evaluate_test": True})
    make_study(here / "small", config)
    before = files_below(here)
    refused = run("resume", "small", "--trials", "7")
    assert_refused(
        refused, "--trials extends a search, got 7 for small, which runs a plan", "qar confirm STUDY --seeds N"
    )
    assert files_below(here) == before


def test_resume_refuses_to_extend_by_nothing(tmp_path: Path) -> None:
    make_study(tmp_path / "small")
    done = run_process("resume", "small", "--trials", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'--trials'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_resume_writes_tables_anew_as_the_message_promises(tmp_path: Path) -> None:
    """A damaged one, and the missing one of a study whose driver was killed after its last trial and before its tables.

    Brackets, which are markup to some terminals' libraries, are no reason to lose a part of a path that is printed.
    """
    folder = tmp_path / "run[red]" / "small"
    study = make_study(folder)
    content = {path: path.read_bytes() for path in (study.trials, study.epochs)}
    study.trials.unlink()
    study.epochs.write_bytes(content[study.epochs][:100])
    done = run_process("resume", folder, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path: path.read_bytes() for path in content} == content
    assert f"qar report '{folder}'" in done.stdout
    assert f"plot: {folder}/report/figures/front.pdf" in done.stdout


def test_report_goes_where_it_is_asked_to(here: Path) -> None:
    make_study(here / "small")
    result = run("report", "small", "--out", "elsewhere/deep", "--formats", "svg,png")
    assert (result.exit_code, result.stderr) == (0, "")
    names = set(files_below(here / "elsewhere" / "deep"))
    assert {"figures/front.svg", "figures/front-wide.png", "table-accuracy.tex", "front.csv", "summary.json"} <= names
    assert not (here / "small" / "report").exists()
    assert "figures: elsewhere/deep/figures" in result.stdout


def test_report_of_several_studies_goes_to_a_folder_of_its_own(here: Path) -> None:
    make_study(here / "a", study_config(trials=5, name="one"))
    make_study(here / "b", study_config(trials=5, name="two"))
    result = run("report", "a", "b", "--formats", "svg")
    assert (result.exit_code, result.stderr) == (0, "")
    assert {"figures/studies.svg", "table-studies.tex", "one/figures/front.svg"} <= set(files_below(here / "report"))


def test_report_takes_the_style_of_the_user(here: Path) -> None:
    make_study(here / "small")
    (here / "mine.mplstyle").write_text("svg.fonttype: none\nfont.serif: Nimbus\n")
    result = run("report", "small", "--formats", "svg", "--style", "mine.mplstyle")
    assert (result.exit_code, result.stderr) == (0, "")
    (line,) = [line for line in result.stdout.splitlines() if "Nimbus" in line]
    assert line.startswith("style: ")
    assert "Nimbus" in (here / "small" / "report" / "figures" / "front.svg").read_text()


def test_report_with_a_part_that_failed_exits_with_1(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(here / "small")
    monkeypatch.setattr("analysis.report.tables.sizes.sizes", lambda trials: 1 / 0)
    result = run("report", "small", "--formats", "png")
    assert result.exit_code == 1
    assert result.stderr == "qar: table sizes failed: ZeroDivisionError: division by zero\n"
    assert "front of the search" in result.stdout
    assert Path("small/report/figures/front.png").exists()


@pytest.mark.parametrize("part", ["report.read_study", "report.text_of", "figures.fronts.plot_front"])
def test_study_that_was_trained_never_fails_for_its_report(
    part: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(here / "small")
    monkeypatch.setattr(f"analysis.report.{part}", lambda *arguments, **options: 1 / 0)
    result = run("resume", "small")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("qar: warning: ")
    assert "division by zero" in line


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_output_without_a_letter_of_ours_shows_a_question_mark(encoding: str, tmp_path: Path) -> None:
    make_study(tmp_path / "small")
    command = [sys.executable, "-m", "study.cli", "status", "small"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert ("λ" if encoding == "utf-8" else " ? ") in done.stdout.decode(encoding)


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense"])
def test_report_needs_no_backend_of_the_caller(backend: str, tmp_path: Path) -> None:
    """A Jupyter kernel hands its own to the commands that it starts."""
    make_study(tmp_path / "small")
    command = [sys.executable, "-m", "study.cli", "report", "small", "--formats", "png"]
    environment = os.environ | {"MPLBACKEND": backend}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_report_needs_the_tables_alone(here: Path) -> None:
    """A study copied to a laptop without its ledger and checkpoints."""
    study = make_study(here / "small")
    study.ledger.unlink()
    study.epochs.unlink()
    result = run("report", "small", "--formats", "svg")
    assert result.exit_code == 0
    assert "figure curves (small has no epochs.parquet)" in result.stdout


def test_overrides_that_have_no_effect_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    """An existing study has its own configuration; who asks for another has to be told, or refused."""
    make_study(tmp_path / "studies" / "digits")
    done = run_process("launch", "digits", "--resume-if-exists", "--trials", "99", cwd=tmp_path)
    assert "trials" in done.stderr


def test_status_of_an_interrupted_study_says_what_is_to_resume_and_how(here: Path) -> None:
    make_study(here / "my study", ended=False)
    result = run("status", "my study")
    assert "4 of 5 trials: 3 COMPLETE, 1 PRUNED, 1 to resume" in result.stdout
    assert "RUNNING" not in result.stdout
    assert "trial 4: 0 of 4 epochs trained" in result.stdout
    assert " to go" in result.stdout.splitlines()[0]
    assert result.stdout.splitlines()[-1] == "continue with: qar resume 'my study'"
    told = json.loads(run("status", "my study", "--json").stdout)
    assert (told["RUNNING"], told["to_resume"]) == (0, 1)
    assert told["seconds_left"] >= 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["launch", "digits", "--storage", "s3://bucket/x?secret_key=hunter2"],
        ["launch", "digits", "--address", "ray://u:hunter2@host:10001"],
        ["launch", "digits", "--set", "optuna_storage=postgresql://h/db?password=hunter2"],
        ["launch", "s3://k:hunter2@bucket/x"],
        ["doctor", "--storage", "s3://k:hunter2@bucket/x"],
        ["status", "s3://k:hunter2@bucket/x"],
        ["resume", "s3://bucket/x?token=hunter2"],
        ["report", "small", "s3://bucket/x?token=hunter2"],
        ["export", "s3://bucket/x?token=hunter2", "--trial", "1", "--out", "x.qar"],
        ["evaluate", "x.qar", "--data-dir", "s3://bucket/x?token=hunter2"],
    ],
    ids=" ".join,
)
def test_credentials_on_the_command_line_are_refused_and_not_repeated(arguments: list[str], here: Path) -> None:
    result = run(*arguments)
    assert_refused(result)
    assert "hunter2" not in result.output
    assert files_below(here) == {}


def test_version_and_help_have_their_usual_names() -> None:
    assert run("--version").stdout.startswith("qar ")
    assert run("-h").stdout == run("--help").stdout
    assert run("launch", "-h").stdout == run("launch", "--help").stdout


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), "free space"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "give the right"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), "put it there"),
        (URLError("Name or service not known"), "check the network"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "check the network"),
    ],
)
def test_remedy_is_that_of_the_error(error: OSError, remedy: str) -> None:
    line = os_error_line(error)
    assert remedy in line
    assert ("free space" in line) == (remedy == "free space")
