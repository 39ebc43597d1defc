"""Test the claims of the paper on the studies of single seeds: see docs/results.md.

    python benchmarks/decide_claims.py show STUDY...
    python benchmarks/decide_claims.py merge STUDY... --out FOLDER
    python benchmarks/decide_claims.py test STUDY... --lambda-studies LAMBDA_STUDY... [--split test] [--out FILE.csv]

`show` prints the accuracies of all arms. `merge` writes a folder with the trials of all seeds, for `qar report` to draw
figures from; unlike `qar merge`, it needs no ledgers. `test` prints the eight tests that were named in advance; the
studies in which λ was searched, on seeds of their own, say which penalty is the best one.
"""

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import yaml
from measure import print_table

from analysis.load import load_trials
from analysis.statistics.claims import best_penalty, decide, lam_by_family, planned_claims
from analysis.statistics.family_gains import TEST, VALIDATION
from trainables.families import FAMILIES, QUANTIZE_FIRST
from trainables.result import FINETUNE, REGULARIZE, TrialState

PHASES = {REGULARIZE: "before", FINETUNE: "after"}


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def shown(value: float, form: str) -> str:
    """Return a number as text; a dash for NaN."""
    return "–" if pd.isna(value) else format(value, form)


def merged(studies: list[Path]) -> pd.DataFrame:
    """Return the trials of all studies, one below the other."""
    return pd.concat([load_trials(study) for study in studies], ignore_index=True)


def print_lams(lams: dict[str, float]) -> None:
    """Print the chosen λ."""
    rows = [[family, f"{lam:g}"] for family, lam in sorted(lams.items())]
    print_table("λ with the best validation accuracy before tuning, mean over all K", ["family", "λ"], rows)


ACCURACIES = {
    "before tuning, kept": "accuracy_pre_tuning_kept",
    "re-estimated": "accuracy_pre_tuning_recalibrated",
    "after tuning": "accuracy",
}
"""Columns of trials.parquet by what they hold, without the split."""


def split_of(trials: pd.DataFrame) -> str:
    """Return the split whose accuracies are shown and tested: the test split if every trial has evaluated it."""
    evaluated = trials.loc[trials["num_levels"].notna(), "test_accuracy"].notna().all()
    return TEST if evaluated else VALIDATION


def arms(trials: pd.DataFrame) -> list[list[str]]:
    """Return a row for each K and family: accuracies and bits per weight, means over the seeds [least, greatest].

    Args:
        trials: rows of trials.parquet of the studies of single seeds; those that are not complete are left out.

    Raises:
        ValueError: a family has several λ at one K, whose mean would say nothing.
    """
    prefix = {VALIDATION: "val", TEST: "test"}[split_of(trials)]
    order = {name: place for place, name in reversed([*enumerate(["none", QUANTIZE_FIRST, *FAMILIES])])}
    rows = []
    complete = trials[trials["state"] == TrialState.COMPLETE]
    for _, seeds in complete.groupby(["num_levels", "family"]):
        num_levels, family = seeds["num_levels"].iloc[0], seeds["family"].iloc[0]
        if len(lams := sorted(seeds["lam"].dropna().unique())) > 1:
            told = ", ".join(f"{lam:g}" for lam in lams)
            raise ValueError(
                f"λ must be one for each family and K, got {told} for {family}; use `qar report` where λ is searched"
            )
        cells = []
        for column in ACCURACIES.values():
            values = seeds[f"{prefix}_{column}"]
            extent = f" [{values.min():.3f}, {values.max():.3f}]" if len(values) > 1 else ""
            cells.append(f"{shown(fmean(values), '.3f')}{extent}")  # whatever the order of the seeds
        bits = f"{fmean(seeds['bits_per_weight']):.2f}"
        rows.append([str(int(num_levels)), str(family), str(len(seeds)), *cells, bits])
    return sorted(rows, key=lambda row: (int(row[0]), order.get(row[1], len(order)), row[1]))  # a user's own come last


