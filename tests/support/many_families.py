"""A study of thirteen families with both statistics of batch normalization, its confirmation, and what is printed."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from analysis.origin import Origin
from analysis.report.findings import Findings
from analysis.study import StudyResults
from analysis.view import EVERYTHING, View
from tests.support.example_studies import trials_frame
from trainables.result import FINETUNE, REGULARIZE

FAMILIES = (
    *("none", "quantize-first", "RS", "RC", "RM", "RE"),
    *("SinReQ", "MSQE", "BinReg", "PARQ", "LSQ", "DKM", "RH"),
)


class _InMemory(StudyResults):
    """A study with epochs that are not on disk."""

    @property
    def has_epochs(self) -> bool:
        return True


def many_trials(seeds: tuple[int, ...], *, tested: bool) -> pd.DataFrame:
    """Return complete trials of each family at three K for some seeds, and the float baselines."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in seeds:
        for place, family in enumerate(FAMILIES):
            for levels in (2, 4, 8):
                after = 0.6 + levels / 40 + place / 200 + rng.normal(0, 0.01)
                kept = after - 0.3 + place / 100
                statistics = {"_kept": kept, "_recalibrated": kept + 0.2, "": kept}
                accuracies = {f"val_accuracy_pre_tuning{suffix}": value for suffix, value in statistics.items()}
                accuracies["val_accuracy"] = after
                if tested:
                    accuracies |= {
                        name.replace("val_", "test_"): value - 0.01 for name, value in list(accuracies.items())
                    }
                rows.append(
                    {
                        "family": family,
                        "num_levels": levels,
                        "lam": None if family == "none" else 1e-3,
                        "config_hash": f"{family}-{levels}",
                        "seed": seed,
                        "bits_per_weight": np.log2(levels) + 0.3 + place / 30,
                        "conv_bits_per_weight": np.log2(levels) + 0.2,
                        "linear_bits_per_weight": np.log2(levels) + 0.1,
                        "artifact_bytes": round(10_000 * (np.log2(levels) + 0.3 + place / 30)),
                        "weight_bops": int(32_000_000 * np.log2(levels)),
                        "epochs": 4,
                        "train_seconds": 60.0,
                    }
                    | accuracies
                )
        floats = {"family": "none", "num_levels": None, "lam": None, "placement": None, "config_hash": "float"}
        rows.append(floats | {"seed": seed, "bits_per_weight": 32.1, "val_accuracy": 0.93, "test_accuracy": 0.92})
    return trials_frame(*rows)


def findings_with_many_families(view: View = EVERYTHING) -> Findings:
    """Return the statistics of the study and of its confirmation under three seeds; nothing is on disk."""
    confirmation = StudyResults(origin=_origin("many-confirm"), trials=many_trials((1, 2, 3), tested=True))
    confirmation.trials["trial_id"] = "confirm-" + confirmation.trials["trial_id"]
    study = _InMemory(origin=_origin("many"), trials=many_trials((0,), tested=False), confirmation=confirmation)
    study.__dict__["epochs"] = _epochs(study.trials)
    return Findings(study=study, compute_importances=_importances, view=view)


def _origin(name: str) -> Origin:
    return Origin(folder=Path(name), settings={"name": name}, provenance={}, named=str)


def _epochs(trials: pd.DataFrame) -> pd.DataFrame:
    rows = [
        (trial_id, epoch, REGULARIZE if epoch < 4 else FINETUNE, accuracy * epoch / 4)
        for trial_id, accuracy in zip(trials["trial_id"], trials["val_accuracy"], strict=True)
        for epoch in range(1, 5)
    ]
    return pd.DataFrame(rows, columns=["trial_id", "epoch", "phase", "val_accuracy"])


def _importances(trials: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "objective": ["val_accuracy"] * 3 + ["bits_per_weight"] * 3,
            "parameter": ["num_levels", "lam", "family"] * 2,
            "importance": [0.6, 0.2, 0.1, 0.9, 0.0, 0.05],
            "n": 20,
        }
    )


def printed_texts(figure: Figure) -> list[tuple[Text, Bbox]]:
    """Return the texts that a figure shows, with their boxes in pixels; points from the literature are left out."""
    figure.draw_without_rendering()
    hidden = {id(label) for ax in figure.axes for label in _labels_beyond(ax)}
    return [
        (text, Text.get_window_extent(text))  # without the arrow of an annotation
        for text in figure.findobj(Text)
        if isinstance(text, Text)
        and text.get_visible()
        and text.get_text().strip()
        and id(text) not in hidden
        and text.get_gid() != "literature"
    ]


def _labels_beyond(ax: Axes) -> list[Text]:
    """Return the labels of ticks beyond the limits of the axes, which are not drawn."""
    labels = []
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        margin = 1e-9 * abs(high - low)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low - margin <= tick.get_loc() <= high + margin:
                labels += [tick.label1, tick.label2]
    return labels


def overlapping(texts: list[tuple[Text, Bbox]], tolerance: float = 1.0) -> list[tuple[str, str]]:
    """Return the pairs of texts whose boxes overlap by more than a tolerance, in pixels, in both directions."""
    pairs = []
    for (first, one), (second, other) in combinations(texts, 2):
        width = min(one.x1, other.x1) - max(one.x0, other.x0)
        height = min(one.y1, other.y1) - max(one.y0, other.y0)
        if width > tolerance and height > tolerance:
            pairs.append((first.get_text(), second.get_text()))
    return pairs
