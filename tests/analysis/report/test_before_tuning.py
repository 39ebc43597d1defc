"""Accuracies before tuning in a report, by the statistics of batch normalization."""

from pathlib import Path

import pytest

from analysis.report.findings import NothingToShow, load_findings
from analysis.report.summary import text_of
from analysis.report.tables.before_tuning import before_tuning_table
from tests.analysis.statistics.test_before_tuning import trial
from tests.support.example_studies import trials_frame, write_tables_of


def test_table_and_summary_compare_families_at_equal_levels(tmp_path: Path) -> None:
    trials = [trial("none", 2, 0.5), trial("RC", 2, 0.875), trial("none", 4, 0.75), trial("RM", 4, 0.8125)]
    write_tables_of(tmp_path, trials_frame(*trials))
    findings = load_findings(tmp_path)
    table = before_tuning_table(findings)
    assert list(table.frame["family"]) == ["RC", "none", "RM", "none"]
    assert r"2 & RC & 87.5 & 62.5 & 2.00 \\" in table.latex
    text = text_of(findings)
    assert "K = 2: RC 0.8750 (0.6250), none 0.5000 (0.2500)" in text
    assert "K = 4: RM 0.8125 (0.5625), none 0.7500 (0.5000)" in text


def test_study_without_such_accuracies_has_no_table(tmp_path: Path) -> None:
    write_tables_of(tmp_path, trials_frame({"family": "none"}, {"family": "RC"}))
    findings = load_findings(tmp_path)
    with pytest.raises(NothingToShow, match="kept and re-estimated"):
        before_tuning_table(findings)
    assert "before tuning, validation accuracy with batch statistics" not in text_of(findings)
