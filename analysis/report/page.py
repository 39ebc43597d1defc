"""A study as the page of a report needs it."""

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
        selection: trials that are drawn one by one.
        confirmed: configurations that are drawn as means over their seeds.
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
        """trials.parquet."""
        return self.findings.trials

    @property
    def budget(self) -> tuple[int, int]:
        """Epochs of both phases; as long as the longest trial where study.yaml doesn't say."""
        return self.origin.budget or (max([1, *self.trials["epochs"].dropna().astype(int)]), 0)


def page_study_of(findings: Findings) -> PageStudy:
    """Return the study as a page shows it; raises DamagedFileError if its epochs can't be read."""
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
