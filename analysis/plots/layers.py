"""Bits of convolutions and of fully connected layers, apart."""

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots.axes import dodged, nothing_to_show, set_levels_axis
from analysis.statistics.front import candidates

KINDS = {
    "conv_bits_per_weight": ("convolutions", "#0072B2", "o", "-"),
    "linear_bits_per_weight": ("fully connected", "#D55E00", "s", "--"),
    "bits_per_weight": ("whole network", "#000000", "D", ":"),
}


def plot_layers(trials: pd.DataFrame, ax: Axes) -> Axes:
    """Bits per weight of convolutions, fully connected layers and the whole network by K: median, least and greatest.

    Steps show ⌈log2 K⌉, what a level costs without entropy coding; codebooks and code tables come on top, and for the
    whole network its unquantized parameters.

    Args:
        trials: rows of trials.parquet; candidates are drawn.
        ax: drawn on; returned.
    """
    of = candidates(trials)
    levels = set_levels_axis(ax, of["num_levels"])
    ax.set_ylabel("bits per weight")
    if of.empty:
        return nothing_to_show(ax, "no quantized trial with its full budget")
    kinds = {column: look for column, look in KINDS.items() if of[column].notna().any()}
    for member, (column, (label, colour, marker, line)) in enumerate(kinds.items()):
        spread = of.groupby("num_levels")[column].agg(["median", "min", "max"]).reindex(levels)
        x = [dodged(place, member, len(kinds), 0.4) for place in range(len(levels))]
        ax.errorbar(
            *(x, spread["median"]),
            yerr=[spread["median"] - spread["min"], spread["max"] - spread["median"]],
            fmt=marker,
            c=colour,
            ls=line,
            lw=0.7,
            mew=0,
            elinewidth=0.7,
            label=label,
        )
    fixed = [(k - 1).bit_length() for k in levels]
    for place, bits in enumerate(fixed):
        told = r"$\lceil\log_2 K\rceil$" if place == 0 else None
        ax.plot([place - 0.4, place + 0.4], [bits, bits], c="0.6", lw=0.9, zorder=1, label=told)
    ax.set_ylim(bottom=0)
    ax.legend(loc="upper left")
    return ax