def print_arms(studies: list[Path]) -> None:
    """Print the accuracies of all arms. Raises ValueError if a table is missing, or as `arms`."""
    trials = merged(studies)
    seeds = sorted(set(trials["seed"].astype(int)))
    header = ["K", "family", "n", *ACCURACIES, "bits"]
    print_table(f"{split_of(trials)} accuracy of seeds {', '.join(map(str, seeds))}", header, arms(trials))


def write_merged(studies: list[Path], out: Path) -> None:
    """Write the tables of several studies as those of one, whose trials are numbered anew.

    Raises:
        ValueError: a table is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    trials = merged(studies)  # refuses what is no study
    out.mkdir(parents=True, exist_ok=True)
    for name in ("trials.parquet", "epochs.parquet"):
        tables, before = [], 0
        for study in studies:
            table = pq.read_table(study / name)
            numbers = pa.array([before + number for number in table["number"].to_pylist()], pa.int64())
            tables.append(table.set_column(table.schema.get_field_index("number"), "number", numbers))
            before += len(load_trials(study))
        pq.write_table(pa.concat_tables(tables, promote_options="default"), out / name)
    study = yaml.safe_load((studies[0] / "study.yaml").read_text())
    changes = {"name": out.resolve().name, "trials": len(trials)}
    (out / "study.yaml").write_text(yaml.safe_dump(study | changes, sort_keys=False, allow_unicode=True))


def decided(search: pd.DataFrame, trials: pd.DataFrame, split: str | None) -> tuple[str, pd.DataFrame]:
    """Test the claims; return the split and a table as `decide` does.

    Args:
        search: rows of trials.parquet of the studies in which λ was searched.
        trials: those of the studies of single seeds.
        split: whose accuracies are tested; None for that of `split_of`.

    Raises:
        ValueError: a seed has chosen λ.
    """
    if common := sorted(int(seed) for seed in set(trials["seed"]) & set(search["seed"])):
        raise ValueError(f"studies must have other seeds than those of λ, got {common} in both; leave them out")
    split = split or split_of(trials)
    lams = lam_by_family(search)
    claims = planned_claims(best_penalty(search, lams, 4, REGULARIZE), best_penalty(search, lams, 2, FINETUNE))
    return split, decide(trials, claims, lams, split=split)


def table_rows(table: pd.DataFrame) -> list[list[str]]:
    """Return a row of text for each row of a table of `decide`."""
    return [
        [
            *(row["claim"], str(row["num_levels"]), PHASES[row["phase"]], str(row["n"])),
            "{difference:+.3f} [{low:+.3f}, {high:+.3f}]".format(**row),
            *(shown(value, ".3g") for value in (row["p"], row["p_adjusted"])),
            row["decision"] or "–",
            shown(row["detectable"], ".3f"),
        ]
        for row in records(table)
    ]


def print_tests(lambda_studies: list[Path], studies: list[Path], split: str | None, out: Path | None) -> None:
    """Print the tests of the claims, and write them to a CSV. Raises ValueError as `decided`."""
    search = merged(lambda_studies)
    split, table = decided(search, merged(studies), split)
    print_lams(lam_by_family(search))
    if out:
        table.to_csv(out, index=False, float_format="%.6g")
    header = ["claim", "K", "tuning", "n", "difference [95 %]", "p", "p (Holm)", "decision", "detectable"]
    for statistics, rows in table.groupby("statistics", sort=False):
        print_table(f"{split} accuracy, batch statistics {statistics}", header, table_rows(rows))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="print the accuracies of all arms")
    show.add_argument("studies", type=Path, nargs="+")
    merge = commands.add_parser("merge", help="write the tables of all seeds as those of one study")
    merge.add_argument("studies", type=Path, nargs="+")
    merge.add_argument("--out", type=Path, required=True)
    test = commands.add_parser("test", help="print the tests of the claims")
    test.add_argument("studies", type=Path, nargs="+")
    test.add_argument("--lambda-studies", type=Path, nargs="+", required=True)
    test.add_argument("--split", choices=[VALIDATION, TEST])
    test.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.command == "show":
            print_arms(arguments.studies)
        elif arguments.command == "merge":
            write_merged(arguments.studies, arguments.out)
        else:
            print_tests(arguments.lambda_studies, arguments.studies, arguments.split, arguments.out)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
