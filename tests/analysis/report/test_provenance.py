"""provenance.json: every point, where it comes from, and the command to get it again."""

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from typer.main import get_command

from analysis.origin import read_origin
from analysis.report.figures import FIGURES, points_of_figures
from analysis.report.findings import Findings, load_findings
from analysis.report.format import Format
from analysis.report.provenance import write_provenance
from analysis.report.report import write_comparison, write_report
from analysis.study import read_studies
from study.cli import app
from study.commands.importance import hyperparameter_importances
from study.ledger.facts import SESSION_STARTED
from study.ledger.ledger import Ledger
from study.records.tables import write_tables
from tests.support.example_studies import (
    PROVENANCE,
    confirm_study,
    make_explored_study,
    make_study,
    start_session,
    study_config,
    train,
    trials_frame,
    write_tables_of,
)
from tests.support.few_figures import keep_figures
from trainables.config import TrialConfig
from trainables.errors import DamagedFileError


def told(*studies: Path, out: Path, **figures: dict[str, list[str]]) -> dict[str, Any]:
    return json.loads(write_provenance(read_studies(studies), out, figures).read_text())


def test_every_trial_with_an_epoch_is_told_once(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "explored")
    confirmation = confirm_study(study)
    points = told(study.path, out=tmp_path)["trials"]
    by_study = [point["study"] for point in points]
    assert by_study == ["explored"] * 19 + ["explored-confirm"] * 3 * len(confirmation.read_config().plan)
    assert len({point["trial_id"] for point in points}) == len(points)


def test_point_tells_its_whole_configuration(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "explored")
    content = told(study.path, out=tmp_path)
    (common,) = (one["configuration"] for one in content["studies"])
    point = content["trials"][5]
    given = {name: value for name, value in point["configuration"].items() if value is not None}
    config = TrialConfig.from_dict(common | given)
    assert config.hash == point["config_hash"]
    assert (config.seed, point["seed"], config.num_levels) == (0, 0, 4)


def test_point_tells_where_it_comes_from(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "explored")
    point = told(study.path, out=tmp_path)["trials"][1]
    assert (point["sessions"], point["device"], point["host"]) == ([1], "cpu", "node-1")
    assert point["commits"] == [{"git_sha": None, "git_dirty": None}]
    assert point["checkpoint"] == f"{study.path}/ray/session-001/1/checkpoint_000003"


def test_point_tells_the_float_network_that_it_begins_from(tmp_path: Path) -> None:
    scratch = make_study(tmp_path / "scratch")
    assert {point["initial_weights"] for point in told(scratch.path, out=tmp_path)["trials"]} == {None}
    trial = {"regularize_epochs": 3, "finetune_epochs": 1, "init": "pretrained"}
    pretrained = make_study(tmp_path / "pretrained", study_config(trial=trial))
    (where,) = {point["initial_weights"] for point in told(pretrained.path, out=tmp_path)["trials"]}
    assert where == str(pretrained.baseline(0)), "where the study keeps it"


