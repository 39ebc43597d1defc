"""The tables of a report, each as a DataFrame for CSV and as LaTeX for a paper."""

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

INTERVALS = r"95\% interval (Student's $t$ below 20 seeds, percentile bootstrap from there on)"


INTERVALS_OF_GAINS = (
    r" In brackets 95\% intervals: Fieller's, in pairs where both have the same seeds, and Newcombe's (Reiser and "
    r"Guttman's where ranks of so few seeds can't reach 95\%) below 20 seeds, percentile bootstrap from there on."
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: every number in `frame`, those for a reader in `latex`."""

    frame: pd.DataFrame
    latex: str


def accuracy_table(findings: Findings) -> Table:
    """Accuracy by family and K before and after tuning: the confirmed one, or the search's if there is none."""
    return _accuracies(findings, findings.compared, findings.split)


def search_table(findings: Findings) -> Table:
    """The same of the search alone, beside which the confirmed accuracies show how optimistic it was."""
    if findings.is_plan:
        raise NothingToShow("nothing was searched")
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
    notes = [_what_is_shown(findings, frame, split), "Bold: the best of its row."]
    tests = int(frame["p"].notna().sum())
    if tests:
        notes.append(
            rf"$^{{*}}$: differs from {BASELINE} at the same $K$ (two-sided paired $t$-test over seeds in common, "
            rf"level 5\% for all {tests} tests of this table together, after Holm)."
        )
    elif has_tests:
        notes.append("No test of significance: too few seeds in common.")
    note = " ".join(notes) + _levels_note(frame, levels)
    return Table(frame=frame, latex=tabular(["$K$", *map(escape, families)], blocks, note))


def _levels_note(frame: pd.DataFrame, shown: list[int]) -> str:
    """That values of K are left out, as a sentence that follows others."""
    found = frame["num_levels"].nunique()
    return f" {len(shown)} of {found} values of $K$ are shown." if len(shown) < found else ""


def _accuracy_cell(row: Any) -> str:
    """98.3 ± 0.4 in percent: bold if best, with a star if significant."""
    accuracy, low, high = (100 * getattr(row, name) for name in ("accuracy", "low", "high"))
    half = max(high - accuracy, accuracy - low)  # where one bound is cut off at 0 or 100, the other tells
    shown = number(accuracy, 1)
    if row.best:
        shown = rf"\textbf{{{shown}}}"
    if row.significant:
        shown += r"\rlap{$^{*}$}" if math.isnan(low) else "$^{*}$"
    return shown if math.isnan(low) else rf"{shown}{{\scriptsize\,$\pm$\,{number(half, 1)}}}"


def _what_is_shown(findings: Findings, frame: pd.DataFrame, split: str) -> str:
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
            seen, of = findings.results["optimism"].count(), len(findings.results)
            which = "the confirmed configurations" if seen == of else f"{seen} of the {of} confirmed configurations"
            text += (
                rf" The search's validation accuracy of {which} is "
                rf"{number(100 * abs(optimism), 1)} points {'above' if optimism >= 0 else 'below'} their test accuracy "
                "on average."
            )
        return text + _gaps_note(findings)
    complete = int((findings.trials["state"] == COMPLETE).sum())
    return (
        rf"Search, not confirmed: validation accuracy in \% of the best configuration of each family and $K$ among "
        rf"{complete} complete trials ({seeds} {plural} each). They were chosen by the numbers shown, which are "
        f"therefore too high.{_gaps_note(findings)}"
    )


def _choice_note(findings: Findings) -> str:
    """Return how a plan's configurations were chosen where it has several of a family and K, as a sentence."""
    if not findings.is_chosen:
        return ""
    biased = ", so that it is too high" if findings.split == VALIDATION else ""
    return (
        " Where the plan has several configurations of a family at a $K$, that with the highest validation accuracy is "
        f"shown{biased}."
    )


def _borrowed_note(findings: Findings) -> str:
    """Return how many configurations stand for a family at a K at which the search has finished none of it."""
    assert findings.results is not None
    unseen = findings.results["searched_val_accuracy"].isna() & (findings.results["family"] != BASELINE)
    count = int(unseen.sum())
    return f"; {count} of them at the nearest $K$, for it has trained none of the family to its end there" * bool(count)


def _mean_optimism(findings: Findings) -> float:
    return math.nan if findings.results is None else float(findings.results["optimism"].mean())


def sizes_table(findings: Findings) -> Table:
    """Bits and bytes by family and K."""
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
        "Bits per weight of the compressed file, over all parameters; of convolutions and of fully connected layers "
        "(codebooks, code tables and levels over their weights); entropy of the levels, a lower bound. kB: the payload "
        "of the file; the last column: how much smaller it is than 32 bits a parameter. Means over "
        f"{_range(frame['n'])} {'seed' if frame['n'].max() == 1 else 'seeds'}."
        f"{_levels_note(frame, levels)}{_gaps_note(findings)}"
    )
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, "lllrrrrrr"))


