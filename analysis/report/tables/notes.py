"""Sentences below the tables: what their numbers are, and what they lack."""

import math

import pandas as pd

from analysis.report.findings import Findings, NothingToShow
from analysis.report.latex import escape, number
from analysis.statistics.family_gains import VALIDATION

INTERVALS = r"95\% interval (Student's $t$ below 20 seeds, percentile bootstrap from there on)"


def levels_note(frame: pd.DataFrame, shown: list[int]) -> str:
    """Return a sentence about omitted values of K; empty if all are shown."""
    total = frame["num_levels"].nunique()
    return f" {len(shown)} of {total} values of $K$ are shown." if len(shown) < total else ""


def choice_note(findings: Findings) -> str:
    """Return a sentence about the choice among a plan's configurations of the same family and K; empty if none."""
    if not findings.is_chosen:
        return ""
    biased = ", which is therefore too high" if findings.split == VALIDATION else ""
    return (
        " If the plan has several configurations of a family and $K$, the table shows the one with the highest "
        f"validation accuracy{biased}."
    )


def mean_optimism(findings: Findings) -> float:
    """Return the optimism of the search, averaged over the confirmed configurations; NaN if there are none."""
    return math.nan if findings.results is None else float(findings.results["optimism"].mean())


def range_of(counts: pd.Series) -> str:
    """Return the least and the greatest count as a text, such as `3 to 5`."""
    least, most = counts.min(), counts.max()
    return f"{least}" if least == most else f"{least} to {most}"


def reference_of(findings: Findings, split: str) -> float:
    """Return the accuracy that tables subtract: that of the float baseline where losses are shown, otherwise 0.

    Raises:
        NothingToShow: losses are shown, and there is no float baseline.
    """
    if not findings.view.loss:
        return 0.0
    reference = findings.float_accuracy(split)
    if reference is None:
        raise NothingToShow("a loss of accuracy needs the float baseline, and no trial of it is complete")
    return reference


def loss_note(findings: Findings, split: str) -> str:
    """Return a sentence about losses of accuracy; empty if accuracies are shown."""
    if not findings.view.loss:
        return ""
    reference = number(100 * reference_of(findings, split), 1)
    return rf" Accuracies are differences from that of the float baseline, {reference}\%, in percentage points."


def gaps_note(findings: Findings) -> str:
    """Return sentences about missing trials of the search or of its confirmation; empty if there are none."""
    gaps = [*([] if findings.finished or findings.is_plan else ["the search is not finished"]), *findings.gaps]
    return "".join(f" {escape(gap[0].upper() + gap[1:])}." for gap in gaps)
