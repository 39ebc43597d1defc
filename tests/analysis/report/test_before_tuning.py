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
    lines = [line.split() for line in text_of(findings).splitlines()[-4:]]
    assert lines == [
        ["family", "K", "=", "2", "K", "=", "4"],
        ["RC", "0.8750", "(0.6250)", "–"],
        ["none", "0.5000", "(0.2500)", "0.7500", "(0.5000)"],
        ["RM", "–", "0.8125", "(0.5625)"],
    ]


def test_summary_shows_the_smallest_levels_in_few_columns(tmp_path: Path) -> None:
    families = ("none", "quantize-first", "RC")
    trials = [
        trial(family, 2**bits, 0.5 + 0.01 * place) for bits in range(1, 7) for place, family in enumerate(families)
    ]
    write_tables_of(tmp_path, trials_frame(*trials))
    lines = text_of(load_findings(tmp_path)).splitlines()
    assert [cell.strip() for cell in lines[-4].split("K =")] == ["family", "2", "4", "8"]
    assert [line.split()[0] for line in lines[-3:]] == ["RC", "quantize-first", "none"]
    assert max(map(len, lines[-4:])) <= 80, "it fits a terminal"


def test_study_without_such_accuracies_has_no_table(tmp_path: Path) -> None:
    write_tables_of(tmp_path, trials_frame({"family": "none"}, {"family": "RC"}))
    findings = load_findings(tmp_path)
    with pytest.raises(NothingToShow, match="kept and re-estimated"):
        before_tuning_table(findings)
    assert "before tuning, validation accuracy with batch statistics" not in text_of(findings)
