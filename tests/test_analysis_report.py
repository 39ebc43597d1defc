"""The report: clear whatever became of the study."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from example_studies import files_below, make_study, trials_frame, write_tables_of

from analysis.front import REFERENCE, front, hypervolume
from analysis.load import load_trials
from analysis.report import Report, summarize, write_report
from trainables.result import FAIL, PRUNED, RUNNING, DamagedFileError

FILES = {"front.pdf", "front.svg", "front.png", "front.csv", "summary.json"}
FAILED: dict[str, Any] = {"state": FAIL, "val_accuracy": None, "bits_per_weight": None, "failure": "it broke"}
BASELINE: dict[str, Any] = {
    "family": "none",
    "num_levels": None,
    "lam": None,
    "placement": None,
    "bits_per_weight": 32.0,
}


def report_of(folder: Path, *rows: dict[str, Any]) -> Report:
    write_tables_of(folder, trials_frame(*rows))
    return write_report(folder, folder / "report")


def test_report_of_a_study_says_and_writes_it_all(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small").path
    report = write_report(study, study / "report")
    assert {path.name for path in report.files} == FILES
    assert all(path.stat().st_size for path in report.files)
    assert {path.name for path in (study / "report").iterdir()} == FILES
    text = report.text
    assert "5 trials: 3 COMPLETE, 1 PRUNED, 1 FAIL" in text
    assert "float baseline: validation accuracy 0.9700" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["1.30", "0.8000", "0.4000", "none", "2", "–", "kmeans", "small-00001"] in rows
    assert ["3.30", "0.9500", "0.4000", "RE", "8", "1.0e-03", "own", "small-00002"] in rows
    assert "small-00003" not in text  # PRUNED
    assert f"hypervolume {hypervolume(load_trials(study)):.4f}" in text
    assert str(study / "report" / "front.pdf") in text


def test_report_of_no_trial_is_clear(tmp_path: Path) -> None:
    text = report_of(tmp_path).text
    assert text.splitlines()[0] == "0 trials"
    assert "no front yet" in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize(
    ("row", "state"), [({"state": RUNNING}, "RUNNING"), ({"state": PRUNED}, "PRUNED"), (FAILED, "FAIL")]
)
def test_report_of_no_complete_trial_is_clear(row: dict[str, Any], state: str, tmp_path: Path) -> None:
    text = report_of(tmp_path, row, row).text
    assert text.splitlines()[0] == f"2 trials: 2 {state}"
    assert "no front yet" in text
    assert "baseline" not in text
    assert "nan" not in text.lower()


def test_report_of_all_failed_says_why(tmp_path: Path) -> None:
    assert "it broke" in report_of(tmp_path, FAILED, FAILED).text


def test_report_of_one_trial_has_a_front_of_one(tmp_path: Path) -> None:
    report = report_of(tmp_path, {})
    assert report.text.splitlines()[0].startswith("1 trial")
    assert "small-00000" in report.text
    assert summarize(load_trials(tmp_path))["front_size"] == 1


def test_report_of_the_baseline_alone_has_no_front(tmp_path: Path) -> None:
    text = report_of(tmp_path, BASELINE).text
    assert "float baseline: validation accuracy 0.5000" in text
    assert "no front yet" in text


def test_front_csv_holds_the_front(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small").path
    write_report(study, tmp_path / "out")
    written = pd.read_csv(tmp_path / "out" / "front.csv")
    expected = front(load_trials(study))
    assert list(written.columns) == list(expected.columns)
    assert list(written["trial_id"]) == ["small-00001", "small-00002"]
    assert list(written["val_accuracy"]) == list(expected["val_accuracy"])


def test_summary_json_is_the_study_in_short(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small").path
    write_report(study, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == {
        "trials": 5,
        "COMPLETE": 3,
        "PRUNED": 1,
        "FAIL": 1,
        "RUNNING": 0,
        "float_baseline_val_accuracy": 0.97,
        "front_size": 2,
        "hypervolume": pytest.approx((0.8 * 2.0 + 0.95 * 28.7) / 32),
        "hypervolume_reference": {"val_accuracy": REFERENCE[0], "bits_per_weight": REFERENCE[1]},
    }


@pytest.mark.parametrize("rows", [(), (FAILED,), (BASELINE,)], ids=["no trial", "failed", "baseline"])
def test_summary_json_is_strict_json_without_a_front(rows: tuple[dict[str, Any], ...], tmp_path: Path) -> None:
    report_of(tmp_path, *rows)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    summary = json.loads((tmp_path / "report" / "summary.json").read_text(), parse_constant=refuse)
    assert (summary["front_size"], summary["hypervolume"]) == (0, 0.0)


def test_report_repeated_is_identical(tmp_path: Path) -> None:
    study = make_study(tmp_path / "small").path
    write_report(study, tmp_path / "out")
    before = files_below(tmp_path / "out")
    write_report(study, tmp_path / "out")
    assert files_below(tmp_path / "out") == before


@pytest.mark.parametrize("out", ["file", "file/report"])
def test_report_that_cant_be_written_is_refused_in_one_line(out: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "small").path
    (tmp_path / "file").write_text("in the way")
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match=r"^[^\n]*can't be written[^\n]*--out$") as refusal:
        write_report(study, tmp_path / out)
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
