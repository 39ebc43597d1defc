"""Lines and tables about a study for a terminal: states, times, failures, costs and the front."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from study.durations import duration
from study.ledger.costs import Costs
from study.ledger.history import History, Trial
from study.run.progress.field_columns import field_values, short_names
from study.terminal import one_line
from trainables.result import MIXED, TrialState

MOST_TRIALS_SHOWN = 4
"""Most running trials whose epochs a line of progress shows."""

MOST_FAILURES_SHOWN = 10
"""Most trials that a line about a failure names."""


def front_points(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Return the trials of a front by point, in the order of the points."""
    points: dict[tuple[float, float], list[Trial]] = {}
    for trial in trials:
        points.setdefault((trial.last["bits_per_weight"], trial.last["val_accuracy"]), []).append(trial)
    return list(points.values())


def front_table(trials: Sequence[Trial], fields: Sequence[str] = (), most: int | None = None) -> Table:
    """Return the front as a table: accuracy, bits, and the configuration of each point.

    Trials at the same point share a row, which counts those after the first.

    Args:
        trials: trials of the front.
        fields: dotted names of further searched fields, which get a column each.
        most: most points that the table shows, at least 2: of a larger front both ends, and others at equal distances
            between them, counted in points. None for all.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in ("bits/weight", "val accuracy", "family", "K", "λ", "placement", *short_names(fields), "trial"):
        table.add_column(header, justify="left" if header in ("family", "placement") else "right")
    points = front_points(trials)
    if most is not None and len(points) > most:
        points = [points[round(row * (len(points) - 1) / (most - 1))] for row in range(most)]
    for trial, *others in points:
        config = trial.config
        table.add_row(
            f"{trial.last['bits_per_weight']:.2f}",
            f"{trial.last['val_accuracy']:.4f}",
            config["family"],
            MIXED if trial.is_allocated else str(config["num_levels"]),
            f"{config['lam']:.2g}" if config["lam"] else "–",
            config["placement"],
            *field_values(config, fields),
            f"{trial.number} (+{len(others)})" if others else str(trial.number),
        )
    return table


def cost_lines(costs: Costs) -> list[str]:
    """Return lines about the training time of a study, the time lost to crashes and that saved by early stopping."""

    def parts(seconds: dict[str, float]) -> str:
        return ", ".join(f"{name} {duration(value)}" for name, value in seconds.items() if value)

    lines = [f"float networks: training {duration(costs.baseline)}"] if costs.baseline else []
    if costs.trials:
        lines += [
            f"training {duration(costs.trials)}, summed over trials: {parts(costs.by_phase)}",
            f"by family: {parts(costs.by_family)}",
        ]
    if costs.lost >= 1:
        lines.append(f"lost to crashes: {duration(costs.lost)} of epochs that were trained twice")
    if costs.saved >= 1:
        lines.append(f"saved by early stopping: about {duration(costs.saved)} against full budgets")
    return lines


def failure_lines(history: History) -> list[str]:
    """Return a line for each reason why trials failed, with the numbers of the trials."""
    numbers: dict[str, list[int]] = {}
    for trial in history.trials.values():
        if trial.failure:
            numbers.setdefault(one_line(trial.failure), []).append(trial.number)
    lines = []
    for reason, failed in numbers.items():
        shown = ", ".join(map(str, failed[:MOST_FAILURES_SHOWN]))
        more = f" and {len(failed) - MOST_FAILURES_SHOWN} more" if len(failed) > MOST_FAILURES_SHOWN else ""
        lines.append(f"trial{'s'[: len(failed) > 1]} {shown}{more} failed: {reason}")
    return lines


def states_line(history: History, trials: int, *, is_driven: bool = True) -> str:
    """Return `12 of 64 trials: 9 COMPLETE, 2 PRUNED, 1 RUNNING`, or `1 to resume` where no driver runs the study."""
    names = {state: state for state in TrialState} | ({} if is_driven else {TrialState.RUNNING: "to resume"})
    counts = ", ".join(f"{history.count(state)} {names[state]}" for state in TrialState if history.count(state))
    return f"{history.num_ended} of {trials} trials" + (f": {counts}" if counts else "")


def training_line(history: History, seconds: Mapping[int, float]) -> str:
    """Return which epoch each running trial is in, and for how long; empty if none runs.

    Args:
        history: history of the study.
        seconds: seconds since the last epoch of a trial, or its start, by the trial's number; other trials are left
            out.
    """
    shown = [trial for trial in history.unfinished if trial.number in seconds]
    parts = []
    for trial in shown[:MOST_TRIALS_SHOWN]:
        epoch = min(trial.latest_epoch + 1, trial.budget)
        parts.append(f"trial {trial.number} epoch {epoch} of {trial.budget} for {duration(seconds[trial.number])}")
    more = f", {len(shown) - MOST_TRIALS_SHOWN} more" if len(shown) > MOST_TRIALS_SHOWN else ""
    return f"training: {', '.join(parts)}{more}" if parts else ""
