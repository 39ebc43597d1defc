"""Summary of a study: for programs (summary.json) and for a terminal."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.levels import levels_text
from analysis.load import searched_columns
from analysis.names import field_text
from analysis.report.findings import Findings
from analysis.statistics.before_tuning import accuracies_before_tuning
from analysis.statistics.family_gains import ACCURACIES, TEST
from analysis.statistics.pareto import REFERENCE, candidates, float_baseline, front, hypervolume, knee
from trainables.result import FINETUNE, TrialState

MOST_LEVELS = 3
"""Greatest number of K for which the terminal shows accuracies before tuning."""

MOST_ROWS = 200
"""Greatest number of rows of a front in the terminal; front.csv holds all."""


def summarize(findings: Findings) -> dict[str, object]:
    """Return the content of summary.json: counts by state, float baseline, front, knee, hypervolume and optimism."""
    trials, results = findings.trials, findings.results
    best = knee(trials)
    return {
        "finished": findings.finished,
        "trials": len(trials),
        **{state: int((trials["state"] == state).sum()) for state in TrialState},
        "float_baseline_val_accuracy": float_baseline(trials),
        "front_size": len(front(trials)),
        "knee": None if best is None else best["trial_id"],
        "hypervolume": hypervolume(trials),
        "hypervolume_reference": {"val_accuracy": REFERENCE[0], "bits_per_weight": REFERENCE[1]},
        "confirmed": 0 if results is None or findings.is_plan else len(results),
        "optimism": None if results is None or results["optimism"].isna().all() else float(results["optimism"].mean()),
        **({"planned": 0 if results is None else len(results), "split": findings.split} if findings.is_plan else {}),
    }


def text_of(findings: Findings) -> str:
    """Return the summary for a terminal: results of the search, then means over seeds of the confirmation."""
    parts = ["\n".join(_counts(findings)) if findings.is_plan else _search_text(findings)]
    if comparison := _before_tuning_text(findings):
        parts.append(comparison)
    if findings.gaps:
        parts.append("\n".join(findings.gaps))
    if findings.results is not None:
        parts.append(_planned_text(findings) if findings.is_plan else _confirmed_text(findings))
    return "\n\n".join(parts)


def _before_tuning_text(findings: Findings) -> str:
    """Return the accuracies of families before tuning at the few smallest K; empty if none are known."""
    try:
        table = accuracies_before_tuning(findings.trials)
    except ValueError:  # trials of several models or data sets can't be compared
        return ""
    measured = table[table[["recalibrated", "kept"]].notna().any(axis=1)]
    measured = measured[measured["num_levels"].isin(measured["num_levels"].unique()[:MOST_LEVELS])]
    if measured.empty:
        return ""
    pairs = zip(measured["recalibrated"], measured["kept"], strict=True)
    cells = measured.assign(cell=[f"{_accuracy(recalibrated)} ({_accuracy(kept)})" for recalibrated, kept in pairs])
    shown = cells.pivot(index="family", columns="num_levels", values="cell").fillna("–")
    shown = shown.loc[measured["family"].unique()].rename(columns="K = {}".format)
    title = "before tuning, validation accuracy with batch statistics re-estimated (and kept):"
    return f"{title}\n{shown.rename_axis(columns=None).reset_index().to_string(index=False)}"


def _counts(findings: Findings) -> list[str]:
    """Return lines with the numbers of trials, the reasons of failures, and the accuracy of the float baseline."""
    trials = findings.trials
    counts = [f"{(trials['state'] == state).sum()} {state}" for state in TrialState if (trials["state"] == state).any()]
    lines = [f"{len(trials)} trial{'s'[: len(trials) != 1]}" + (": " + ", ".join(counts) if counts else "")]
    if not findings.finished:
        ended = int((trials["state"] != TrialState.RUNNING).sum())
        asked = findings.study.origin.num_trials
        total = "" if asked is None else f" of {asked}"
        lines.append(f"not finished: {ended}{total} trials have ended; only these are reported")
    reasons = trials["failure"].dropna().value_counts()
    lines += [f"{count} failed: {reason}" for reason, count in reasons.items()]
    baseline = float_baseline(trials)
    if baseline is not None:
        lines.append(f"float baseline: validation accuracy {baseline:.4f}")
    return lines


def _search_text(findings: Findings) -> str:
    trials, lines = findings.trials, _counts(findings)
    if candidates(trials).empty:
        return "\n".join([*lines, "no front yet: no quantized trial has been trained for the full budget"])
    accuracy, bits = REFERENCE
    return "\n".join(
        [
            *lines,
            "",
            "front of the search, validation accuracy against bits per weight (* marks the knee):",
            _front_text(front(trials), knee(trials)),
            "",
            f"hypervolume {hypervolume(trials):.4f} (reference point: accuracy {accuracy:g}, {bits:g} bits per weight)",
        ]
    )


def _front_text(rows: pd.DataFrame, best: pd.Series | None) -> str:
    """Return the front as a table with one row for each point, and the number of further trials on these points."""
    points = rows[~rows.duplicated(["bits_per_weight", "val_accuracy"])]
    repeated, rows = len(rows) - len(points), points
    left_out = len(rows) - MOST_ROWS
    knee_id = None if best is None else best["trial_id"]
    shown = pd.DataFrame(
        {
            "": rows["trial_id"].map(lambda name: "*" if name == knee_id else ""),
            "bits/weight": rows["bits_per_weight"].map("{:.2f}".format),
            "val accuracy": rows["val_accuracy"].map("{:.4f}".format),
            "before tuning": rows["val_accuracy_pre_tuning"].map(_accuracy),
            "family": rows["family"],
            "K": [levels_text(*pair) for pair in zip(rows["num_levels"], _groups(rows), strict=True)],
            "λ": rows["lam"].map(_lam),
            "placement": rows["placement"],
            **{name: rows[name].map(field_text) for name in searched_columns(rows)},
            "trial": rows["trial_id"],
        }
    ).head(MOST_ROWS)
    lines = [shown.to_string(index=False)]
    lines += [f"… and {left_out:,} more in front.csv"] if left_out > 0 else []
    lines += [f"trials with the same results as one of these: {repeated:,}, in front.csv"] if repeated else []
    return "\n".join(lines)


def _groups(rows: pd.DataFrame) -> pd.Series:
    """Return the groups of trials; nulls where a study of an earlier version has none."""
    return rows["groups"] if "groups" in rows else pd.Series(None, index=rows.index, dtype=object)


def _means(findings: Findings, split: str) -> pd.DataFrame:
    """Return the means of configurations over their seeds, formatted as texts."""
    results = findings.results
    assert results is not None
    return pd.DataFrame(
        {
            "bits/weight": results["bits_per_weight"].map("{:.2f}".format),
            f"{split} accuracy": results[ACCURACIES[split][FINETUNE]].map("{:.4f}".format),
            "95% interval": [
                "–" if pd.isna(low) else f"[{low:.4f}, {high:.4f}]"
                for low, high in zip(results["low"], results["high"], strict=True)
            ],
            "seeds": results["seeds"],
            "in the search": results["searched_val_accuracy"].map(_accuracy),
            "family": results["family"],
            "K": [levels_text(*pair) for pair in zip(results["num_levels"], _groups(results), strict=True)],
            "λ": results["lam"].map(_lam),
            "placement": results["placement"].fillna("–"),
            **{name: results[name].map(field_text) for name in findings.fields},
        }
    )


def _planned_text(findings: Findings) -> str:
    shown = _means(findings, findings.split).drop(columns="in the search")
    return f"planned configurations, means over seeds, on the {findings.split} split:\n{shown.to_string(index=False)}"


def _confirmed_text(findings: Findings) -> str:
    shown = _means(findings, TEST)
    assert findings.results is not None
    lines = ["confirmed under fresh seeds, on the test split:", shown.to_string(index=False)]
    optimism = findings.results["optimism"].dropna()
    if len(optimism):
        lines += ["", f"optimism of the search: validation minus test accuracy {optimism.mean():+.4f} on average"]
    return "\n".join(lines)


def _accuracy(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.4f}"


def _lam(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2g}"


def files_text(out: Path, notes: Sequence[str], *, figures: bool, without_latex: bool) -> str:
    """Return lines with the locations of the files, and notes about missing parts and fonts.

    Args:
        out: folder of the report.
        notes: lines to append.
        figures: whether figures were requested.
        without_latex: whether PGF figures were requested, but no LaTeX is installed.
    """
    where = f"figures: {out / 'figures'}; " if figures else ""
    lines = [
        f"{where}tables: {out}/table-*.tex and .csv",
        f"page: {out / 'report.html'}; provenance of every point: {out / 'provenance.json'}",
    ]
    if without_latex:
        lines.append(
            "no PGF figures: no complete LaTeX is installed (Debian: texlive-latex-recommended, texlive-pictures)"
        )
    return "\n".join([*lines, *notes])
