"""Bits of convolutions and of fully connected layers, separately."""

import pandas as pd
from matplotlib.axes import Axes

from analysis.plots.elements.axes import dodged, nothing_to_show, set_levels_axis
from analysis.statistics.pareto import candidates

KINDS = {
    "conv_bits_per_weight": ("convolutions", "#0072B2", "o", "-"),
    "linear_bits_per_weight": ("fully connected", "#D55E00", "s", "--"),
    "bits_per_weight": ("whole network", "#000000", "D", ":"),
}


def plot_layers(trials: pd.DataFrame, ax: Axes) -> Axes:
    """Draw bits per weight of convolutions, fully connected layers and the network by K: median and range.

    Steps show ⌈log2 K⌉, the cost of a level without entropy coding. Codebooks and code tables are added to that, and
    for the whole network its unquantized parameters.

    Args:
        trials: rows of trials.parquet; candidates are drawn.
        ax: axes to draw on; returned.
    """
    complete = candidates(trials)
    levels = set_levels_axis(ax, complete["num_levels"])
    ax.set_ylabel("bits per weight")
    if complete.empty:
        return nothing_to_show(ax, "no quantized trial with its full budget")
    kinds = {column: appearance for column, appearance in KINDS.items() if complete[column].notna().any()}
    for member, (column, (label, colour, marker, line)) in enumerate(kinds.items()):
        spread = complete.groupby("num_levels")[column].agg(["median", "min", "max"]).reindex(levels)
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
        legend = r"$\lceil\log_2 K\rceil$" if place == 0 else None
        ax.plot([place - 0.4, place + 0.4], [bits, bits], c="0.6", lw=0.9, zorder=1, label=legend)
    ax.set_ylim(bottom=0)
    ax.legend(loc="upper left")
    return ax
