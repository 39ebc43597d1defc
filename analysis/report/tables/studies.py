"""Several studies side by side."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.report.findings import Findings
from analysis.report.latex import escape, number, tabular
from analysis.report.tables.notes import mean_optimism
from analysis.report.tables.table import Table, rows_of
from analysis.statistics.confirmation import as_trials
from analysis.statistics.pareto import float_baseline, front, hypervolume, knee
from trainables.result import TrialState


def studies_table(studies: Mapping[str, Findings]) -> Table:
    """Return a comparison of several studies, with one row for each: results of search and confirmation.

    Args:
        studies: statistics of the studies, by their names in the table.
    """
    rows = []
    for name, findings in studies.items():
        view = findings.view
        trials = findings.shown
        results = None if findings.results is None else view.restrict(findings.results)
        best = knee(trials)
        rows.append(
            {
                "study": name,
                "trials": len(findings.trials),
                "complete": int((trials["state"] == TrialState.COMPLETE).sum()),
                "finished": findings.finished,
                "float_val_accuracy": float_baseline(trials),
                "hypervolume": hypervolume(trials),
                "front_size": len(front(trials)),
                "knee_bits_per_weight": np.nan if best is None else best["bits_per_weight"],
                "knee_val_accuracy": np.nan if best is None else best["val_accuracy"],
                "test_accuracy": np.nan if results is None else _test_accuracy_of_choice(findings, results),
                "test_hypervolume": np.nan if results is None else hypervolume(as_trials(results)),
                "optimism": mean_optimism(findings),
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
        for row in rows_of(frame)
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