def test_trial_that_was_resumed_tells_both_commits(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small", ended=False)
    ledger = Ledger(study.ledger)
    train(ledger, 4, 1)
    here = PROVENANCE | {"git_sha": "f" * 40, "git_dirty": True, "command": "qar resume small"}
    ledger.record(SESSION_STARTED, session=2, pid=1, hostname="head", provenance=here)
    train(ledger, 4, 0)
    start_session(ledger)
    write_tables(study, ledger.history)
    point = told(study.path, out=tmp_path)["trials"][-1]
    assert (point["number"], point["sessions"]) == (4, [1])
    ledger.record("epoch", number=4, metrics=ledger.history.trials[4].last | {"epoch": 2})
    ledger.close()
    write_tables(study, ledger.history)
    assert told(study.path, out=tmp_path)["trials"][-1]["sessions"] == [1, 3]


def test_commands_are_ones_that_qar_has(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "with space")
    commands: Any = get_command(app)
    for point in told(study.path, out=tmp_path)["trials"]:
        for command in (point["reproduce"], point["export"]):
            program, name, folder, *options = shlex.split(command)
            assert (program, folder) == ("qar", str(study.path))
            known = {option for parameter in commands.commands[name].params for option in parameter.opts}
            assert {option for option in options if option.startswith("--")} <= known
            assert options[1] == str(point["number"])


def test_page_and_provenance_call_a_working_copy_by_what_it_is_a_copy_of(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "copy" / "explored")
    confirm_study(study)

    def named(path: Path) -> str:
        return f"s3://bucket/{path.relative_to(study.path.parent).as_posix()}?region=here&scheme=http"

    format = Format(suffixes=(), named=named)
    write_report(study.path, tmp_path / "report", format=format)
    write_comparison([study.path, make_study(study.path.parent / "small").path], tmp_path / "several", format=format)
    written = [path for name in ("report", "several") for path in (tmp_path / name).rglob("*")]
    for path in written:
        assert path.suffix not in (".html", ".json") or str(study.path.parent) not in path.read_text(), path
    content = json.loads((tmp_path / "report" / "provenance.json").read_text())
    addresses = [f"s3://bucket/explored{part}?region=here&scheme=http" for part in ("", "/confirm")]
    assert [of["folder"] for of in content["studies"]] == addresses
    for point in content["trials"]:
        assert shlex.split(point["reproduce"])[2] == shlex.split(point["export"])[2]
        assert shlex.split(point["reproduce"])[2] in addresses
    checkpoint = content["trials"][1]["checkpoint"]
    assert checkpoint == "s3://bucket/explored/ray/session-001/1/checkpoint_000003?region=here&scheme=http"


@pytest.mark.parametrize("rows", [(), ({"epochs": 4},)])
def test_study_of_an_older_version_has_what_is_known(rows: tuple[dict[str, Any], ...], tmp_path: Path) -> None:
    """No study.json, no sessions, no checkpoints."""
    write_tables_of(tmp_path / "old", trials_frame(*rows))
    points = told(tmp_path / "old", out=tmp_path)["trials"]
    assert [(point["sessions"], point["commits"], point["checkpoint"]) for point in points] == [([], [], None)] * len(
        rows
    )


@pytest.mark.parametrize(("name", "content"), [("study.json", "{"), ("study.json", "[]"), ("study.yaml", "a: [")])
def test_damaged_file_is_named(name: str, content: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small").path
    (study / name).write_text(content)
    with pytest.raises(DamagedFileError, match=rf"^[^\n]*{name} is damaged[^\n]*$"):
        read_origin(study)


@pytest.fixture(scope="module")
def confirmed_findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    study = make_explored_study(tmp_path_factory.mktemp("study") / "explored")
    confirm_study(study)
    return load_findings(study.path, hyperparameter_importances)


def drawn_points(name: str, findings: Findings) -> set[tuple[float, float]]:
    """Coordinates of the marks in the last panel of a figure, which is that after tuning."""
    axes = Figure().subplots(FIGURES[name].panels(findings), squeeze=False).ravel()
    FIGURES[name].draw(findings, list(axes))
    offsets = [point for marks in axes[-1].collections for point in marks.get_offsets().tolist()]
    return {(round(x, 9), round(y, 9)) for x, y in offsets}


def test_every_figure_of_a_report_names_its_points(confirmed_findings: Findings, tmp_path: Path) -> None:
    report = write_report(
        confirmed_findings.folder,
        tmp_path / "report",
        format=Format(suffixes=("svg",)),
        importances=hyperparameter_importances,
    )
    content = json.loads((tmp_path / "report" / "provenance.json").read_text())
    written = {path.stem.removesuffix("-wide") for path in report.files if path.suffix == ".svg"}
    assert set(content["figures"]) == written == set(FIGURES) - {"layers"}  # whose bits the example does not tell apart
    known = {(point["study"], point["trial_id"]) for point in content["trials"]}
    for points in content["figures"].values():
        shown = {(study, trial_id) for study, trial_ids in points.items() for trial_id in trial_ids}
        assert shown
        assert shown <= known


def test_figure_that_is_missing_has_no_points(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "explored")
    report = write_report(study.path, tmp_path / "report", format=Format(suffixes=("svg",)))
    content = json.loads((tmp_path / "report" / "provenance.json").read_text())
    written = {path.stem.removesuffix("-wide") for path in report.files if path.suffix == ".svg"}
    assert set(content["figures"]) == written < set(FIGURES)


@pytest.mark.parametrize(
    ("name", "studies"),
    [
        *((name, ["explored"]) for name in ("front", "curves", "importances")),
        *((name, ["explored-confirm"]) for name in ("attainment", "gains", "improvements")),
        ("confirmed", ["explored", "explored-confirm"]),
    ],
)
def test_points_are_of_the_search_or_of_its_confirmation(
    name: str, studies: list[str], confirmed_findings: Findings
) -> None:
    assert sorted(points_of_figures(confirmed_findings)[name]) == studies


def test_marks_of_the_front_are_of_the_trials_that_are_named(confirmed_findings: Findings) -> None:
    trials = confirmed_findings.trials.set_index("trial_id")
    named = trials.loc[points_of_figures(confirmed_findings)["front"]["explored"]]
    of_marks = named[named["num_levels"].notna()]
    expected = {
        (round(x, 9), round(y, 9)) for x, y in zip(of_marks["bits_per_weight"], of_marks["val_accuracy"], strict=True)
    }
    assert drawn_points("front", confirmed_findings) == expected
    assert confirmed_findings.trials["num_levels"].isna().sum() == len(named) - len(of_marks) == 1


def test_curves_are_of_the_trials_that_are_named(confirmed_findings: Findings) -> None:
    ax = Figure().subplots()
    FIGURES["curves"].draw(confirmed_findings, [ax])
    lines = sum(len(lines.get_paths()) for lines in ax.collections)
    assert lines == len(points_of_figures(confirmed_findings)["curves"]["explored"]) == 18


@pytest.mark.parametrize("names", [("one", "other"), ("same", "same")])
def test_figures_of_several_studies_name_their_points(
    names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Studies of the same name go by those of their folders."""
    keep_figures(monkeypatch)  # only those of the comparison
    folders = ("one", "other")
    studies = [make_explored_study(tmp_path / folder, name) for folder, name in zip(folders, names, strict=True)]
    for study in studies:
        confirm_study(study)
    write_comparison([study.path for study in studies], tmp_path / "both", format=Format(suffixes=("svg",)))
    content = json.loads((tmp_path / "both" / "provenance.json").read_text())
    written = (path.stem for path in (tmp_path / "both" / "figures").glob("*.svg"))
    assert set(content["figures"]) == {name for name in written if not name.endswith("-wide")}
    known = Counter((point["study"], point["trial_id"]) for point in content["trials"])
    assert set(known.values()) == {1}
    for name, points in content["figures"].items():
        confirm = "" if name in ("studies", "studies-hypervolume") else "-confirm"
        assert list(points) == [f"one{confirm}", f"other{confirm}"]
        assert {(study, trial_id) for study, trial_ids in points.items() for trial_id in trial_ids} <= set(known)
    page = (tmp_path / "both" / "report.html").read_text()
    assert "Report of one and other" in page


def test_point_tells_its_environment(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "explored")
    for point in told(study.path, out=tmp_path)["trials"]:
        assert point["environments"] == [{"versions": {"python": "3.11"}, "platform": "Linux"}]
