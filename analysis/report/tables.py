"""Tables of a report, each as a DataFrame for CSV and as LaTeX for a paper."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.levels import families_of, shown_levels
from analysis.report.attempts import Attempts
from analysis.report.findings import Findings, NothingToShow, replicates_of
from analysis.report.latex import escape, number, power, tabular
from analysis.statistics.comparison import compare, sizes
from analysis.statistics.confirmation import as_trials
from analysis.statistics.family_gains import ACCURACIES, BASELINE, TEST, VALIDATION, best_replicates
from analysis.statistics.pareto import float_baseline, front, hypervolume, knee
from trainables.result import COMPLETE, FINETUNE, REGULARIZE

CONFIDENCE = 0.95

PHASES = {REGULARIZE: "Before tuning", FINETUNE: "After tuning"}
"""Title of the rows of each phase."""

INTERVALS = r"95\% interval (Student's $t$ below 20 seeds, percentile bootstrap from there on)"


INTERVALS_OF_GAINS = (
    r" In brackets 95\% intervals: Fieller's, in pairs where both have the same seeds, and Newcombe's (Reiser and "
    r"Guttman's where ranks of so few seeds can't reach 95\%) below 20 seeds, percentile bootstrap from there on."
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a report.

    Attributes:
        frame: all numbers, for CSV.
        latex: the table in LaTeX, rounded, with notes.
    """

    frame: pd.DataFrame
    latex: str


def accuracy_table(findings: Findings) -> Table:
    """Return accuracy by family and K, before and after tuning: of the confirmation, or of the search without one."""
    return _accuracies(findings, findings.compared, findings.split)


def search_table(findings: Findings) -> Table:
    """Return accuracy by family and K of the search, to compare with that of the confirmation."""
    if findings.is_plan:
        raise NothingToShow("a plan has no search")
    replicates_of(findings)
    return _accuracies(findings, best_replicates(findings.trials, minimum=1), VALIDATION)


def _accuracies(findings: Findings, trials: pd.DataFrame, split: str) -> Table:
    has_tests = findings.has_tests and split == findings.split
    frame = compare(trials, split=split, confidence=CONFIDENCE, tests=has_tests)
    if frame.empty:
        raise NothingToShow("no quantized trial with its full budget")
    families = families_of(frame["family"])
    levels = shown_levels(frame["num_levels"], most=12)
    cells = {
        (row.phase, row.num_levels, row.family): _accuracy_cell(row) for row in _rows(frame) if row.num_levels in levels
    }
    blocks = [
        (title, [[str(k), *(cells.get((phase, k, family), "--") for family in families)] for k in levels])
        for phase, title in PHASES.items()
        if phase in set(frame["phase"])
    ]
    notes = [_describe_accuracies(findings, frame, split), "Bold: the best of its row."]
    tests = int(frame["p"].notna().sum())
    if tests:
        notes.append(
            rf"$^{{*}}$: differs from {BASELINE} at the same $K$ (two-sided paired $t$-test over common seeds; "
            rf"family-wise level 5\% over the {tests} tests of this table, Holm's method)."
        )
    elif has_tests:
        notes.append("No significance tests: too few common seeds.")
    note = " ".join(notes) + _levels_note(frame, levels)
    return Table(frame=frame, latex=tabular(["$K$", *map(escape, families)], blocks, note))


def _levels_note(frame: pd.DataFrame, shown: list[int]) -> str:
    """Return a sentence about omitted values of K; empty if all are shown."""
    total = frame["num_levels"].nunique()
    return f" {len(shown)} of {total} values of $K$ are shown." if len(shown) < total else ""


