"""Parts of the live panel: running trials, a small front drawn in text, and the hypervolume so far."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import moocore
import numpy as np
from rich.table import Table

from study.durations import duration
from study.ledger.front import front_so_far, knee_of
from study.ledger.history import History, Trial
from study.run.progress.field_columns import field_values, short_names
from trainables.result import MIXED, TrialState

MOST_ROWS = 8
"""Most running trials that the table shows."""

FRONT_HEIGHT, FRONT_WIDTH = 8, 56
"""Rows and columns of the front, which leave room for its labels in a terminal of 80 columns."""

BLOCKS = "▁▂▃▄▅▆▇█"

REFERENCE = (0.0, 32.0)
"""Accuracy and bits per weight at which the hypervolume begins, as in `analysis.statistics.pareto`."""


def running_table(history: History, seconds: Mapping[int, float], fields: Sequence[str] = ()) -> Table:
    """Return a table of the trials that run: configuration, phase, epoch, latest accuracy and bits, and node.

    Args:
        history: history of the study.
        seconds: seconds since the last epoch of a trial, or its start, by the trial's number; other trials are left
            out.
        fields: dotted names of further searched fields, which get a column each.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    left = ("family", "phase", "node")
    headers = ("trial", "family", "K", "λ", *short_names(fields), "phase", "epoch", "for", "accuracy", "bits", "node")
    for header in headers:
        table.add_column(header, justify="left" if header in left else "right", no_wrap=True, overflow="ellipsis")
    shown = [trial for trial in history.unfinished if trial.number in seconds]
    for trial in shown[:MOST_ROWS]:
        last, config = trial.last, trial.config
        epoch = min(trial.latest_epoch + 1, trial.budget)
        table.add_row(
            *(
                str(trial.number),
                config["family"],
                MIXED if trial.is_allocated else str(config["num_levels"] or "float"),
            ),
            f"{config['lam']:.2g}" if config["lam"] else "–",
            *field_values(config, fields),
            "regularize" if epoch <= trial.regularize_epochs else "finetune",
            f"{epoch}/{trial.budget}",
            duration(seconds[trial.number]),
            f"{last['val_accuracy']:.4f}" if last else "–",
            f"{last['bits_per_weight']:.2f}" if last else "–",
            str(last.get("hostname") or "–"),
        )
    if len(shown) > MOST_ROWS:
        table.add_row("…", f"{len(shown) - MOST_ROWS} more")
    return table


def front_in_text(history: History) -> list[str]:
    """Return lines that draw accuracy over bits per weight: ● on the front, ◉ its knee, · other complete trials.

    The axis of bits is logarithmic. No lines without a complete, quantized trial.
    """
    front = front_so_far(history)
    if not front:
        return []
    complete = [trial for trial in history.trials.values() if trial.is_front_candidate]
    knee, on_front = knee_of(front), {trial.number for trial in front}
    lowest = min(_accuracy(trial) for trial in front)
    highest = max(_accuracy(trial) for trial in front)
    left, right = (pick(_bits(trial) for trial in complete) for pick in (min, max))
    grid = [[" "] * FRONT_WIDTH for _ in range(FRONT_HEIGHT)]
    for trial in [*complete, *front]:  # marks of the front cover the others
        if not lowest <= _accuracy(trial) <= highest:
            continue
        row = _place(_accuracy(trial), highest, lowest, FRONT_HEIGHT)
        column = _place(math.log2(_bits(trial)), math.log2(left), math.log2(right), FRONT_WIDTH)
        mark = "◉" if trial is knee else "●" if trial.number in on_front else "·"
        if grid[row][column] != "◉":
            grid[row][column] = mark
    labels = {0: f"{highest:.3f}", FRONT_HEIGHT - 1: f"{lowest:.3f}"}
    lines = [f"{labels.get(row, ''):>6} │{''.join(cells).rstrip()}" for row, cells in enumerate(grid)]
    ends = f"{left:.2f}", f"{right:.2f} bits/weight"
    gap = " " * max(FRONT_WIDTH - len(ends[0]) - len(ends[1]), 1)
    return [*lines, f"{'':>6} └{'─' * FRONT_WIDTH}", f"{'':>8}{ends[0]}{gap}{ends[1]}"]


def hypervolume_line(history: History, width: int = FRONT_WIDTH) -> str:
    """Return the hypervolume after each trial as a row of blocks, and its value; empty without a complete trial.

    Args:
        history: history of the study.
        width: most blocks; with more trials, each block stands for several.
    """
    ended = [trial for trial in history.trials.values() if trial.state != TrialState.RUNNING]
    values = _hypervolumes(ended, width)
    if not values or values[-1] == 0:
        return ""
    lowest = min(value for value in values if value > 0)
    blocks = [
        " " if value == 0 else BLOCKS[_place(value, lowest, values[-1], len(BLOCKS)) if values[-1] > lowest else -1]
        for value in values
    ]
    return f"hypervolume {values[-1]:.4f} {''.join(blocks)}"


def _hypervolumes(ended: Sequence[Trial], width: int) -> list[float]:
    """Return the hypervolume after at most `width` numbers of ended trials, at even distances, the last included."""
    if not ended:
        return []
    counts = np.unique(np.linspace(1, len(ended), min(width, len(ended))).round().astype(int)).tolist()
    values = []
    best = np.empty((0, 2))
    for begin, end in pairwise([0, *counts]):
        added = [(-_accuracy(t), _bits(t)) for t in ended[begin:end] if t.is_front_candidate]
        within = [point for point in added if point[1] < REFERENCE[1]]
        points = np.concatenate([best, np.array(within).reshape(-1, 2)])
        best = points[moocore.is_nondominated(points)] if len(points) else points
        area = moocore.hypervolume(best, ref=[-REFERENCE[0], REFERENCE[1]]) if len(best) else 0.0
        values.append(float(area) / REFERENCE[1])
    return values


def _accuracy(trial: Trial) -> float:
    return float(trial.last["val_accuracy"])


def _bits(trial: Trial) -> float:
    return float(trial.last["bits_per_weight"])


def _place(value: float, first: float, last: float, count: int) -> int:
    """Return the index, in [0, count), of a value between those of the first and of the last index."""
    return round((value - first) / (last - first) * (count - 1)) if last != first else 0
