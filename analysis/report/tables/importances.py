"""Importance of each hyperparameter for accuracy and for bits."""

from analysis.report.findings import Findings, NothingToShow
from analysis.report.latex import escape, number, tabular
from analysis.report.tables.table import Table


def importances_table(findings: Findings) -> Table:
    """Return the importance of each hyperparameter for both objectives.

    Raises:
        NothingToShow: there are no data; the message says why.
    """
    frame = findings.importances
    if frame is None or frame.empty:
        raise NothingToShow("too few finished trials with a penalty")
    wide = frame.pivot(index="parameter", columns="objective", values="importance")
    objectives = {"val_accuracy": "accuracy", "bits_per_weight": "bits"}
    shown = [name for name in objectives if name in wide.columns]
    names = {"num_levels": "levels $K$", "lam": r"strength $\lambda$"}
    rows = [
        [names.get(str(name), escape(str(name))), *(number(values[column], 3) for column in shown)]
        for name, values in wide.iterrows()
    ]
    notes = (
        f"Share of the variance that a hyperparameter explains alone (fANOVA), over {frame['n'].max()} complete trials "
        "with a penalty."
    )
    header = ["hyperparameter", *(objectives[name] for name in shown)]
    title = findings.view.names.titles.get("importances", "")
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, title=title))