def gains_table(findings: Findings) -> Table:
    """Factors against plain quantization, and probabilities of improvement."""
    gains, improvements = findings.gains, findings.improvements
    if gains.empty:
        raise NothingToShow("no family has a finished trial beside one of none at the same K")
    names = ["family", "num_levels", "phase"]
    better = improvements[[*names, "probability", "low", "high"]].rename(
        columns={"low": "probability_low", "high": "probability_high"}
    )
    frame = gains.merge(better, on=names, how="left")
    several = frame[["n", "n_none"]].min(axis=1) > 1  # one seed against one tells no probability
    frame["probability"] = frame["probability"].where(several)
    levels = shown_levels(frame["num_levels"], most=12)
    blocks = []
    for phase, title in PHASES.items():
        of = frame[(frame["phase"] == phase) & frame["num_levels"].isin(levels)].sort_values(["num_levels", "family"])
        rows = [
            [
                *(str(row.num_levels), escape(row.family)),
                *(number(100 * row.accuracy, 1), number(100 * row.accuracy_none, 1)),
                *(number(row.gain, 2), _bounds(row.low, row.high)),
                *(number(row.probability, 2), _bounds(row.probability_low, row.probability_high)),
            ]
            for row in _rows(of)
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
        rf"{where} Accuracies in \%; factor: accuracy over that of none at the same $K$; $P$: probability that a seed "
        rf"of the family beats one of none, ties counting half.{INTERVALS_OF_GAINS if several.any() else ''} "
        f"{_range(frame['n'])} {'seed' if frame['n'].max() == 1 else 'seeds'} a family and $K$. A factor over a "
        f"collapsed baseline says little by itself.{_levels_note(frame, levels)}{_gaps_note(findings)}"
    )
    header = ["$K$", "family", "accuracy", "none", "factor", "", "$P$", ""]
    return Table(frame=frame, latex=tabular(header, blocks, notes, "llrrr@{~}rr@{~}r"))


def confirmed_table(findings: Findings) -> Table:
    """Return all configurations with means over seeds, and what the search had seen of those that were confirmed."""
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
        "the front. Search: the validation accuracy that the search saw (best of its trials of that configuration); "
        "optimism: how many points that is above the test accuracy; a dash where the search has not trained it to its "
        "end."
        f"{_gaps_note(findings)}"
    )
    return Table(frame=frame, latex=tabular(header, [(None, rows)], notes, "llrrlr@{~}rrr"))


def _planned_table(findings: Findings, results: pd.DataFrame) -> Table:
    """Return all configurations of a plan, with the accuracy on the split that results are of."""
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
    """Hyperparameter importance for both objectives."""
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
    """Several studies side by side: how good the search was, and what was confirmed of it.

    Args:
        studies: what is known, by the name that the table gives.
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
        r"Accuracies in \%. HV: hypervolume of the search's front over the area up to accuracy 0 and 32 bits; float, "
        "knee and bits are of the search too, on the validation split. Test: mean of the confirmed quantized "
        "configuration that the search thought most accurate; test HV: of the confirmed means, somewhat too high, for "
        "their front is chosen by them; optimism: validation minus test accuracy of what was confirmed, in points. "
        r"$^{\dagger}$: not finished."
        + "".join(f" {escape(name)}: {escape('; '.join(of.gaps))}." for name, of in studies.items() if of.gaps)
    )
    return Table(frame=frame, latex=tabular(header, [(None, cells)], notes))


def _test_accuracy_of_choice(findings: Findings, results: pd.DataFrame) -> float:
    """Return the test accuracy of the quantized configuration that was most accurate in the search, on validation.

    In a plan, it is the one with the highest mean validation accuracy. The highest test accuracy would be too high.
    """
    chosen_by = "val_accuracy" if findings.is_plan else "searched_val_accuracy"
    of = results[results["num_levels"].notna()].dropna(subset=chosen_by)
    best_first = of.sort_values(chosen_by, ascending=False, kind="stable")
    return float(best_first["test_accuracy"].iloc[0]) if len(of) else math.nan


def write_table(name: str, table: Table, out: Path) -> list[Path]:
    """Writes `table-NAME.tex` and `table-NAME.csv` into a folder that exists; returns the paths."""
    paths = [out / f"table-{name}.tex", out / f"table-{name}.csv"]
    paths[0].write_text(table.latex, encoding="utf-8")
    table.frame.to_csv(paths[1], index=False, encoding="utf-8")
    return paths


def write_tables(findings: Findings, out: Path, attempts: Attempts) -> None:
    """Write all tables of a study into a folder that exists, each tried by itself.

    Raises:
        OSError: the storage can't be written.
    """
    for name, make in TABLES.items():
        attempts.attempt(f"table {name}", partial(_make_and_write, name, make, findings, out))


def _make_and_write(name: str, make: Callable[[Findings], Table], findings: Findings, out: Path) -> list[Path]:
    return write_table(name, make(findings), out)


def _range(counts: pd.Series) -> str:
    least, most = counts.min(), counts.max()
    return f"{least}" if least == most else f"{least} to {most}"


def _gaps_note(findings: Findings) -> str:
    """What the search or its confirmation lacks, as sentences that follow others."""
    gaps = [*([] if findings.finished or findings.is_plan else ["the search is not finished"]), *findings.gaps]
    return "".join(f" {escape(gap[0].upper() + gap[1:])}." for gap in gaps)


def _rows(frame: pd.DataFrame) -> list[Any]:
    """One with an attribute a column for each row."""
    return list(frame.itertuples(index=False))


def _bounds(low: float, high: float, digits: int = 2) -> str:
    return "" if math.isnan(low) else rf"{{\scriptsize[{number(low, digits)}, {number(high, digits)}]}}"
