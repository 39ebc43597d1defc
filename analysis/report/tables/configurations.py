"""Every configuration that was trained under several seeds."""

import math

import pandas as pd

from analysis.report.findings import Findings, replicates_of
from analysis.report.latex import escape, number, power, tabular
from analysis.report.tables.notes import INTERVALS, gaps_note, range_of
from analysis.report.tables.table import Table, bounds, rows_of
from analysis.statistics.confirmation import as_trials
from analysis.statistics.family_gains import ACCURACIES
from analysis.statistics.pareto import front
from trainables.result import FINETUNE


def confirmed_table(findings: Findings) -> Table:
    """Return all configurations with means over seeds, and the validation accuracies of the search."""
    replicates_of(findings)
    assert findings.results is not None
    if findings.is_plan:
        return _planned_table(findings, findings.results)
    frame = findings.results
    best = set(front(as_trials(frame))["config_hash"])
    rows = [
        [
            number(row.bits_per_weight, 2) + (r"\rlap{$^{\circ}$}" if row.config_hash in best else ""),
            *(escape(row.family), "float" if math.isnan(row.num_levels) else f"{row.num_levels:.0f}"),
            *(power(row.lam), escape(row.placement) if isinstance(row.placement, str) else "--"),
            number(100 * row.test_accuracy, 1),
            bounds(100 * row.low, 100 * row.high, 1),
            number(100 * row.searched_val_accuracy, 1),
            number(100 * row.optimism, 1),
        ]
        for row in rows_of(frame)
    ]
    header = ["bits", "family", "$K$", r"$\lambda$", "placement", "test", "", "search", "optimism"]
    notes = (
        rf"Test accuracy in \%, mean over {range_of(frame['seeds'])} fresh seeds with its {INTERVALS}. $^{{\circ}}$: "
        "on the front. Search: validation accuracy of the configuration in the search (its best trial). Optimism: "
        "search minus test, in percentage points. Dash: the search has no complete trial of the configuration."
        f"{gaps_note(findings)}"
    )
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, "llrrlr@{~}rrr"))


def _planned_table(findings: Findings, results: pd.DataFrame) -> Table:
    """Return all configurations of a plan, with the accuracy on the split of the results."""
    frame = results.drop(columns=["searched_val_accuracy", "optimism"])
    best = set(front(as_trials(frame, findings.split))["config_hash"])
    accuracy = ACCURACIES[findings.split][FINETUNE]
    rows = [
        [
            number(row.bits_per_weight, 2) + (r"\rlap{$^{\circ}$}" if row.config_hash in best else ""),
            *(escape(row.family), "float" if math.isnan(row.num_levels) else f"{row.num_levels:.0f}"),
            *(power(row.lam), escape(row.placement) if isinstance(row.placement, str) else "--"),
            *(f"{row.seeds}", number(100 * getattr(row, accuracy), 1)),
            bounds(100 * row.low, 100 * row.high, 1),
        ]
        for row in rows_of(frame)
    ]
    header = ["bits", "family", "$K$", r"$\lambda$", "placement", "seeds", findings.split, ""]
    notes = (
        rf"Planned: {findings.split} accuracy in \%, mean over the seeds of each configuration with its {INTERVALS}. "
        rf"$^{{\circ}}$: on the front.{gaps_note(findings)}"
    )
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, "llrrlrr@{~}r"))
