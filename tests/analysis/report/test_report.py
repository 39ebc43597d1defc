"""The report: clear whatever became of the study, and the same each time."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.load import load_trials
from analysis.plots.elements.style import available_formats
from analysis.report.figures import FIGURES, WIDTHS
from analysis.report.findings import load_findings
from analysis.report.format import Format
from analysis.report.report import Report, write_brief_report, write_comparison, write_report
from analysis.report.summary import summarize
from analysis.report.tables import TABLES, studies_table
from analysis.report.tables.accuracies import accuracy_table
from analysis.statistics.pareto import REFERENCE, front, hypervolume
from study.commands.importance import hyperparameter_importances
from study.storage.folder import StudyFolder
from tests.support.example_studies import (
    confirm_study,
    confirmed_rows,
    files_below,
    make_explored_study,
    make_study,
    searched_frame,
    trials_frame,
    write_confirmed_study,
    write_tables_of,
)
from tests.support.few_figures import keep_figures
from trainables.errors import DamagedFileError
from trainables.result import TrialState

BRIEF_FILES = {"figures/front.pdf", "figures/front.svg", "figures/front.png", "front.csv", "summary.json"}
SVG = Format(suffixes=("svg",))
NO_FIGURES = Format(suffixes=())

FAILED: dict[str, Any] = {
    "state": TrialState.FAIL,
    "val_accuracy": None,
    "bits_per_weight": None,
    "failure": "it broke",
}
BASELINE: dict[str, Any] = {
    "family": "none",
    "num_levels": None,
    "lam": None,
    "placement": None,
    "bits_per_weight": 32.0,
}


def report_of(folder: Path, *rows: dict[str, Any]) -> Report:
    write_tables_of(folder, trials_frame(*rows))
    return write_brief_report(folder, folder / "report")


def files_of(report: Report, out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in report.files}


def test_brief_report_of_a_study_says_and_writes_it_all(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small").path
    report = write_brief_report(study, study / "report")
    assert files_of(report, study / "report") == set(files_below(study / "report")) == BRIEF_FILES
    assert all(path.stat().st_size for path in report.files)
    text = report.text
    assert "5 trials: 3 COMPLETE, 1 PRUNED, 1 FAIL" in text
    assert "not finished" not in text
    assert "float baseline: validation accuracy 0.9700" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["*", "1.30", "0.8000", "0.4000", "none", "2", "–", "kmeans", "small-00001"] in rows
    assert ["3.30", "0.9500", "0.4000", "RE", "8", "0.001", "own", "small-00002"] in rows
    assert "small-00003" not in text  # PRUNED
    assert f"hypervolume {hypervolume(load_trials(study)):.4f}" in text
    assert str(study / "report" / "figures" / "front.pdf") in text
    assert "front.pdf (also .svg and .png)" in text
    assert "are older" not in text
    (study / "report" / "provenance.json").write_text("{}")
    assert "are older; update them with qar report" in write_brief_report(study, study / "report").text


def test_text_shows_each_point_of_the_front_once_and_counts_trials_there(tmp_path: Path) -> None:
    points = [(2.0, 0.8), (2.0, 0.8), (2.0, 0.8), (3.0, 0.9), (4.0, 0.9)]
    rows = [{"bits_per_weight": bits, "val_accuracy": accuracy} for bits, accuracy in points]
    text = report_of(tmp_path / "small", *rows).text
    shown = [line.split() for line in text.splitlines() if "small-0000" in line]
    assert [line[-1] for line in shown] == ["small-00000", "small-00003"]
    assert "\ntrials with the same results as one of these: 2, in front.csv\n" in text
    assert len(pd.read_csv(tmp_path / "small" / "report" / "front.csv")) == 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """The whole report of a confirmed study, in every format, and where it is."""
    study = tmp_path_factory.mktemp("whole") / "small"
    write_confirmed_study(study)
    return write_report(study, study / "report", importances=hyperparameter_importances), study / "report"


def test_whole_report_has_every_figure_in_every_format_and_width(whole: tuple[Report, Path]) -> None:
    report, out = whole
    drawn = set(FIGURES) - {"curves", "importances"}  # there is no epoch, and no more than a few trials
    expected = {
        f"figures/{name}{width}.{suffix}" for name in drawn for width in WIDTHS for suffix in available_formats()
    }
    assert {name for name in files_of(report, out) if name.startswith("figures/")} == expected | {
        f"figures/curves{width}.{suffix}" for width in WIDTHS for suffix in available_formats()
    }
    assert files_of(report, out) == set(files_below(out))
    assert "omitted: figure importances, table importances (too few finished trials" in report.text


def test_whole_report_has_every_table_for_latex_and_as_csv(whole: tuple[Report, Path]) -> None:
    report, out = whole
    names = {path.stem for path in report.files if path.name.startswith("table-")}
    lacking = {"importances", "before-tuning"}  # too few trials; no accuracies by the statistics of batch normalization
    assert names == {f"table-{name}" for name in TABLES if name not in lacking}
    for name in names:
        assert "\\toprule" in (out / f"{name}.tex").read_text()
        assert len(pd.read_csv(out / f"{name}.csv"))


def test_whole_report_tells_the_confirmed_results_and_the_optimism(whole: tuple[Report, Path]) -> None:
    report, out = whole
    assert "front of the search" in report.text
    assert "confirmed under fresh seeds, on the test split:" in report.text
    summary = json.loads((out / "summary.json").read_text())
    assert summary["confirmed"] == 7
    assert f"optimism of the search: validation minus test accuracy {summary['optimism']:+.4f}" in report.text


def test_figures_stay_small(whole: tuple[Report, Path]) -> None:
    report, _ = whole
    assert max(path.stat().st_size for path in report.files) < 500_000


def test_figures_can_be_left_to_one_format_or_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_figures(monkeypatch, "front", "confirmed")
    for name in ("one", "two"):
        write_confirmed_study(tmp_path / name)
    report = write_report(tmp_path / "one", tmp_path / "out", format=SVG)
    others = {".csv", ".tex", ".json", ".html"}
    assert {path.suffix for path in report.files} == {".svg", *others}
    assert "figures: " in report.text
    for bare in (
        write_report(tmp_path / "one", tmp_path / "bare", format=NO_FIGURES),
        write_comparison([tmp_path / "one", tmp_path / "two"], tmp_path / "both", format=NO_FIGURES),
    ):
        assert {path.suffix for path in bare.files} == others
        assert "figures: " not in bare.text
        assert "figure " not in bare.text
        assert bare.failures == ()
    assert not list(tmp_path.glob("b*/**/figures"))


@pytest.mark.parametrize(
    ("format", "rule"),
    [
        (Format(suffixes=("jpg",)), r"^unknown formats \['jpg'\]; choose from \['pgf', 'pdf', 'svg', 'png'\]$"),
        (Format(style=Path("nosuch.mplstyle")), r"^style nosuch.mplstyle can't be used: [^\n]*paper.mplstyle$"),
    ],
)
def test_wrong_format_is_refused_before_anything_is_written(format: Format, rule: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small").path
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match=rule):
        write_report(study, study / "report", format=format)
    assert files_below(tmp_path) == before


def test_report_of_no_trial_is_clear(tmp_path: Path) -> None:
    text = report_of(tmp_path).text
    assert text.splitlines()[0] == "0 trials"
    assert "no front yet" in text
    assert "nan" not in text.lower()


EDGE_CASES: dict[str, tuple[dict[str, Any], ...]] = {
    "no trial": (),
    "one trial": ({},),
    "baseline alone": (BASELINE,),
    "all failed": (FAILED, FAILED),
    "none complete": ({"state": TrialState.PRUNED, "epochs": 2}, {"state": TrialState.RUNNING, "epochs": 1}),
    "one family": tuple({"num_levels": levels, "bits_per_weight": levels / 2} for levels in (2, 4, 8)),
    "ties": ({}, {}, {"family": "RE"}, {"family": "none", "lam": None}),
    "NaN metrics": ({"val_accuracy": None}, {"bits_per_weight": None}, {"val_accuracy_pre_tuning": None}),
}


@pytest.mark.parametrize("rows", EDGE_CASES.values(), ids=EDGE_CASES)
def test_whole_report_of_an_edge_case_says_what_is_missing_and_why(
    rows: tuple[dict[str, Any], ...], tmp_path: Path
) -> None:
    write_tables_of(tmp_path / "small", trials_frame(*rows))
    report = write_report(tmp_path / "small", tmp_path / "out", format=SVG, importances=hyperparameter_importances)
    assert all(path.stat().st_size for path in report.files)
    assert {"figures/front.svg", "figures/front-wide.svg", "front.csv"} <= files_of(report, tmp_path / "out")
    drawn = {path.stem.removesuffix("-wide") for path in report.files if path.parent.name == "figures"}
    (line,) = [line for line in report.text.splitlines() if line.startswith("omitted: ")]
    assert set(re.findall(r"figure (\w+)", line)) == set(FIGURES) - drawn
    assert "no configuration was confirmed; run: qar confirm" in line
    assert report.failures == ()
    assert "nan" not in report.text.lower().replace("provenance", "")


def breaking(*arguments: object, **options: object) -> Any:
    raise RuntimeError("it\nbroke")


def test_figure_or_table_that_fails_ends_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All others are written as without the failure, and the failures are told, one line for each reason."""
    write_confirmed_study(tmp_path / "small")
    whole = write_report(tmp_path / "small", tmp_path / "whole", format=SVG)
    monkeypatch.setitem(FIGURES, "front", replace(FIGURES["front"], draw=breaking))
    monkeypatch.setitem(FIGURES, "gains", replace(FIGURES["gains"], shows=breaking))
    monkeypatch.setitem(TABLES, "sizes", breaking)
    report = write_report(tmp_path / "small", tmp_path / "out", format=SVG)
    assert report.failures == ("figure front, figure gains, table sizes failed: RuntimeError: it broke",)
    lost = {f"figures/{name}{width}.svg" for name in ("front", "gains") for width in WIDTHS}
    lost |= {"table-sizes.tex", "table-sizes.csv"}
    assert files_of(report, tmp_path / "out") == files_of(whole, tmp_path / "whole") - lost
    assert report.text.replace(str(tmp_path / "out"), str(tmp_path / "whole")) == whole.text


