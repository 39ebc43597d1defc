"""Plots: what they show, whatever the study; each takes axes and returns them."""

import io
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETDOWNBASE, CARETUPBASE, MarkerStyle
from matplotlib.patches import Rectangle

from analysis.costs import COSTS
from analysis.levels import shown_levels
from analysis.names import Names
from analysis.plots import (
    plot_attainment,
    plot_confirmed,
    plot_curves,
    plot_front,
    plot_gains,
    plot_hypervolume,
    plot_importances,
    plot_layers,
    plot_studies,
)
from analysis.plots.curves import MOST_CURVES
from analysis.plots.elements.axes import MOST_DRAWN, thinned
from analysis.plots.elements.marks import FAMILY_MARKS
from analysis.statistics.attainment import attainment_surfaces
from analysis.statistics.confirmation import as_trials, confirmed
from analysis.statistics.family_gains import gains
from analysis.statistics.pareto import front, knee
from analysis.statistics.search_progress import hypervolume_band
from analysis.view import View
from tests.support.example_plots import CONFIRMATION, FAMILY_TABLE, IMPORTANCES, RESULTS, epochs_of, legend, texts
from tests.support.example_studies import trials_frame
from trainables.families import FAMILIES
from trainables.result import FINETUNE, REGULARIZE, TrialState


def staircase(ax: Axes) -> Line2D | None:
    lines = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert len(lines) <= 1
    return lines[0] if lines else None


def markers(ax: Axes) -> dict[str, list[tuple[tuple[float, float], float | None]]]:
    """Points and opacity of what is drawn, by the family whose marker and colour it has."""
    found: dict[str, list[Any]] = {family: [] for family in FAMILY_MARKS}
    for collection in ax.collections:
        if not isinstance(collection, PathCollection) or not len(collection.get_facecolor()):
            continue
        for family, mark in FAMILY_MARKS.items():
            style = MarkerStyle(mark.marker)
            path = style.get_path().transformed(style.get_transform())
            drawn = collection.get_paths()[0].vertices
            same_marker = path.vertices.shape == drawn.shape and np.allclose(path.vertices, drawn)
            if same_marker and np.allclose(collection.get_facecolor()[0][:3], to_rgb(mark.colour)):
                found[family] += [
                    (tuple(point), collection.get_alpha()) for point in np.asarray(collection.get_offsets())
                ]
    return found


def test_every_family_has_a_mark_of_its_own() -> None:
    assert set(FAMILY_MARKS) == set(FAMILIES)
    for part in ("colour", "marker", "line"):
        assert len({getattr(mark, part) for mark in FAMILY_MARKS.values()}) == len(FAMILIES), part


def test_plot_front_draws_each_family_in_its_marker(ax: Axes) -> None:
    plot_front(FAMILY_TABLE, ax)
    quantized = FAMILY_TABLE[FAMILY_TABLE["num_levels"].notna()]
    for family, drawn in markers(ax).items():
        rows = quantized[quantized["family"] == family]
        expected = set(zip(rows["bits_per_weight"], rows["val_accuracy"], strict=True))
        assert {point for point, _ in drawn} == expected, family


def test_plot_front_draws_what_is_beaten_fainter(ax: Axes) -> None:
    plot_front(FAMILY_TABLE, ax)
    best = front(FAMILY_TABLE)
    on_front = set(zip(best["bits_per_weight"], best["val_accuracy"], strict=True))
    for drawn in markers(ax).values():
        for point, alpha in drawn:
            assert (alpha is None) == (point in on_front)


def test_plot_front_names_only_the_families_that_it_shows(ax: Axes) -> None:
    plot_front(trials_frame({"family": "RE"}, {"family": "RC", "state": TrialState.PRUNED}), ax)
    assert legend(ax) == ["RE", "knee"]


