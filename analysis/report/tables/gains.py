"""Accuracy of each family over that of plain quantization."""

from analysis.levels import shown_levels
from analysis.report.findings import Findings, NothingToShow
from analysis.report.latex import escape, number, tabular
from analysis.report.tables.notes import choice_note, gaps_note, levels_note, loss_note, range_of, reference_of
from analysis.report.tables.table import PHASES, Table, bounds, rows_of
from analysis.statistics.family_gains import BASELINE, TEST

INTERVALS_OF_GAINS = (
    r" In brackets 95\% intervals: Fieller's, in pairs where both have the same seeds, and Newcombe's (Reiser and "
    r"Guttman's where ranks of so few seeds can't reach 95\%) below 20 seeds, percentile bootstrap from there on."
)


def gains_table(findings: Findings) -> Table:
    """Return ratios of accuracy to that of plain quantization, and probabilities of improvement.

    Raises:
        NothingToShow: there are no data; the message says why.
    """
    gains, improvements = findings.gains, findings.improvements
    if gains.empty:
        raise NothingToShow("no family and none have complete trials at the same K")
    keys = ["family", "num_levels", "phase"]
    better = improvements[[*keys, "probability", "low", "high"]].rename(
        columns={"low": "probability_low", "high": "probability_high"}
    )
    frame = gains.merge(better, on=keys, how="left")
    several = frame[["n", "n_none"]].min(axis=1) > 1  # a single pair of seeds gives no probability
    frame["probability"] = frame["probability"].where(several)
    levels = shown_levels(frame["num_levels"], most=12)
    names, reference = findings.view.names, reference_of(findings, findings.split)
    blocks = []
    for phase, title in PHASES.items():
        shown = frame[(frame["phase"] == phase) & frame["num_levels"].isin(levels)]
        rows = [
            [
                *(str(row.num_levels), escape(names.family(row.family))),
                *(number(100 * (row.accuracy - reference), 1), number(100 * (row.accuracy_none - reference), 1)),
                *(number(row.gain, 2), bounds(row.low, row.high)),
                *(number(row.probability, 2), bounds(row.probability_low, row.probability_high)),
            ]
            for row in rows_of(shown.sort_values(["num_levels", "family"]))
        ]
        if rows:
            blocks.append((title, rows))
    if findings.is_plan:
        where = f"Planned, on the {findings.split} split.{choice_note(findings)}"
    elif findings.split == TEST:
        where = "Confirmed, on the test split."
    else:
        where = "Search, not confirmed: validation accuracy of the best of many trials, which is too high."
    notes = (
        rf"{where} Accuracies in \%. Factor: accuracy over that of none at the same $K$. $P$: probability that a seed "
        rf"of the family beats a seed of none; ties count half.{INTERVALS_OF_GAINS if several.any() else ''} "
        f"{range_of(frame['n'])} {'seed' if frame['n'].max() == 1 else 'seeds'} per family and $K$. A large factor "
        f"may result from a collapsed baseline.{levels_note(frame, levels)}"
        f"{loss_note(findings, findings.split)}{gaps_note(findings)}"
    )
    header = ["$K$", "family", "accuracy", escape(names.family(BASELINE)), "factor", "", "$P$", ""]
    title = names.titles.get("gains", "")
    return Table(frame=frame, latex=tabular(header, blocks, notes, "llrrr@{~}rr@{~}r", title))