@pytest.mark.parametrize("part", ["html.page_of", "writers.summarize", "report.text_of", "writers.front"])
def test_file_that_fails_ends_no_report(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_confirmed_study(tmp_path / "small")
    keep_figures(monkeypatch, "confirmed")
    monkeypatch.setattr(f"analysis.report.{part}", breaking)
    report = write_report(tmp_path / "small", tmp_path / "out", format=Format(suffixes=("png",)))
    (failure,) = report.failures
    assert failure.endswith(" failed: RuntimeError: it broke")
    assert "figures/confirmed.png" in files_of(report, tmp_path / "out")


def test_importances_that_fail_end_no_report(tmp_path: Path) -> None:
    write_confirmed_study(tmp_path / "small")
    report = write_report(tmp_path / "small", tmp_path / "out", format=SVG, importances=breaking)
    assert report.failures == ("figure importances, table importances failed: RuntimeError: it broke",)


def test_figure_that_fails_ends_no_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        write_confirmed_study(tmp_path / name)
    keep_figures(monkeypatch, "front")
    monkeypatch.setattr("analysis.report.figures.studies.plot_studies", breaking)
    report = write_comparison([tmp_path / "one", tmp_path / "two"], tmp_path / "out", format=SVG)
    assert report.failures == ("figure studies, figure studies-confirmed failed: RuntimeError: it broke",)
    assert {"table-studies.tex", "report.html", "figures/studies-attainment.svg"} <= files_of(report, tmp_path / "out")


def test_each_table_of_a_study_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_confirmed_study(tmp_path / "small")
    read: list[str] = []

    class Counted(pq.ParquetFile):
        def __init__(self, path: Path, **options: Any) -> None:
            read.append(str(path.relative_to(tmp_path)))
            super().__init__(path, **options)

    monkeypatch.setattr("trainables.files.tables.pq.ParquetFile", Counted)
    write_report(tmp_path / "small", tmp_path / "out", format=Format(suffixes=("png",)))
    tables = ("trials.parquet", "epochs.parquet", "confirm/trials.parquet", "confirm/epochs.parquet")
    assert sorted(read) == sorted(f"small/{table}" for table in tables)


@pytest.mark.parametrize(
    ("row", "state"),
    [({"state": TrialState.RUNNING}, "RUNNING"), ({"state": TrialState.PRUNED}, "PRUNED"), (FAILED, "FAIL")],
)
def test_report_of_no_complete_trial_is_clear(row: dict[str, Any], state: str, tmp_path: Path) -> None:
    text = report_of(tmp_path, row, row).text
    assert text.splitlines()[0] == f"2 trials: 2 {state}"
    assert "no front yet" in text
    assert "baseline" not in text
    assert "nan" not in text.lower()


def test_report_of_all_failed_says_why(tmp_path: Path) -> None:
    assert "it broke" in report_of(tmp_path, FAILED, FAILED).text


def test_report_of_a_study_that_is_not_finished_says_so(tmp_path: Path) -> None:
    write_confirmed_study(tmp_path)
    with (tmp_path / "study.yaml").open("a") as file:
        file.write("trials: 40\n")
    with (tmp_path / "confirm" / "study.yaml").open("a") as file:
        file.write("trials: 50\n")
    text = write_brief_report(tmp_path, tmp_path / "report").text
    assert "not finished: 10 of 40 trials have ended; only these are reported" in text
    assert "the confirmation is not finished: 21 of 50 trials have ended" in text
    assert not json.loads((tmp_path / "report" / "summary.json").read_text())["finished"]
    assert "not finished: 1 trials have ended" in report_of(tmp_path / "other", {}, {"state": TrialState.RUNNING}).text


def test_report_of_one_trial_has_a_front_of_one(tmp_path: Path) -> None:
    report = report_of(tmp_path, {})
    assert report.text.splitlines()[0].startswith("1 trial")
    assert "small-00000" in report.text
    assert summarize(load_findings(tmp_path))["front_size"] == 1


def test_report_of_the_baseline_alone_has_no_front(tmp_path: Path) -> None:
    text = report_of(tmp_path, BASELINE).text
    assert "float baseline: validation accuracy 0.5000" in text
    assert "no front yet" in text


def test_front_csv_holds_the_front(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small").path
    write_brief_report(study, tmp_path / "out")
    written = pd.read_csv(tmp_path / "out" / "front.csv")
    expected = front(load_trials(study))
    assert list(written.columns) == list(expected.columns)
    assert list(written["trial_id"]) == ["small-00001", "small-00002"]
    assert list(written["val_accuracy"]) == list(expected["val_accuracy"])


def test_summary_json_is_the_study_in_short(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small").path
    write_brief_report(study, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == {
        "finished": True,
        "trials": 5,
        "COMPLETE": 3,
        "PRUNED": 1,
        "FAIL": 1,
        "RUNNING": 0,
        "float_baseline_val_accuracy": 0.97,
        "front_size": 2,
        "knee": "small-00001",
        "hypervolume": pytest.approx((0.8 * 2.0 + 0.95 * 28.7) / 32),
        "hypervolume_reference": {"val_accuracy": REFERENCE[0], "bits_per_weight": REFERENCE[1]},
        "confirmed": 0,
        "optimism": None,
    }


@pytest.mark.parametrize("rows", [(), (FAILED,), (BASELINE,)], ids=["no trial", "failed", "baseline"])
def test_summary_json_is_strict_json_without_a_front(rows: tuple[dict[str, Any], ...], tmp_path: Path) -> None:
    report_of(tmp_path, *rows)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    summary = json.loads((tmp_path / "report" / "summary.json").read_text(), parse_constant=refuse)
    assert (summary["front_size"], summary["hypervolume"], summary["knee"]) == (0, 0.0, None)


def test_report_repeated_is_identical(tmp_path: Path) -> None:
    write_confirmed_study(tmp_path / "small")
    format = Format(suffixes=("pdf", "svg"))
    contents = []
    for name in ("once", "again"):
        write_report(tmp_path / "small", tmp_path / name, format=format)
        contents.append(files_below(tmp_path / name))
    assert contents[0] == contents[1]


@pytest.mark.parametrize("out", ["file", "file/report"])
def test_report_that_cant_be_written_is_refused_in_one_line(out: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small").path
    (tmp_path / "file").write_text("in the way")
    before = files_below(tmp_path)
    for write in (write_report, write_brief_report):
        with pytest.raises(ValueError, match=r"^[^\n]*can't be written[^\n]*--out$") as refusal:
            write(study, tmp_path / out)
        assert str(tmp_path / out) in str(refusal.value)
    assert files_below(tmp_path) == before


def test_report_of_a_damaged_table_names_it_and_writes_nothing(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small")
    study.trials.write_bytes(b"PAR1 and no more")
    before = files_below(tmp_path)
    with pytest.raises(DamagedFileError, match=str(study.trials)):
        write_report(study.path, study.path / "report")
    assert files_below(tmp_path) == before


def test_long_front_is_shown_whole(tmp_path: Path) -> None:
    rows = [{"val_accuracy": number / 200, "bits_per_weight": 1 + number / 10} for number in range(150)]
    text = report_of(tmp_path, *rows).text
    assert all(f"small-{number:05d}" in text for number in range(150))
    assert "..." not in text


def test_very_long_front_is_cut_and_says_so(tmp_path: Path) -> None:
    rows = [{"val_accuracy": number / 500, "bits_per_weight": 1 + number / 10} for number in range(300)]
    assert "… and 100 more in front.csv" in report_of(tmp_path, *rows).text


def test_studies_are_compared_in_figures_and_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_figures(monkeypatch, "front")
    for name, seeds in (("one", 3), ("two", 4)):
        write_confirmed_study(tmp_path / name, seeds)
        (tmp_path / name / "study.yaml").write_text(f"name: {name}\n")
    report = write_comparison([tmp_path / "one", tmp_path / "two"], tmp_path / "out", format=SVG)
    files = files_of(report, tmp_path / "out")
    for name in ("studies", "studies-confirmed", "studies-attainment"):
        assert {f"figures/{name}{width}.svg" for width in WIDTHS} <= files
    assert {"table-studies.tex", "table-studies.csv", "one/table-accuracy.tex", "two/figures/front.svg"} <= files
    table = pd.read_csv(tmp_path / "out" / "table-studies.csv")
    assert table["study"].tolist() == ["one", "two"]
    assert table["hypervolume"].tolist() == [hypervolume(searched_frame())] * 2
    assert "comparison of studies:" in report.text


def test_fronts_of_two_seeds_have_no_median(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_figures(monkeypatch, "attainment", "difference")
    for name, seeds in (("one", 2), ("two", 3)):
        write_confirmed_study(tmp_path / name, seeds)
    report = write_comparison([tmp_path / "one", tmp_path / "two"], tmp_path / "out", format=SVG)
    compared = {path.stem for path in report.files if path.name.startswith("studies")}
    shown = ("studies", "studies-confirmed", "studies-hypervolume")
    assert compared == {f"{name}{suffix}" for name in shown for suffix in WIDTHS}
    omitted = "figure attainment, figure difference (the median needs at least 3 seeds of each configuration)"
    assert f"one: omitted: {omitted}" in report.text


def test_report_of_a_confirmation_alone_is_refused_with_the_way_to_it(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "explored")
    confirm_study(study)
    with pytest.raises(ValueError, match=rf"is a confirmation, .*; give {re.escape(str(study.path))}$"):
        write_report(study.confirmation.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_seed_against_another_tells_no_probability(tmp_path: Path) -> None:
    make_explored_study(tmp_path / "explored")
    write_report(tmp_path / "explored", tmp_path / "out", format=NO_FIGURES)
    table = pd.read_csv(tmp_path / "out" / "table-gains.csv")
    assert table["gain"].notna().all()
    assert table[["probability", "probability_low", "probability_high"]].isna().all(axis=None)
    assert "In brackets" not in (tmp_path / "out" / "table-gains.tex").read_text()


def test_configurations_that_the_search_has_not_seen_are_counted(tmp_path: Path) -> None:
    """`qar confirm --levels` plans such configurations of a family at a K without a complete trial of it."""
    search = searched_frame()
    write_tables_of(tmp_path / "study", search[search["config_hash"] != "RE-4"])
    write_tables_of(tmp_path / "study" / "confirm", trials_frame(*confirmed_rows()))
    write_report(tmp_path / "study", tmp_path / "out", format=NO_FIGURES)
    told = (tmp_path / "out" / "table-accuracy.tex").read_text()
    assert "; 1 of them at the nearest $K$, since it has no complete trial of the family there." in told
    assert "validation accuracy of 6 of the 7 confirmed configurations is 2.0 points above" in told
    write_confirmed_study(tmp_path / "whole")
    write_report(tmp_path / "whole", tmp_path / "all", format=NO_FIGURES)
    told = (tmp_path / "all" / "table-accuracy.tex").read_text()
    assert "nearest $K$" not in told
    assert "validation accuracy of the confirmed configurations is" in told


def test_studies_that_are_not_all_confirmed_are_compared_by_their_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_figures(monkeypatch, "confirmed")
    write_confirmed_study(tmp_path / "one")
    write_tables_of(tmp_path / "two", trials_frame())
    report = write_comparison([tmp_path / "one", tmp_path / "two"], tmp_path / "out", format=SVG)
    compared = {path.stem for path in report.files if path.name.startswith("studies")}
    assert compared == {"studies", "studies-wide"}
    assert re.search(r"two: omitted: [^\n]*figure confirmed[^\n]*\(no configuration was confirmed", report.text)


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (("one", "two"), ["one", "two"]),
        (("a/small", "b/small"), ["a/small", "b/small"]),
        (("a/x/small", "b/x/small", "b/y/small"), ["a/x/small", "b/x/small", "b/y/small"]),
    ],
)
def test_studies_of_the_same_name_are_named_by_as_much_of_their_paths_as_it_takes(
    folders: tuple[str, ...], names: list[str], tmp_path: Path
) -> None:
    for folder in folders:
        write_tables_of(tmp_path / folder, trials_frame({}))
    report = write_comparison([tmp_path / folder for folder in folders], tmp_path / "out", format=SVG)
    assert pd.read_csv(tmp_path / "out" / "table-studies.csv")["study"].tolist() == names
    for name in names:
        assert (tmp_path / "out" / name / "summary.json").exists()
        assert f"{name}\n{'=' * len(name)}\n" in report.text
    assert report.failures == ()


def test_study_given_twice_is_refused(tmp_path: Path) -> None:
    write_tables_of(tmp_path / "small", trials_frame({}))
    (tmp_path / "link").symlink_to(tmp_path / "small")
    for again in (tmp_path / "small", tmp_path / "link"):
        with pytest.raises(
            ValueError, match=r"^studies to compare must be different ones, got [^\n]*; give each once$"
        ):
            write_comparison([tmp_path / "small", again], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_half_of_an_interval_that_is_cut_off_is_that_of_the_whole(tmp_path: Path) -> None:
    """Three seeds near 1: Student's interval is 98.6 ± 3.7, and ends at 100."""
    study = make_explored_study(tmp_path / "explored")
    trials, accuracies = load_trials(study.path), [0.99, 0.97, 0.999]
    again = trials[trials["family"] == "RS"].iloc[:1]
    seeds = [again.assign(seed=seed, val_accuracy=accuracy) for seed, accuracy in enumerate(accuracies)]
    findings = load_findings(study.path)
    table = accuracy_table(replace(findings, study=replace(findings.study, trials=pd.concat(seeds))))
    assert table.frame.query("phase == 'finetune'")["high"].tolist() == [1.0]
    assert "98.6{\\scriptsize\\,$\\pm$\\,3.7}" in table.latex


def losing(study: StudyFolder, lost: Callable[[pd.DataFrame], pd.Series]) -> None:
    """Lets trials of the study's confirmation have failed."""
    trials = load_trials(study.confirmation.path)
    gone = lost(trials)
    trials.loc[gone, "state"] = TrialState.FAIL
    trials.loc[gone, ["val_accuracy", "test_accuracy"]] = float("nan")
    trials.to_parquet(study.confirmation.path / "trials.parquet")


def test_confirmed_trials_that_failed_are_told_wherever_results_are_shown(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "explored")
    count = 3 * len(confirm_study(study).read_config().plan)
    losing(study, lambda trials: (trials["family"] == "RE") & (trials["num_levels"] == 2) & (trials["seed"] > 1))
    told = f"2 of {count} trials of the confirmation failed, and no mean has them: RE, K = 2 (2 of 3)"
    report = write_report(study.path, tmp_path / "out", format=NO_FIGURES)
    assert told in report.text
    for name in ("report.html", *(f"table-{name}.tex" for name in ("confirmed", "accuracy", "gains", "sizes"))):
        assert told in " ".join((tmp_path / "out" / name).read_text().split()), name
    assert "mean over 1 to 3 fresh seeds" in (tmp_path / "out" / "table-confirmed.tex").read_text()


def test_confirmation_of_which_nothing_came_out_says_so(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "explored")
    count = 3 * len(confirm_study(study).read_config().plan)
    losing(study, lambda trials: trials["seed"] > 0)
    report = write_report(study.path, tmp_path / "out", format=NO_FIGURES)
    told = f"{count} of {count} trials of the confirmation failed"
    assert told in report.text
    assert told in (tmp_path / "out" / "report.html").read_text()


def test_confirmation_that_runs_is_told_wherever_results_are_shown(tmp_path: Path) -> None:
    study = make_explored_study(tmp_path / "explored")
    confirmation = confirm_study(study)
    config = confirmation.read_config()
    configurations = len(config.plan)
    confirmation.replace_config(config.model_copy(update={"trials": 5 * configurations, "replicates": 5}))
    write_report(study.path, tmp_path / "out", format=NO_FIGURES)
    told = f"he confirmation is not finished: {3 * configurations} of {5 * configurations} trials have ended"
    for name in ("report.html", *(f"table-{name}.tex" for name in ("confirmed", "accuracy", "gains", "sizes"))):
        assert told in " ".join((tmp_path / "out" / name).read_text().split()), name


def test_accuracy_of_a_study_on_the_test_split_is_that_of_the_searchs_choice(tmp_path: Path) -> None:
    """The highest of all confirmed means would be chosen by the numbers that are reported."""
    study = make_explored_study(tmp_path / "explored")
    confirm_study(study)
    findings = load_findings(study.path)
    assert findings.results is not None
    chosen = findings.results.loc[findings.results["num_levels"].notna(), "searched_val_accuracy"].idxmax()
    assert findings.confirmation is not None
    worse = findings.confirmation["config_hash"] == findings.results.loc[chosen, "config_hash"]
    confirmation = findings.confirmation.assign(test_accuracy=findings.confirmation["test_accuracy"].mask(worse, 0.25))
    assert findings.study.confirmation is not None
    changed = replace(findings.study, confirmation=replace(findings.study.confirmation, trials=confirmation))
    table = studies_table({"explored": replace(findings, study=changed)})
    assert table.frame["test_accuracy"].tolist() == [0.25]