def test_plot_front_rings_the_knee(ax: Axes) -> None:
    plot_front(FAMILY_TABLE, ax)
    best = knee(FAMILY_TABLE)
    assert best is not None
    (ring,) = [c for c in ax.collections if isinstance(c, PathCollection) and not len(c.get_facecolor())]
    assert ring.get_offsets().tolist() == [[best["bits_per_weight"], best["val_accuracy"]]]


def test_plot_front_marks_its_accuracy_as_the_searchs(ax: Axes) -> None:
    assert "search" in plot_front(FAMILY_TABLE, ax).get_ylabel()
    assert plot_confirmed(RESULTS, Figure().add_subplot()).get_ylabel() == "test accuracy"


def test_plot_front_counts_what_is_too_low_to_be_shown(ax: Axes) -> None:
    rows = [{"val_accuracy": 0.9 + place / 100, "bits_per_weight": 1.0 + place} for place in range(5)]
    plot_front(trials_frame(*rows, {"val_accuracy": 0.1}, {"val_accuracy": 0.2}), ax)
    assert texts(ax) == ["2 below"]
    assert ax.get_ylim()[0] > 0.2


def test_plot_front_thins_a_crowd_and_says_so(ax: Axes) -> None:
    count = MOST_DRAWN + 500
    rows = pd.concat([trials_frame({"val_accuracy": 0.9, "bits_per_weight": 1.0}), *[trials_frame({})] * 1])
    crowd = rows.iloc[[1]].loc[lambda row: row.index.repeat(count)]
    plot_front(pd.concat([rows.iloc[[0]], crowd], ignore_index=True), ax)
    assert sum(len(drawn) for drawn in markers(ax).values()) == MOST_DRAWN + 1
    assert legend(ax)[-1] == f"beaten ({MOST_DRAWN:,} of {count:,})"


def test_thinned_takes_the_same_rows_each_time() -> None:
    rows = pd.DataFrame({"value": range(100)})
    first = thinned(rows, 10)["value"].tolist()
    assert thinned(rows, 10)["value"].tolist() == first == sorted(set(first))
    assert len(thinned(rows, 100)) == 100


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=12))
def test_staircase_climbs_and_passes_through_the_front(points: list[tuple[int, int]]) -> None:
    trials = trials_frame(*({"val_accuracy": a / 5, "bits_per_weight": float(b)} for a, b in points))
    ax = plot_front(trials, Figure().add_subplot())
    line = staircase(ax)
    assert line is not None
    bits, accuracies = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert (np.diff(bits) > 0).all()
    assert (np.diff(accuracies[:-1]) > 0).all()
    best = front(trials)
    corners = set(zip(best["bits_per_weight"], best["val_accuracy"], strict=True))
    assert set(zip(bits[:-1], accuracies[:-1], strict=True)) == corners
    assert accuracies[-1] == accuracies[-2]
    low, high = ax.get_xlim()
    assert low <= trials["bits_per_weight"].min()
    assert trials["bits_per_weight"].max() <= high


def test_plot_front_draws_the_float_baseline(ax: Axes) -> None:
    plot_front(FAMILY_TABLE, ax)
    (line,) = [line for line in ax.lines if line.get_drawstyle() != "steps-post"]
    assert set(np.asarray(line.get_ydata())) == {0.97}
    assert texts(ax) == ["float: 0.970"]


