"""Points from the literature: read with care, drawn apart, and in no statistics."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.text import Annotation

from analysis.literature import comparable_points, read_literature
from analysis.plots import plot_confirmed, plot_front
from analysis.statistics.pareto import hypervolume
from analysis.view import View
from tests.support.example_plots import FAMILY_TABLE, RESULTS, legend, texts
from tests.support.example_studies import trials_frame

GOOD = """citation,accuracy,float_accuracy,bits_per_weight,compression_ratio,model,dataset
"Han et al., 2016",0.95,0.96,1.2,,vgg16,cifar10
Choi 2020,0.94,,,16,,
Choi 2020,0.9,,,20,,
"""


def written(folder: Path, content: str) -> Path:
    path = folder / "literature.csv"
    path.write_text(content)
    return path


def test_ratio_gives_bits(tmp_path: Path) -> None:
    table = read_literature(written(tmp_path, GOOD))
    assert table["bits_per_weight"].tolist() == [1.2, 2.0, 1.6]
    assert table["model"].tolist() == ["vgg16", "", ""]


def boxes_of(ax: Axes) -> list[Annotation]:
    return [text for text in ax.texts if isinstance(text, Annotation) and text.get_gid() == "literature"]


WRONG = {
    "no citation": ("accuracy,bits_per_weight\n0.9,2\n", ["citation"]),
    "an empty citation": ("citation,accuracy,bits_per_weight\n,0.9,2\n", ["citation"]),
    "percent": ("citation,accuracy,bits_per_weight\nHan,93.4,2\n", ["accuracy", "93.4", "0.934", "'Han'"]),
    "a text for a number": ("citation,accuracy,bits_per_weight\nHan,0.9,two\n", ["bits_per_weight", "two"]),
    "no bits": ("citation,accuracy,bits_per_weight\nHan,0.9,0\n", ["bits_per_weight", "above 0"]),
    "no cost": ("citation,accuracy,bits_per_weight\nHan,0.9,\n", ["'Han'", "cost"]),
    "an unknown column": ("citation,accuracy,bits\nHan,0.9,2\n", ["'bits'", "bits_per_weight"]),
    "an empty file": ("", ["can't be read"]),
    "ragged rows": ("citation,accuracy,bits_per_weight\nHan,0.9,2\nHan,0.9,2,3\n", ["can't be read"]),
}


@pytest.mark.parametrize(("content", "parts"), WRONG.values(), ids=WRONG)
def test_wrong_file_is_refused_in_one_line(content: str, parts: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=rf"^literature {re.escape(str(path))}[^\n]+$") as refusal:
        read_literature(path)
    assert [part for part in parts if part not in str(refusal.value)] == []


def test_points_of_another_network_are_left_out(tmp_path: Path) -> None:
    table = read_literature(written(tmp_path, GOOD))
    trials = trials_frame({"model": "alexnet", "dataset": "cifar10"})
    assert comparable_points(table, trials)["citation"].tolist() == ["Choi 2020"] * 2


@pytest.mark.parametrize("plot", ["front", "confirmed"])
def test_points_are_numbers_in_boxes_and_named_in_the_legend(plot: str, ax: Axes, tmp_path: Path) -> None:
    view = View(literature=read_literature(written(tmp_path, GOOD)))
    plot_front(FAMILY_TABLE, ax, view=view) if plot == "front" else plot_confirmed(RESULTS, ax, view=view)
    boxes = boxes_of(ax)
    assert [(text.get_text(), *text.xy) for text in boxes] == [("1", 1.2, 0.95), ("2", 2.0, 0.94), ("2", 1.6, 0.9)]
    assert all(text.get_bbox_patch() is not None for text in boxes)
    assert legend(ax)[-2:] == ["Han et al., 2016 (test)", "Choi 2020 (test)"]
    assert ax.get_xlim()[0] < 1.2


def test_points_lie_as_far_from_the_float_network_as_in_their_source(ax: Axes, tmp_path: Path) -> None:
    view = View(loss=True, literature=read_literature(written(tmp_path, GOOD)))
    plot_front(FAMILY_TABLE, ax, view=view)
    (box,) = boxes_of(ax)
    assert box.xy == pytest.approx((1.2, 0.97 - 0.01))  # the study's own float network has 0.97


def test_points_change_neither_front_nor_hypervolume(ax: Axes, tmp_path: Path) -> None:
    """A point better than all trials would be alone on a front that it entered."""
    before = hypervolume(FAMILY_TABLE)
    content = "citation,accuracy,bits_per_weight\nBest,1.0,0.1\n"
    plot_front(FAMILY_TABLE, ax, view=View(literature=read_literature(written(tmp_path, content))))
    (staircase,) = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert np.asarray(staircase.get_xdata(), dtype=float).min() > 1
    (ring,) = [c for c in ax.collections if isinstance(c, PathCollection) and not len(c.get_facecolor())]
    assert np.asarray(ring.get_offsets())[0][0] > 1
    assert hypervolume(FAMILY_TABLE) == before
    assert "1" in texts(ax)
