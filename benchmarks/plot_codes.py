"""Draw the fronts of the networks of `compare_codes.py` in both codes, and print which networks are on them.

    python benchmarks/plot_codes.py [cifar10-small] [--out docs]

Before: levels in words of fixed length or Huffman's. After: in an asymmetric numeral system too. The networks are the
same, and so are their accuracies. Networks that guess (at most 15% of ten classes) are left out.
"""

import argparse
from pathlib import Path

import pandas as pd
from measure import print_table

from analysis.plots import plot_front
from analysis.plots.elements.style import PAGE_WIDTH, paper_style, save_figure
from analysis.report.figures.kind import draw_one_legend, new_figure, remove_repeated_labels
from analysis.statistics.pareto import BITS, front, hypervolume
from trainables.result import TrialState

GUESSING = 0.15
"""Accuracy up to which a network of ten classes is taken to guess."""

CODES = {"before": "file, huffman", "after": "file, entropy"}
"""Columns with the bits per weight of the file, by the name of the panel."""


def trials_of(networks: pd.DataFrame, code: str) -> pd.DataFrame:
    """Return networks as rows of a trials.parquet, with their bits in one of `CODES`."""
    return networks.assign(
        family=networks["variant"].str.partition(",")[0],
        state=TrialState.COMPLETE,
        number=networks.index,
        **{BITS: networks[CODES[code]]},
    )


def draw_fronts(trials: dict[str, pd.DataFrame], stem: Path) -> None:
    """Draw one panel for each code, on equal axes."""
    with paper_style():
        figure, axes = new_figure(len(trials), 2.3, PAGE_WIDTH)
        for ax, (name, rows) in zip(axes, trials.items(), strict=True):
            plot_front(rows, ax, source="trials")
            ax.set_title({"before": "fixed length or Huffman", "after": "with entropy coding"}[name])
            ax.axvline(1.0, c="0.6", lw=0.6, ls=":", zorder=0)
        for direction in ("x", "y"):
            limits = [getattr(ax, f"get_{direction}lim")() for ax in axes]
            for ax in axes:
                getattr(ax, f"set_{direction}lim")(min(low for low, _ in limits), max(high for _, high in limits))
        for ax in axes:
            for note in [text for text in ax.texts if text.get_text().endswith("below")]:
                note.remove()  # in the common limits nothing is
        remove_repeated_labels(axes)
        draw_one_legend(axes)
        save_figure(figure, stem, ("svg",))


def print_fronts(trials: dict[str, pd.DataFrame]) -> None:
    """Print the networks that are on the front before or after, and the hypervolumes."""
    fronts = {name: front(rows).index for name, rows in trials.items()}
    networks = trials["after"].assign(
        **{name: rows[BITS] for name, rows in trials.items()},
        **{f"on {name}": rows.index.isin(fronts[name]) for name, rows in trials.items()},
    )
    table = []
    for row in networks.sort_values(BITS).to_dict("records"):
        on = [name for name in trials if row[f"on {name}"]]
        if on:
            bits = [f"{row[name]:.3f}" for name in trials]
            table.append([row["num_levels"], row["variant"], f"{row['val_accuracy']:.3f}", *bits, " and ".join(on)])
    print_table("fronts", ["K", "family", "accuracy", "before", "after", "on the front"], table)
    volumes = ", ".join(f"{hypervolume(rows):.4f} {name}" for name, rows in trials.items())
    print(f"hypervolume (accuracy 0, 32 bits): {volumes}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", nargs="?", default="cifar10-small")
    root = Path(__file__).parents[1]
    parser.add_argument("--out", type=Path, default=root / "docs")
    arguments = parser.parse_args()
    networks = pd.read_csv(root / "benchmarks" / "data" / f"codes-{arguments.setting}.csv")
    guessing = networks["val_accuracy"] <= GUESSING
    print("at chance:", ", ".join(f"{row.variant} at K = {row.num_levels}" for row in networks[guessing].itertuples()))
    trials = {name: trials_of(networks[~guessing], name) for name in CODES}
    draw_fronts(trials, arguments.out / f"codes-{arguments.setting}")
    print_fronts(trials)


if __name__ == "__main__":
    main()
