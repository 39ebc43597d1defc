"""Data of a study for report.html."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.origin import Origin
from analysis.report.findings import Findings
from analysis.report.points import Selection, confirmed_points, select


@dataclass(frozen=True, kw_only=True, eq=False)
class PageStudy:
    """Statistics and points of a study.

    Attributes:
        findings: statistics of the study.
        selection: trials that are drawn as single points.
        confirmed: configurations that are drawn as means over seeds.
    """

    findings: Findings
    selection: Selection
    confirmed: list[dict[str, Any]]

    @property
    def origin(self) -> Origin:
        """Configuration and provenance of the study."""
        return self.findings.study.origin

    @property
    def trials(self) -> pd.DataFrame:
        """Rows of trials.parquet."""
        return self.findings.trials

    @property
    def budget(self) -> tuple[int, int]:
        """Epochs of both phases; if study.yaml does not state them, those of the longest trial."""
        return self.origin.budget or (max([1, *self.trials["epochs"].dropna().astype(int)]), 0)


def page_study_of(findings: Findings) -> PageStudy:
    """Return the data of a study for the page; raises DamagedFileError if its epochs cannot be read."""
    points: list[dict[str, Any]] = []
    source = findings.study if findings.is_plan else findings.study.confirmation
    if findings.replicates is not None and source is not None:
        search = findings.trials[:0] if findings.is_plan else findings.trials
        points = confirmed_points(search, findings.replicates, source.epochs, source.origin, split=findings.split)
    return PageStudy(
        findings=findings,
        selection=select(findings.trials, sum(findings.study.origin.budget or (1, 0))),
        confirmed=points,
    )