def _accuracy_cell(row: Any) -> str:
    """Return an accuracy in percent, such as 98.3 ± 0.4: bold if it is the best, with a star if significant."""
    accuracy, low, high = (100 * getattr(row, name) for name in ("accuracy", "low", "high"))
    half = max(high - accuracy, accuracy - low)  # one bound may be clipped at 0 or 100
    shown = number(accuracy, 1)
    if row.best:
        shown = rf"\textbf{{{shown}}}"
    if row.significant:
        shown += r"\rlap{$^{*}$}" if math.isnan(low) else "$^{*}$"
    return shown if math.isnan(low) else rf"{shown}{{\scriptsize\,$\pm$\,{number(half, 1)}}}"


def _describe_accuracies(findings: Findings, frame: pd.DataFrame, split: str) -> str:
    """Return sentences about the origin of a table's accuracies, their intervals and their bias."""
    seeds = _range(frame["n"])
    plural = "seed" if frame["n"].max() == 1 else "seeds"
    if findings.is_plan:
        return (
            rf"Planned: {split} accuracy in \%, mean over {seeds} {plural} $\pm$ half the width of its {INTERVALS}."
            f"{_choice_note(findings)}{_gaps_note(findings)}"
        )
    if split == TEST:
        text = (
            rf"Confirmed: test accuracy in \%, mean over {seeds} fresh {plural} $\pm$ half the width of its "
            rf"{INTERVALS}. Configurations were chosen by the search's validation accuracy{_borrowed_note(findings)}."
        )
        optimism = _mean_optimism(findings)
        if not math.isnan(optimism):
            assert findings.results is not None
            known, total = findings.results["optimism"].count(), len(findings.results)
            which = "the confirmed configurations"
            if known < total:
                which = f"{known} of the {total} confirmed configurations"
            text += (
                rf" The search's validation accuracy of {which} is "
                rf"{number(100 * abs(optimism), 1)} points {'above' if optimism >= 0 else 'below'} their test accuracy "
                "on average."
            )
        return text + _gaps_note(findings)
    complete = int((findings.trials["state"] == COMPLETE).sum())
    return (
        rf"Search, not confirmed: validation accuracy in \% of the best configuration of each family and $K$ among "
        rf"{complete} complete trials ({seeds} {plural} each). They were selected by the accuracies shown, which are "
        f"therefore too high.{_gaps_note(findings)}"
    )


def _choice_note(findings: Findings) -> str:
    """Return a sentence about the choice among a plan's configurations of the same family and K; empty if none."""
    if not findings.is_chosen:
        return ""
    biased = ", which is therefore too high" if findings.split == VALIDATION else ""
    return (
        " If the plan has several configurations of a family and $K$, the table shows the one with the highest "
        f"validation accuracy{biased}."
    )


def _borrowed_note(findings: Findings) -> str:
    """Return a clause about configurations whose λ and placement were taken from the nearest K."""
    assert findings.results is not None
    unseen = findings.results["searched_val_accuracy"].isna() & (findings.results["family"] != BASELINE)
    count = int(unseen.sum())
    return f"; {count} of them at the nearest $K$, since it has no complete trial of the family there" * bool(count)


def _mean_optimism(findings: Findings) -> float:
    return math.nan if findings.results is None else float(findings.results["optimism"].mean())


def sizes_table(findings: Findings) -> Table:
    """Return bits per weight and bytes by family and K."""
    frame = sizes(findings.compared)
    if frame.empty:
        raise NothingToShow("no quantized trial with its full budget")
    header = ["$K$", "family", "placement", "bits", "conv", "linear", "entropy", "kB", "smaller"]
    levels = shown_levels(frame["num_levels"], most=12)
    rows = [
        [
            *(str(row.num_levels), escape(row.family), escape(row.placement or "")),
            *(number(bits, 2) for bits in (row.bits_per_weight, row.conv_bits_per_weight, row.linear_bits_per_weight)),
            *(number(row.entropy_bits_per_weight, 2), number(row.artifact_bytes / 1000, 1)),
            number(row.times_smaller, 1) + r"$\times$",
        ]
        for row in _rows(frame[frame["num_levels"].isin(levels)])
    ]
    notes = (
        "Bits: size of the compressed file over the number of parameters. Conv and linear: codebooks, code tables and "
        "levels of these layers over their weights. Entropy: entropy of the levels, a lower bound. kB: payload of the "
        "file. Smaller: compression factor against 32 bits per parameter. Means over "
        f"{_range(frame['n'])} {'seed' if frame['n'].max() == 1 else 'seeds'}."
        f"{_levels_note(frame, levels)}{_gaps_note(findings)}"
    )
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, "lllrrrrrr"))


