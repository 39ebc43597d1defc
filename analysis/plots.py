"""Figures. Every plot takes and returns the axes that it draws on."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.front import candidates, float_baseline, front

COLUMN_WIDTH = 3.4
"""Inches: one column of a two-column page."""

STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "qar",
}

# Okabe and Ito's palette, told apart by colour-blind readers; the markers tell families apart in grey.
FAMILY_STYLES = {
    "none": ("#000000", "o"),
    "RS": ("#0072B2", "^"),
    "RC": ("#56B4E9", "v"),
    "RM": ("#D55E00", "s"),
    "RE": ("#009E73", "D"),
}


def plot_front(trials: pd.DataFrame, ax: Axes) -> Axes:
    """Validation accuracy against bits per weight (logarithmic), in the style of a small multiple or a figure.

    A marker a finished trial, faint where another beats it in both; the front as a staircase; the float baseline as
    a dashed line.

    Args:
        trials: rows of trials.parquet.
        ax: drawn on; returned.
    """
    of = candidates(trials)
    best = front(trials)
    for family, (colour, marker) in FAMILY_STYLES.items():
        rest = of[(of["family"] == family) & ~of.index.isin(best.index)]
        on_front = best[best["family"] == family]
        ax.scatter(rest["bits_per_weight"], rest["val_accuracy"], s=14, c=colour, marker=marker, alpha=0.25, lw=0)
        ax.scatter(
            on_front["bits_per_weight"],
            on_front["val_accuracy"],
            s=24,
            c=colour,
            marker=marker,
            ec="white",
            lw=0.5,
            zorder=3,
        )
        if family in set(of["family"]):
            ax.scatter([], [], s=20, c=colour, marker=marker, lw=0, label=family)
    if not of.empty:
        right = max(of["bits_per_weight"].max() * 1.1, 8.5)
        steps = best.drop_duplicates(["bits_per_weight", "val_accuracy"])
        bits = [*steps["bits_per_weight"], right]
        accuracies = [*steps["val_accuracy"], steps["val_accuracy"].iloc[-1]]
        ax.step(bits, accuracies, where="post", c="0.35", lw=0.9, zorder=2)
        ax.set_xlim(min(of["bits_per_weight"].min() * 0.9, 1.0), right)
    baseline = float_baseline(trials)
    if baseline is not None:
        ax.axhline(baseline, c="0.55", lw=0.8, ls=(0, (4, 3)), zorder=1)
        ax.annotate(
            f"float: {baseline:.3f}",
            (1.0, baseline),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=7,
            color="0.4",
        )
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator([1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda bits, _: f"{bits:g}"))
    ax.set_xlabel("bits per weight")
    ax.set_ylabel("validation accuracy")
    ax.grid(axis="y", lw=0.3, c="0.9")
    ax.set_axisbelow(True)
    ax.margins(y=0.12)
    if not of.empty:
        ax.legend(frameon=False, loc="lower right", handletextpad=0.2, borderaxespad=0.2)
    return ax


def plot_confirmed(results: pd.DataFrame, ax: Axes) -> Axes:
    """Mean test accuracy of confirmed configurations against bits per weight, with their intervals.

    Args:
        results: rows of `analysis.confirmed.confirmed`.
        ax: drawn on; returned.
    """
    for family, (colour, marker) in FAMILY_STYLES.items():
        of = results[(results["family"] == family) & results["num_levels"].notna()]
        mean = of["test_accuracy"]
        errors = [(mean - of["low"]).fillna(0.0), (of["high"] - mean).fillna(0.0)]
        ax.errorbar(
            of["bits_per_weight"],
            mean,
            yerr=errors,
            fmt=marker,
            ms=4.5,
            mfc="white",
            mec=colour,
            mew=1.0,
            ecolor=colour,
            elinewidth=0.8,
            capsize=1.5,
            zorder=4,
        )
    if not results.empty:
        ax.errorbar([], [], yerr=[], fmt="o", ms=4.5, mfc="white", mec="0.3", ecolor="0.3", label="test, mean and 95%")
    return ax


def save_front(trials: pd.DataFrame, out: Path, results: pd.DataFrame | None = None) -> list[Path]:
    """Writes front.pdf, front.svg and front.png, one column wide, into the folder `out`; returns their paths.

    Args:
        trials: rows of trials.parquet.
        out: the folder.
        results: rows of `analysis.confirmed.confirmed`, drawn over the search's; None if nothing was confirmed.
    """
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(COLUMN_WIDTH, 2.5), layout="constrained")
        ax = figure.add_subplot()
        if results is not None:
            plot_confirmed(results, ax)
        plot_front(trials, ax)
        if results is not None:
            ax.set_ylabel("accuracy")
        paths = [out / f"front.{suffix}" for suffix in ("pdf", "svg", "png")]
        for path in paths:
            # Without dates, the same study gives the same file.
            metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(path.suffix[1:], {})
            figure.savefig(path, dpi=300, metadata=metadata)
    return paths
