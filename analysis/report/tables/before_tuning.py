"""Accuracy before tuning by the statistics of batch normalization."""

from analysis.levels import shown_levels
from analysis.report.findings import Findings, NothingToShow
from analysis.report.latex import escape, number, tabular
from analysis.report.tables.notes import gaps_note, levels_note, range_of
from analysis.report.tables.table import Table, rows_of
from analysis.statistics.before_tuning import accuracies_before_tuning
from analysis.statistics.family_gains import BASELINE


def before_tuning_table(findings: Findings) -> Table:
    """Return accuracies before tuning with re-estimated and with kept statistics, by K and family.

    Raises:
        NothingToShow: there are no data; the message says why.
    """
    view = findings.view
    if findings.replicates is None:
        trials = view.restrict(findings.trials, keep=(BASELINE,))
    else:
        trials = view.restrict(findings.replicates, keep=(BASELINE,))
    frame = view.restrict(accuracies_before_tuning(trials, findings.split))
    if frame[["recalibrated", "kept"]].isna().all(axis=None):
        raise NothingToShow("no two families at the same K have accuracies with kept and re-estimated statistics")
    levels = shown_levels(frame["num_levels"], most=12)
    rows = [
        [
            *(str(row.num_levels), escape(view.names.family(row.family))),
            *(number(100 * row.recalibrated, 1), number(100 * row.kept, 1), number(row.bits_per_weight, 2)),
        ]
        for row in rows_of(frame[frame["num_levels"].isin(levels)])
    ]
    seeds = "seed" if frame["n"].max() == 1 else "seeds"
    notes = (
        rf"Accuracy before tuning in \% on the {findings.split} split, with the statistics of batch normalization "
        "estimated again for the quantized network, and with those kept from training, of the configuration of each "
        rf"family and $K$ with the best validation accuracy before tuning. Means over {range_of(frame['n'])} {seeds}."
        f"{levels_note(frame, levels)}{gaps_note(findings)}"
    )
    header = ["$K$", "family", "re-estimated", "kept", "bits"]
    title = view.names.titles.get("before-tuning", "")
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, "llrrr", title))