def test_plot_front_holds_a_float_baseline_that_is_below_all_else(ax: Axes) -> None:
    """Floats that have not converged look like this; words outside the axes would leave no room for the axes."""
    floats = {"family": "none", "num_levels": None, "val_accuracy": 0.1, "bits_per_weight": 32.1}
    plot_front(trials_frame({"val_accuracy": 0.3}, {"val_accuracy": 0.05}, {"val_accuracy": 0.09}, floats), ax)
    low, high = ax.get_ylim()
    assert low < 0.05 < 0.3 < high, "what is hardly lower is seen too, and not counted as being below"
    assert texts(ax) == ["float: 0.100"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax.figure.savefig(io.BytesIO())


def test_plot_front_draws_neither_pruned_nor_failed_trials(ax: Axes) -> None:
    plot_front(
        trials_frame(
            {}, {"state": TrialState.PRUNED}, {"state": TrialState.FAIL, "val_accuracy": None, "bits_per_weight": None}
        ),
        ax,
    )
    assert sum(len(drawn) for drawn in markers(ax).values()) == 1


def test_plot_confirmed_shows_every_interval(ax: Axes) -> None:
    plot_confirmed(RESULTS, ax)
    quantized = RESULTS.dropna(subset="num_levels")
    ends = [segment for bars in ax.containers for segment in bars[2][0].get_segments()]
    drawn = sorted((low, high) for (_, low), (_, high) in ends)
    expected = sorted(zip(quantized["low"], quantized["high"], strict=True))
    assert np.allclose(drawn, expected)
    assert ax.get_ylim()[0] < quantized["low"].min()
    assert texts(ax) == ["float: 0.970"]


def test_plot_confirmed_tells_of_intervals_that_go_on_beyond_its_axes(ax: Axes) -> None:
    wide = RESULTS.assign(low=RESULTS["low"] - 0.4, high=RESULTS["high"] + 0.4)
    plot_confirmed(wide, ax)
    lowest, highest = ax.get_ylim()
    cut = {line.get_marker(): len(line.get_xdata()) for line in ax.lines if line.get_gid() == "cut"}  # type: ignore[arg-type]
    quantized = wide.dropna(subset="num_levels")
    assert (quantized["low"] < lowest).all()
    assert (quantized["high"] > highest).all()
    assert set(cut) == {CARETUPBASE, CARETDOWNBASE}
    ax.clear()
    plot_confirmed(RESULTS, ax)
    assert ax.get_ylim()[1] > RESULTS["high"].dropna().max()
    assert not [line for line in ax.lines if line.get_gid() == "cut"]


def test_axis_says_that_levels_are_left_out(ax: Axes) -> None:
    rows = [{"family": family, "num_levels": k, "seed": 0} for family in ("none", "RS") for k in range(2, 17)]
    table = gains(trials_frame(*rows))
    plot_gains(table, ax, phase=FINETUNE)
    assert ax.get_xlabel() == "levels per layer $K$ (4 of 15 values)"
    ax.clear()
    plot_gains(table[table["num_levels"] < 6], ax, phase=FINETUNE)
    assert ax.get_xlabel() == "levels per layer $K$"


def test_plot_confirmed_of_one_seed_has_no_interval(ax: Axes) -> None:
    plot_confirmed(confirmed(FAMILY_TABLE, CONFIRMATION[CONFIRMATION["seed"] == 0]), ax)
    for bars in ax.containers:
        for (_, low), (_, high) in bars[2][0].get_segments():
            assert low == high


def test_plot_attainment_has_its_median_within_its_band(ax: Axes) -> None:
    surfaces = attainment_surfaces(CONFIRMATION, accuracy="test_accuracy")
    plot_attainment(surfaces, ax)
    assert legend(ax) == ["25% to 75% of seeds", "median"]
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    median = surfaces.loc[surfaces["quantile"] == 0.5, "test_accuracy"]
    assert heights.min() <= median.min() <= median.max() <= heights.max()


def test_factor_without_an_upper_bound_is_drawn_to_the_top(ax: Axes) -> None:
    table = gains(CONFIRMATION, split="test").head(1).assign(phase=FINETUNE, gain=5.0, low=0.8, high=np.inf)
    plot_gains(table, ax, phase=FINETUNE)
    (bars,) = ax.containers
    (bar,) = bars[2][0].get_segments()
    assert bar[0][1] == pytest.approx(0.8)
    assert bar[1][1] > 6
    assert any(line.get_marker() == CARETUPBASE and len(line.get_xdata()) == 1 for line in ax.lines)  # type: ignore[arg-type]


def test_fronts_of_confirmed_studies_have_their_intervals(ax: Axes) -> None:
    results = as_trials(RESULTS)
    plot_studies({"one": results}, ax)
    best = front(results)
    (bars,) = ax.containers
    ends = sorted(segment[end][1] for segment in bars[2][0].get_segments() for end in (0, 1))
    assert ends == pytest.approx(sorted([*best["low"], *best["high"]]))


@pytest.mark.parametrize(
    ("levels", "shown"),
    [
        ([2, 3, 5], [2, 3, 5]),
        (range(2, 40), [2, 4, 8, 16, 32]),
        ([2, *range(17, 30)], [2, 17, 18, 20, 21, 23, 24, 26, 27, 29]),
    ],
)
def test_of_too_many_levels_the_powers_of_two_are_shown_or_an_even_share(levels: list[int], shown: list[int]) -> None:
    assert shown_levels(levels) == shown


def test_plot_gains_draws_the_phase_that_is_asked_for(ax: Axes) -> None:
    table = gains(CONFIRMATION, split="test")
    plot_gains(table, ax, phase=REGULARIZE)
    assert ax.get_title() == "before tuning"
    drawn = sorted(float(y) for bars in ax.containers for y in bars[0].get_ydata())
    assert drawn == sorted(table.loc[table["phase"] == REGULARIZE, "gain"])
    assert ax.get_legend_handles_labels()[1] == ["RS", "RE"]


def test_plot_gains_of_a_collapsed_baseline_leaves_out_what_is_infinite(ax: Axes) -> None:
    table = gains(CONFIRMATION.assign(test_accuracy_pre_tuning=0.0), split="test")
    plot_gains(table, ax, phase=REGULARIZE)
    assert not ax.containers


def test_plot_curves_tells_where_trials_were_stopped(ax: Axes) -> None:
    trials = trials_frame(
        {"epochs": 4},
        {"epochs": 2, "state": TrialState.PRUNED},
        {"epochs": 2, "state": TrialState.PRUNED},
        {"epochs": 3, "state": TrialState.PRUNED},
        {"epochs": 0, "state": TrialState.FAIL, "val_accuracy": None, "bits_per_weight": None},
    )
    plot_curves(trials, epochs_of(trials), ax)
    assert sorted(text for text in texts(ax) if "stopped" in text) == ["1 stopped", "2 stopped"]
    assert {"regularize", "finetune"} < set(texts(ax))
    (crosses,) = [line for line in ax.lines if line.get_marker() == "x"]
    assert sorted(np.asarray(crosses.get_xdata())) == [2, 2, 3]


def test_plot_curves_thins_a_crowd_and_keeps_the_front(ax: Axes) -> None:
    count = MOST_CURVES + 50
    rows = [{"epochs": 2, "state": TrialState.PRUNED, "val_accuracy": 0.1}] * count
    trials = trials_frame({"epochs": 4, "val_accuracy": 0.9}, *rows)
    plot_curves(trials, epochs_of(trials), ax)
    assert sorted(len(collection.get_paths()) for collection in ax.collections) == [1, MOST_CURVES]
    assert f"{MOST_CURVES:,} of {count:,} drawn" in legend(ax)
    assert f"{count:,} stopped" in texts(ax)


def test_plot_layers_draws_only_layers_that_there_are(ax: Axes) -> None:
    plot_layers(FAMILY_TABLE, ax)  # which has no fully connected layers
    assert [label for label in legend(ax) if "log" not in label] == ["convolutions", "whole network"]


def test_plot_importances_draws_a_bar_for_each_share(ax: Axes) -> None:
    plot_importances(IMPORTANCES, ax)
    assert sorted(bar.get_width() for bar in ax.patches if isinstance(bar, Rectangle)) == sorted(
        IMPORTANCES["importance"]
    )
    assert [label.get_text() for label in ax.get_yticklabels()] == [r"strength $\lambda$", "levels $K$"]


def test_plot_studies_names_each_study(ax: Axes) -> None:
    plot_studies({"one": FAMILY_TABLE, "another": FAMILY_TABLE, "empty": trials_frame()}, ax)
    assert legend(ax) == ["one", "another"]


@pytest.mark.parametrize("name", COSTS)
def test_front_ends_at_the_side_of_high_costs(name: str, ax: Axes) -> None:
    """A staircase holds its accuracy towards worse costs, which are at the left where more is better."""
    trials = FAMILY_TABLE.assign(artifact_bytes=1000 * FAMILY_TABLE["bits_per_weight"], weight_bops=2.0)
    trials["weight_bops"] = trials["weight_bops"] * trials["bits_per_weight"]
    view = View(cost_name=name)
    line = staircase(plot_front(trials, ax, view=view))
    assert line is not None
    x = np.asarray(line.get_xdata(), dtype=float)
    assert (np.diff(x) <= 0).all() if view.cost.more_is_better else (np.diff(x) >= 0).all()
    assert x[-1] == pytest.approx(ax.get_xlim()[0 if view.cost.more_is_better else 1])
    assert (np.diff(np.asarray(line.get_ydata(), dtype=float)) >= 0).all()
    assert ax.get_xlabel() == view.cost.label


def test_trials_without_the_cost_leave_the_axes_empty_with_the_reason(ax: Axes) -> None:
    plot_front(FAMILY_TABLE, ax, view=View(cost_name="bops"))
    assert texts(ax) == ["no trial has recorded its weight-only BOPs (millions)"]


def test_loss_is_labelled_in_points_below_the_float_network(ax: Axes) -> None:
    rows: list[dict[str, Any]] = [
        {"family": "none", "num_levels": None, "val_accuracy": 0.9},
        {"val_accuracy": 0.8},
        {"val_accuracy": 0.86},
    ]
    plot_front(trials_frame(*rows), ax, view=View(loss=True))
    ax.figure.draw_without_rendering()
    labels = {tick.get_text(): place for tick, place in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
    for text, place in labels.items():
        assert 100 * (place - 0.9) == pytest.approx(float(text.replace("−", "-")), abs=1e-6)
    assert "0" in labels
    assert ax.get_ylabel() == r"$\Delta$ validation accuracy (points, search)"


def test_names_of_families_and_axes_are_those_of_the_view(ax: Axes) -> None:
    names = Names(families={"RE": "smooth minimum", "RS": "sine"}, labels={"bits": "bits/weight"})
    plot_front(trials_frame({"family": "RS"}, {"family": "RE"}), ax, view=View(names=names))
    assert legend(ax)[:2] == ["smooth minimum", "sine"]
    assert ax.get_xlabel() == "bits/weight"


@pytest.mark.parametrize("count", [4, 5])
def test_five_studies_have_labels_at_their_lines_and_no_legend(count: int, ax: Axes) -> None:
    studies = {f"study {place}": FAMILY_TABLE for place in range(count)}
    plot_studies(studies, ax)
    labels = [text for text in texts(ax) if text.startswith("study")]
    assert (legend(ax), labels) == ((list(studies), []) if count < 5 else ([], list(studies)))


@pytest.mark.parametrize(
    ("runs", "kinds"),
    [((1,), []), ((1, 3), ["least to greatest"]), ((2, 5), ["least to greatest", "quartiles"]), ((6,), ["quartiles"])],
)
def test_legend_says_what_lies_within_a_band_of_seeds(runs: tuple[int, ...], kinds: list[str], ax: Axes) -> None:
    searches = [
        pd.DataFrame({"hours": [0.0, 0.5 + seed], "hypervolume": [0.4 + seed / 10, 0.9]}) for seed in range(max(runs))
    ]
    bands = {f"search {place}": hypervolume_band(searches[:count]) for place, count in enumerate(runs)}
    legend = plot_hypervolume(bands, ax).get_legend()
    names = [f"search {place}" + (f" ({count} seeds)" if count > 1 else "") for place, count in enumerate(runs)]
    assert [text.get_text() for text in legend.get_texts()] == [*names, *kinds] if kinds else legend is None
