"""The report of a study that ran a plan: means over its seeds, intervals and tests, on the split that was measured."""

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.plots.elements.style import available_formats
from analysis.report.figures import FIGURES
from analysis.report.findings import load_findings
from analysis.report.format import Format
from analysis.report.report import Report, write_brief_report, write_comparison, write_report
from analysis.report.tables import TABLES
from tests.support.example_studies import (
    confirmed_rows,
    trials_frame,
    write_confirmed_study,
    write_plan_study,
    write_tables_of,
)
from tests.support.few_figures import keep_figures

SVG = Format(suffixes=("svg",))
NO_FIGURES = Format(suffixes=())
assert "svg" in available_formats()


@pytest.fixture(scope="module", params=[True, False], ids=["test split", "validation split"])
def planned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Report, Path]:
    """The split that was measured, the whole report of the plan, and its folder."""
    folder = tmp_path_factory.mktemp("planned")
    write_plan_study(folder / "study", tested=request.param)
    split = "test" if request.param else "validation"
    return split, write_report(folder / "study", folder / "out", format=SVG), folder / "out"


def test_plan_has_what_a_confirmation_has(planned: tuple[str, Report, Path]) -> None:
    _, report, out = planned
    assert report.failures == ()
    names = {path.stem for path in report.files}
    assert names >= set(FIGURES) - {"importances"}
    assert names >= {f"table-{name}" for name in TABLES if name not in ("search", "importances")}
    page = (out / "report.html").read_text()
    assert "Results of the plan" in page
    for text in (report.text, page, *(path.read_text() for path in out.glob("*.tex"))):
        assert "qar confirm" not in text
        assert "not confirmed" not in text.lower()


def test_results_of_a_plan_are_means_over_its_seeds(planned: tuple[str, Report, Path]) -> None:
    split, report, out = planned
    column = {"test": "test_accuracy", "validation": "val_accuracy"}[split]
    results = pd.read_csv(out / "confirmed.csv")
    trials = load_findings(out.parent / "study").trials
    assert len(results) == 7
    assert (results["seeds"] == 3).all()
    means = trials.groupby("config_hash")[column].mean()
    assert results[column].to_numpy() == pytest.approx(means[results["config_hash"]].to_numpy())
    assert results["low"].le(results[column]).all()
    assert results["high"].ge(results[column]).all()
    assert results["low"].lt(results["high"]).any()
    assert f"planned configurations, means over seeds, on the {split} split:" in report.text
    assert json.loads((out / "summary.json").read_text())["split"] == split
    assert f"Planned: {split} accuracy" in (out / "table-confirmed.tex").read_text()
    accuracies = pd.read_csv(out / "table-accuracy.csv").query(
        "phase == 'finetune' and family == 'RE' and num_levels == 2"
    )
    assert accuracies["accuracy"].tolist() == pytest.approx([means["RE-2"]])
    assert accuracies["n"].tolist() == [3]


def test_differences_of_a_plan_are_tested(tmp_path: Path) -> None:
    """Nothing was chosen by the numbers that are compared."""
    for name, tested in (("tested", True), ("validated", False)):
        write_plan_study(tmp_path / name, seeds=5, tested=tested)
        findings = load_findings(tmp_path / name)
        assert findings.has_tests
    write_report(tmp_path / "tested", tmp_path / "out", format=NO_FIGURES)
    table = pd.read_csv(tmp_path / "out" / "table-accuracy.csv")
    assert table.loc[table["family"] != "none", "p"].notna().any()


def test_plan_with_several_configurations_of_a_family_and_level_shows_the_best_on_validation(tmp_path: Path) -> None:
    write_plan_study(tmp_path / "study")
    worse = [
        row | {"config_hash": "RE-2-worse", "val_accuracy": 0.1, "test_accuracy": 0.99}
        for row in confirmed_rows(3)
        if row["config_hash"] == "RE-2"
    ]
    settings = (tmp_path / "study" / "study.yaml").read_text()
    write_tables_of(tmp_path / "study", trials_frame(*confirmed_rows(3), *worse))
    (tmp_path / "study" / "study.yaml").write_text(settings)
    write_report(tmp_path / "study", tmp_path / "out", format=NO_FIGURES)
    hashes = pd.read_csv(tmp_path / "out" / "table-accuracy.csv").query("family == 'RE' and num_levels == 2")[
        "config_hash"
    ]
    assert set(hashes) == {"RE-2"}
    assert (
        "the table shows the one with the highest validation accuracy."
        in (tmp_path / "out" / "table-accuracy.tex").read_text()
    )


def test_plan_that_is_not_finished_says_so(tmp_path: Path) -> None:
    write_plan_study(tmp_path / "study")
    settings = (tmp_path / "study" / "study.yaml").read_text().replace("trials: 21", "trials: 35")
    (tmp_path / "study" / "study.yaml").write_text(settings)
    report = write_report(tmp_path / "study", tmp_path / "out", format=NO_FIGURES)
    assert "the plan is not finished: 21 of 35 trials have ended" in report.text
    assert "he plan is not finished" in (tmp_path / "out" / "table-accuracy.tex").read_text()


def test_plan_without_a_result_is_reported(tmp_path: Path) -> None:
    write_plan_study(tmp_path / "study")
    settings = (tmp_path / "study" / "study.yaml").read_text()
    failed = [row | {"state": "FAIL", "val_accuracy": None, "test_accuracy": None} for row in confirmed_rows(3)]
    write_tables_of(tmp_path / "study", trials_frame(*failed))
    (tmp_path / "study" / "study.yaml").write_text(settings)
    report = write_report(tmp_path / "study", tmp_path / "out", format=SVG)
    assert report.failures == ()
    assert "no trial of the plan has ended with a result" in report.text
    assert "21 of 21 trials of the plan failed" in report.text


def test_brief_report_of_a_plan_shows_its_means(tmp_path: Path) -> None:
    write_plan_study(tmp_path / "study")
    report = write_brief_report(tmp_path / "study", tmp_path / "out")
    assert "planned configurations, means over seeds, on the test split:" in report.text
    assert "front of the search" not in report.text
    assert (tmp_path / "out" / "figures" / "confirmed.pdf").exists()


def test_plan_is_compared_with_a_confirmed_search_on_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_figures(monkeypatch, "confirmed")
    write_plan_study(tmp_path / "plan")
    write_confirmed_study(tmp_path / "search")
    report = write_comparison([tmp_path / "plan", tmp_path / "search"], tmp_path / "out", format=SVG)
    assert report.failures == ()
    assert "studies-confirmed" in {path.stem for path in report.files}
    table = pd.read_csv(tmp_path / "out" / "table-studies.csv")
    assert table["test_accuracy"].notna().all()
    figures = json.loads((tmp_path / "out" / "provenance.json").read_text())["figures"]
    assert set(figures["studies-confirmed"]) == {"planned", "small-confirm"}
