"""Accuracy by family and K, before and after tuning."""

import math
from typing import Any

import pandas as pd

from analysis.levels import shown_levels
from analysis.report.findings import Findings, NothingToShow, replicates_of
from analysis.report.latex import escape, number, tabular
from analysis.report.tables.notes import (
    INTERVALS,
    choice_note,
    gaps_note,
    levels_note,
    loss_note,
    mean_optimism,
    range_of,
    reference_of,
)
from analysis.report.tables.table import CONFIDENCE, PHASES, Table, rows_of
from analysis.statistics.comparison import compare, mark_best
from analysis.statistics.family_gains import BASELINE, TEST, VALIDATION, best_replicates
from trainables.result import TrialState


def accuracy_table(findings: Findings) -> Table:
    """Return accuracy by family and K, before and after tuning: of the confirmation, or of the search without one."""
    return _accuracies(findings, findings.compared, findings.split, "accuracy")


def search_table(findings: Findings) -> Table:
    """Return accuracy by family and K of the search, to compare with that of the confirmation.

    Raises:
        NothingToShow: there are no data; the message says why.
    """
    if findings.is_plan:
        raise NothingToShow("a plan has no search")
    replicates_of(findings)
    trials = findings.view.restrict(findings.trials, keep=(BASELINE,))
    return _accuracies(findings, best_replicates(trials, minimum=1), VALIDATION, "search")


def _accuracies(findings: Findings, trials: pd.DataFrame, split: str, name: str) -> Table:
    has_tests = findings.has_tests and split == findings.split
    view = findings.view
    compared = compare(trials, split=split, confidence=CONFIDENCE, tests=has_tests)
    frame = mark_best(view.restrict(compared[compared["phase"].isin(list(view.phases))]))
    if frame.empty:
        raise NothingToShow("no quantized trial with its full budget")
    reference = reference_of(findings, split)
    if view.loss:
        frame["loss_points"] = 100 * (frame["accuracy"] - reference)
    families = view.names.order(frame["family"])
    levels = shown_levels(frame["num_levels"], most=12)
    cells = {
        (row.phase, row.num_levels, row.family): _accuracy_cell(row, reference)
        for row in rows_of(frame)
        if row.num_levels in levels
    }
    blocks = [
        (title, [[str(k), *(cells.get((phase, k, family), "--") for family in families)] for k in levels])
        for phase, title in PHASES.items()
        if phase in set(frame["phase"])
    ]
    notes = [_describe_accuracies(findings, frame, split), "Bold: the best of its row."]
    tests = int(frame["p"].notna().sum())
    if tests:
        notes.append(
            rf"$^{{*}}$: differs from {BASELINE} at the same $K$ (two-sided paired $t$-test over common seeds; "
            rf"family-wise level 5\% over the {tests} tests of this table, Holm's method)."
        )
    elif has_tests:
        notes.append("No significance tests: too few common seeds.")
    note = " ".join(notes) + levels_note(frame, levels) + loss_note(findings, split)
    header = ["$K$", *(escape(view.names.family(family)) for family in families)]
    return Table(frame=frame, latex=tabular(header, blocks, note, title=view.names.titles.get(name, "")))


def _accuracy_cell(row: Any, reference: float) -> str:
    """Return an accuracy in percent, such as 98.3 ± 0.4: bold if it is the best, with a star if significant.

    Args:
        row: row of the table.
        reference: accuracy that is subtracted: 0, or that of the float baseline.
    """
    accuracy, low, high = (100 * (getattr(row, name) - reference) for name in ("accuracy", "low", "high"))
    half = max(high - accuracy, accuracy - low)  # one bound may be clipped at 0 or 100
    shown = number(accuracy, 1)
    if row.best:
        shown = rf"\textbf{{{shown}}}"
    if row.significant:
        shown += r"\rlap{$^{*}$}" if math.isnan(low) else "$^{*}$"
    return shown if math.isnan(low) else rf"{shown}{{\scriptsize\,$\pm$\,{number(half, 1)}}}"


def _describe_accuracies(findings: Findings, frame: pd.DataFrame, split: str) -> str:
    """Return sentences about the origin of a table's accuracies, their intervals and their bias."""
    seeds = range_of(frame["n"])
    plural = "seed" if frame["n"].max() == 1 else "seeds"
    if findings.is_plan:
        return (
            rf"Planned: {split} accuracy in \%, mean over {seeds} {plural} $\pm$ half the width of its {INTERVALS}."
            f"{choice_note(findings)}{gaps_note(findings)}"
        )
    if split == TEST:
        text = (
            rf"Confirmed: test accuracy in \%, mean over {seeds} fresh {plural} $\pm$ half the width of its "
            rf"{INTERVALS}. Configurations were chosen by the search's validation accuracy{_borrowed_note(findings)}."
        )
        optimism = mean_optimism(findings)
        if not math.isnan(optimism):
            assert findings.results is not None
            known, total = findings.results["optimism"].count(), len(findings.results)
            which = "the confirmed configurations"
            if known < total:
                which = f"{known} of the {total} confirmed configurations"
            text += (
                rf" The search's validation accuracy of {which} is "
                rf"{number(100 * abs(optimism), 1)} points {'above' if optimism >= 0 else 'below'} their test accuracy "
                "on average."
            )
        return text + gaps_note(findings)
    complete = int((findings.trials["state"] == TrialState.COMPLETE).sum())
    return (
        rf"Search, not confirmed: validation accuracy in \% of the best configuration of each family and $K$ among "
        rf"{complete} complete trials ({seeds} {plural} each). They were selected by the accuracies shown, which are "
        f"therefore too high.{gaps_note(findings)}"
    )


def _borrowed_note(findings: Findings) -> str:
    """Return a clause about configurations whose λ and placement were taken from the nearest K."""
    assert findings.results is not None
    unseen = findings.results["searched_val_accuracy"].isna() & (findings.results["family"] != BASELINE)
    count = int(unseen.sum())
    return f"; {count} of them at the nearest $K$, since it has no complete trial of the family there" * bool(count)