def gains_table(findings: Findings) -> Table:
    """Return ratios of accuracy to that of plain quantization, and probabilities of improvement."""
    gains, improvements = findings.gains, findings.improvements
    if gains.empty:
        raise NothingToShow("no family and none have complete trials at the same K")
    names = ["family", "num_levels", "phase"]
    better = improvements[[*names, "probability", "low", "high"]].rename(
        columns={"low": "probability_low", "high": "probability_high"}
    )
    frame = gains.merge(better, on=names, how="left")
    several = frame[["n", "n_none"]].min(axis=1) > 1  # a single pair of seeds gives no probability
    frame["probability"] = frame["probability"].where(several)
    levels = shown_levels(frame["num_levels"], most=12)
    blocks = []
    for phase, title in PHASES.items():
        shown = frame[(frame["phase"] == phase) & frame["num_levels"].isin(levels)]
        rows = [
            [
                *(str(row.num_levels), escape(row.family)),
                *(number(100 * row.accuracy, 1), number(100 * row.accuracy_none, 1)),
                *(number(row.gain, 2), _bounds(row.low, row.high)),
                *(number(row.probability, 2), _bounds(row.probability_low, row.probability_high)),
            ]
            for row in _rows(shown.sort_values(["num_levels", "family"]))
        ]
        if rows:
            blocks.append((title, rows))
    if findings.is_plan:
        where = f"Planned, on the {findings.split} split.{_choice_note(findings)}"
    elif findings.split == TEST:
        where = "Confirmed, on the test split."
    else:
        where = "Search, not confirmed: validation accuracy of the best of many trials, which is too high."
    notes = (
        rf"{where} Accuracies in \%. Factor: accuracy over that of none at the same $K$. $P$: probability that a seed "
        rf"of the family beats a seed of none; ties count half.{INTERVALS_OF_GAINS if several.any() else ''} "
        f"{_range(frame['n'])} {'seed' if frame['n'].max() == 1 else 'seeds'} per family and $K$. A large factor "
        f"may result from a collapsed baseline.{_levels_note(frame, levels)}{_gaps_note(findings)}"
    )
    header = ["$K$", "family", "accuracy", "none", "factor", "", "$P$", ""]
    return Table(frame=frame, latex=tabular(header, blocks, notes, "llrrr@{~}rr@{~}r"))


def confirmed_table(findings: Findings) -> Table:
    """Return all configurations with means over seeds, and the validation accuracies of the search."""
    replicates_of(findings)
    assert findings.results is not None
    if findings.is_plan:
        return _planned_table(findings, findings.results)
    frame = findings.results
    best = set(front(as_trials(frame))["config_hash"])
    rows = [
        [
            number(row.bits_per_weight, 2) + (r"\rlap{$^{\circ}$}" if row.config_hash in best else ""),
            *(escape(row.family), "float" if math.isnan(row.num_levels) else f"{row.num_levels:.0f}"),
            *(power(row.lam), escape(row.placement) if isinstance(row.placement, str) else "--"),
            number(100 * row.test_accuracy, 1),
            _bounds(100 * row.low, 100 * row.high, 1),
            number(100 * row.searched_val_accuracy, 1),
            number(100 * row.optimism, 1),
        ]
        for row in _rows(frame)
    ]
    header = ["bits", "family", "$K$", r"$\lambda$", "placement", "test", "", "search", "optimism"]
    notes = (
        rf"Test accuracy in \%, mean over {_range(frame['seeds'])} fresh seeds with its {INTERVALS}. $^{{\circ}}$: on "
        "the front. Search: validation accuracy of the configuration in the search (its best trial). Optimism: search "
        "minus test, in percentage points. Dash: the search has no complete trial of the configuration."
        f"{_gaps_note(findings)}"
    )
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, "llrrlr@{~}rrr"))


