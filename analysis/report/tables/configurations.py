"""Every configuration that was trained under several seeds."""

import math

import pandas as pd

from analysis.names import field_text
from analysis.report.findings import Findings, replicates_of
from analysis.report.latex import escape, number, power, tabular
from analysis.report.tables.notes import INTERVALS, gaps_note, loss_note, range_of, reference_of
from analysis.report.tables.table import Table, bounds, rows_of
from analysis.statistics.confirmation import as_trials
from analysis.statistics.family_gains import ACCURACIES, TEST, VALIDATION
from analysis.statistics.pareto import BITS, front
from analysis.view import View
from trainables.result import FINETUNE


def confirmed_table(findings: Findings) -> Table:
    """Return all configurations with means over seeds, and the validation accuracies of the search."""
    replicates_of(findings)
    assert findings.results is not None
    if findings.is_plan:
        return _planned_table(findings, findings.view.restrict(findings.results))
    view, reference = findings.view, reference_of(findings, TEST)
    searched = 100 * reference_of(findings, VALIDATION)
    frame = _with_units(view.restrict(findings.results), "test_accuracy", reference, view)
    best = set(front(as_trials(frame), view.cost.column)["config_hash"])
    rows = [
        [
            number(cost, view.cost.digits) + (r"\rlap{$^{\circ}$}" if row.config_hash in best else ""),
            *(
                escape(view.names.family(row.family)),
                "float" if math.isnan(row.num_levels) else f"{row.num_levels:.0f}",
            ),
            *(power(row.lam), escape(row.placement) if isinstance(row.placement, str) else "--"),
            *further,
            number(100 * (row.test_accuracy - reference), 1),
            bounds(100 * (row.low - reference), 100 * (row.high - reference), 1),
            number(100 * row.searched_val_accuracy - searched, 1),
            number(100 * row.optimism, 1),
        ]
        for row, cost, further in zip(rows_of(frame), view.cost.of(frame), _fields_of(frame, findings), strict=True)
    ]
    names = [escape(name) for name in findings.fields]
    header = [view.cost.header, "family", "$K$", r"$\lambda$", "placement", *names, "test", "", "search", "optimism"]
    notes = (
        rf"Test accuracy in \%, mean over {range_of(frame['seeds'])} fresh seeds with its {INTERVALS}. $^{{\circ}}$: "
        "on the front. Search: validation accuracy of the configuration in the search (its best trial). Optimism: "
        "search minus test, in percentage points. Dash: the search has no complete trial of the configuration."
        f"{loss_note(findings, TEST)}{gaps_note(findings)}"
    )
    title = view.names.titles.get("confirmed", "")
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, f"llrrl{'r' * len(names)}r@{{~}}rrr", title))


def _fields_of(frame: pd.DataFrame, findings: Findings) -> list[list[str]]:
    """Return the cells of further searched fields, a list for each row."""
    return [[escape(field_text(value)) for value in row] for row in frame[findings.fields].to_numpy(dtype=object)]


def _with_units(results: pd.DataFrame, accuracy: str, reference: float, view: View) -> pd.DataFrame:
    """Return results with the columns of a view: its cost if that is no column yet, and losses if they are shown."""
    added = {} if view.cost.column == BITS and not view.cost.more_is_better else {view.cost_name: view.cost.of(results)}
    if view.loss:
        added["loss_points"] = 100 * (results[accuracy] - reference)
    return results.assign(**added)


def _planned_table(findings: Findings, results: pd.DataFrame) -> Table:
    """Return all configurations of a plan, with the accuracy on the split of the results."""
    view, accuracy = findings.view, ACCURACIES[findings.split][FINETUNE]
    reference = reference_of(findings, findings.split)
    frame = _with_units(results.drop(columns=["searched_val_accuracy", "optimism"]), accuracy, reference, view)
    best = set(front(as_trials(frame, findings.split), view.cost.column)["config_hash"])
    rows = [
        [
            number(cost, view.cost.digits) + (r"\rlap{$^{\circ}$}" if row.config_hash in best else ""),
            *(
                escape(view.names.family(row.family)),
                "float" if math.isnan(row.num_levels) else f"{row.num_levels:.0f}",
            ),
            *(power(row.lam), escape(row.placement) if isinstance(row.placement, str) else "--"),
            *further,
            *(f"{row.seeds}", number(100 * (getattr(row, accuracy) - reference), 1)),
            bounds(100 * (row.low - reference), 100 * (row.high - reference), 1),
        ]
        for row, cost, further in zip(rows_of(frame), view.cost.of(frame), _fields_of(frame, findings), strict=True)
    ]
    names = [escape(name) for name in findings.fields]
    header = [view.cost.header, "family", "$K$", r"$\lambda$", "placement", *names, "seeds", findings.split, ""]
    notes = (
        rf"Planned: {findings.split} accuracy in \%, mean over the seeds of each configuration with its {INTERVALS}. "
        rf"$^{{\circ}}$: on the front.{loss_note(findings, findings.split)}{gaps_note(findings)}"
    )
    title = view.names.titles.get("confirmed", "")
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, f"llrrl{'r' * len(names)}rr@{{~}}r", title))