def _planned_table(findings: Findings, results: pd.DataFrame) -> Table:
    """Return all configurations of a plan, with the accuracy on the split of the results."""
    frame = results.drop(columns=["searched_val_accuracy", "optimism"])
    best = set(front(as_trials(frame, findings.split))["config_hash"])
    accuracy = ACCURACIES[findings.split][FINETUNE]
    rows = [
        [
            number(row.bits_per_weight, 2) + (r"\rlap{$^{\circ}$}" if row.config_hash in best else ""),
            *(escape(row.family), "float" if math.isnan(row.num_levels) else f"{row.num_levels:.0f}"),
            *(power(row.lam), escape(row.placement) if isinstance(row.placement, str) else "--"),
            *(f"{row.seeds}", number(100 * getattr(row, accuracy), 1)),
            _bounds(100 * row.low, 100 * row.high, 1),
        ]
        for row in _rows(frame)
    ]
    header = ["bits", "family", "$K$", r"$\lambda$", "placement", "seeds", findings.split, ""]
    notes = (
        rf"Planned: {findings.split} accuracy in \%, mean over the seeds of each configuration with its {INTERVALS}. "
        rf"$^{{\circ}}$: on the front.{_gaps_note(findings)}"
    )
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, "llrrlrr@{~}r"))


def importances_table(findings: Findings) -> Table:
    """Return the importance of each hyperparameter for both objectives."""
    frame = findings.importances
    if frame is None or frame.empty:
        raise NothingToShow("too few finished trials with a penalty")
    wide = frame.pivot(index="parameter", columns="objective", values="importance")
    objectives = {"val_accuracy": "accuracy", "bits_per_weight": "bits"}
    shown = [name for name in objectives if name in wide.columns]
    names = {"num_levels": "levels $K$", "lam": r"strength $\lambda$"}
    rows = [
        [names.get(str(name), escape(str(name))), *(number(values[column], 3) for column in shown)]
        for name, values in wide.iterrows()
    ]
    notes = (
        f"Share of the variance that a hyperparameter explains alone (fANOVA), over {frame['n'].max()} complete trials "
        "with a penalty."
    )
    header = ["hyperparameter", *(objectives[name] for name in shown)]
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes))


TABLES: dict[str, Callable[[Findings], Table]] = {
    "accuracy": accuracy_table,
    "search": search_table,
    "sizes": sizes_table,
    "gains": gains_table,
    "confirmed": confirmed_table,
    "importances": importances_table,
}


def studies_table(studies: Mapping[str, Findings]) -> Table:
    """Return a comparison of several studies, with one row for each: results of search and confirmation.

    Args:
        studies: statistics of the studies, by their names in the table.
    """
    rows = []
    for name, findings in studies.items():
        trials, results = findings.trials, findings.results
        best = knee(trials)
        rows.append(
            {
                "study": name,
                "trials": len(trials),
                "complete": int((trials["state"] == COMPLETE).sum()),
                "finished": findings.finished,
                "float_val_accuracy": float_baseline(trials),
                "hypervolume": hypervolume(trials),
                "front_size": len(front(trials)),
                "knee_bits_per_weight": np.nan if best is None else best["bits_per_weight"],
                "knee_val_accuracy": np.nan if best is None else best["val_accuracy"],
                "test_accuracy": np.nan if results is None else _test_accuracy_of_choice(findings, results),
                "test_hypervolume": np.nan if results is None else hypervolume(as_trials(results)),
                "optimism": _mean_optimism(findings),
            }
        )
    frame = pd.DataFrame(rows)
    header = ["study", "trials", "float", "HV", "knee", "bits", "test", "test HV", "optimism"]
    cells = [
        [
            escape(str(row.study)) + ("" if row.finished else r"\rlap{$^{\dagger}$}"),
            f"{row.trials:,}",
            number(100 * (row.float_val_accuracy or math.nan), 1),
            *(number(row.hypervolume, 4), number(100 * row.knee_val_accuracy, 1), number(row.knee_bits_per_weight, 2)),
            *(number(100 * row.test_accuracy, 1), number(row.test_hypervolume, 4), number(100 * row.optimism, 1)),
        ]
        for row in _rows(frame)
    ]
    notes = (
        r"Accuracies in \%. HV: hypervolume of the search's front, reference point at accuracy 0 and 32 bits. Float, "
        "knee and bits: of the search, on the validation split. Test: mean test accuracy of the quantized "
        "configuration with the highest validation accuracy in the search. Test HV: hypervolume of the confirmed "
        "means, slightly too high because their front is selected by them. Optimism: validation accuracy in the search "
        "minus test accuracy in the confirmation, in percentage points. "
        r"$^{\dagger}$: not finished."
        + "".join(
            f" {escape(name)}: {escape('; '.join(findings.gaps))}."
            for name, findings in studies.items()
            if findings.gaps
        )
    )
    return Table(frame=frame, latex=tabular(header, [(None, cells)], notes))


def _test_accuracy_of_choice(findings: Findings, results: pd.DataFrame) -> float:
    """Return the test accuracy of the quantized configuration with the highest validation accuracy in the search.

    In a plan, it is the configuration with the highest mean validation accuracy. The configuration is not selected by
    its test accuracy, since that would be biased.
    """
    chosen_by = "val_accuracy" if findings.is_plan else "searched_val_accuracy"
    quantized = results[results["num_levels"].notna()].dropna(subset=chosen_by)
    best_first = quantized.sort_values(chosen_by, ascending=False, kind="stable")
    return float(best_first["test_accuracy"].iloc[0]) if len(quantized) else math.nan


def write_table(name: str, table: Table, out: Path) -> list[Path]:
    """Write `table-NAME.tex` and `table-NAME.csv` into an existing folder; return the paths."""
    paths = [out / f"table-{name}.tex", out / f"table-{name}.csv"]
    paths[0].write_text(table.latex, encoding="utf-8")
    table.frame.to_csv(paths[1], index=False, encoding="utf-8")
    return paths


def write_tables(findings: Findings, out: Path, attempts: Attempts) -> None:
    """Write all tables of a study into an existing folder; an error of one does not prevent the others.

    Raises:
        OSError: the storage cannot be written.
    """
    for name, make in TABLES.items():
        attempts.attempt(f"table {name}", partial(_make_and_write, name, make, findings, out))


def _make_and_write(name: str, make: Callable[[Findings], Table], findings: Findings, out: Path) -> list[Path]:
    return write_table(name, make(findings), out)


def _range(counts: pd.Series) -> str:
    least, most = counts.min(), counts.max()
    return f"{least}" if least == most else f"{least} to {most}"


def _gaps_note(findings: Findings) -> str:
    """Return sentences about missing trials of the search or of its confirmation; empty if there are none."""
    gaps = [*([] if findings.finished or findings.is_plan else ["the search is not finished"]), *findings.gaps]
    return "".join(f" {escape(gap[0].upper() + gap[1:])}." for gap in gaps)


def _rows(frame: pd.DataFrame) -> list[Any]:
    """Return the rows as named tuples, with one attribute for each column."""
    return list(frame.itertuples(index=False))


def _bounds(low: float, high: float, digits: int = 2) -> str:
    return "" if math.isnan(low) else rf"{{\scriptsize[{number(low, digits)}, {number(high, digits)}]}}"
