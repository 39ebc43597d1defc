"""Compares readings of RM and RE, and where their representatives begin: the study of docs/method.md.

    python benchmarks/compare_variants.py digits|cifar10 [--data-dir DIR] [--out FILE.csv] [--processes N]

Every variant is trained at each K, λ and seed of the data set; a row of the CSV is one trial. The tables show, for
each variant and K, the best λ by the mean over seeds of the accuracy before tuning (the regularizer's own work) and
the mean after tuning at that λ; with the standard deviation over seeds.
"""

import argparse
import multiprocessing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from measure import print_table

from trainables.codebooks.assignment import assign
from trainables.codebooks.placement import place_representatives
from trainables.config import PenaltyForm, Recipe, TrialConfig
from trainables.regularizers.chunks import flat
from trainables.run import CompressionRun, accuracy

PLACEMENTS = ("own", "kmeans", "uniform")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A reading of a family, by name."""

    name: str
    family: str
    form: PenaltyForm = field(default_factory=PenaltyForm)


READINGS = (
    Variant(name="none", family="none"),
    Variant(name="RS", family="RS"),
    Variant(name="RC", family="RC"),
    Variant(name="RM absolute", family="RM"),
    Variant(name="RM squared", family="RM", form=PenaltyForm(squared=True)),
    Variant(name="RE τ 1 → 0.1", family="RE", form=PenaltyForm(temperature=1.0, final_temperature=0.1)),
    Variant(name="RE τ 0.25", family="RE", form=PenaltyForm(temperature=0.25, final_temperature=0.25)),
    Variant(name="RE τ 0.25 → 0.025", family="RE", form=PenaltyForm(temperature=0.25, final_temperature=0.025)),
    Variant(name="RE τ 0.05", family="RE", form=PenaltyForm(temperature=0.05, final_temperature=0.05)),
    Variant(name="RE bounded", family="RE", form=PenaltyForm(bounded=True)),
)
STARTUP_TRIALS = tuple(
    Variant(name=f"{family} from {initial}", family=family, form=PenaltyForm(initial=initial))
    for family in ("RM", "RE")
    for initial in ("grid", "quantiles", "kmeans")
)
SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {
        "levels": (2, 4),
        "lams": (1e-3, 1e-2),
        "seeds": (0, 1, 2),
        "common": {"dataset": "digits", "regularize_epochs": 12, "finetune_epochs": 6},
    },
    "cifar10": {
        "levels": (4,),
        "lams": (1e-4, 1e-3),
        "seeds": (0, 1, 2),
        "common": {
            "dataset": "cifar10",
            "subset": 2500,
            "validation_fraction": 0.2,
            "width": 0.5,
            "regularize_epochs": 9,
            "finetune_epochs": 3,
            "recipe": Recipe(learning_rate=3e-3, augmentation="crop_flip"),
        },
    },
}


def run_trial(variant: Variant, num_levels: int, lam: float, seed: int, common: dict[str, Any]) -> dict[str, Any]:
    """Trains one trial; its row of the CSV."""
    torch.set_num_threads(1)
    penalized = variant.family != "none"
    config = TrialConfig(
        family=variant.family,
        num_levels=num_levels,
        lam=lam if penalized else 0.0,
        placement="own" if penalized else "kmeans",
        seed=seed,
        penalty=variant.form,
        **common,
    )
    run = CompressionRun(config)
    while run.epoch < config.regularize_epochs:
        run.run_epoch()
    placed = accuracies_by_placement(run)
    while not run.finished:
        metrics = run.run_epoch()
    names = ("val_accuracy_pre_tuning", "val_accuracy", "float_val_accuracy", "bits_per_weight")
    setting = {"variant": variant.name, "num_levels": num_levels, "lam": config.lam, "seed": seed}
    return setting | {name: metrics[name] for name in names} | placed


def accuracies_by_placement(run: CompressionRun) -> dict[str, float]:
    """Accuracy before tuning under each placement that the family allows, at the end of the first phase."""
    own = {name: values for name, (values, _) in run.phase.codebooks().items()}
    before = {name: weight.detach().clone() for name, weight in run.weights.items()}
    result = {}
    for placement in PLACEMENTS if run.config.family != "none" else PLACEMENTS[1:]:
        for name, weight in run.weights.items():
            values = place_representatives(placement, flat(before[name]), run.config.num_levels or 0, own[name])
            weight.data.copy_(values[assign(before[name], values).long()])
        result[f"pre_tuning_{placement}"] = accuracy(run.model, run.validation_split)
    for name, weight in run.weights.items():
        weight.data.copy_(before[name])
    return result


def _run_job(job: tuple[Any, ...]) -> dict[str, Any]:
    return run_trial(*job)


def best_by_variant(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, for each variant and K, the rows of the λ whose mean accuracy before tuning is highest."""
    means = rows.groupby(["variant", "num_levels", "lam"], sort=False)["val_accuracy_pre_tuning"].mean()
    best = means.reset_index().sort_values("val_accuracy_pre_tuning", ascending=False, kind="stable")
    best = best.drop_duplicates(["variant", "num_levels"])[["variant", "num_levels", "lam"]]
    return rows.merge(best)


def print_tables(name: str, rows: pd.DataFrame, variants: tuple[Variant, ...]) -> None:
    """Prints accuracy before and after tuning, and before tuning by placement."""
    best = best_by_variant(rows)

    def cell(chosen: pd.DataFrame, column: str) -> str:
        values = chosen[column]
        return "–" if values.isna().any() else f"{values.mean():.3f} ± {values.std():.3f}"

    table, placements = [], []
    for variant in variants:
        for num_levels, chosen in best[best["variant"] == variant.name].groupby("num_levels"):
            lam = f"{chosen['lam'].iloc[0]:g}"
            columns = ("val_accuracy_pre_tuning", "val_accuracy", "float_val_accuracy")
            table.append([variant.name, num_levels, lam, len(chosen), *(cell(chosen, column) for column in columns)])
            placed = [cell(chosen, f"pre_tuning_{placement}") for placement in PLACEMENTS]
            placements.append([variant.name, num_levels, lam, *placed])
    print_table(
        f"{name}: accuracy (mean ± standard deviation over n seeds) at the best λ",
        ["variant", "K", "λ", "n", "before tuning", "after tuning", "float weights"],
        table,
    )
    print_table(
        f"{name}: accuracy before tuning by placement, at the same λ", ["variant", "K", "λ", *PLACEMENTS], placements
    )


def main() -> None:
    """Parse the command line, train all variants and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=list(SETTINGS))
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    arguments = parser.parse_args()
    setting = SETTINGS[arguments.setting]
    common = setting["common"] | {"data_dir": arguments.data_dir}
    variants = READINGS + STARTUP_TRIALS
    jobs = [
        (variant, num_levels, lam, seed, common)
        for seed in setting["seeds"]
        for variant in variants
        for num_levels in setting["levels"]
        for lam in (setting["lams"] if variant.family != "none" else (0.0,))
    ]
    out = arguments.out or Path(__file__).parent / "data" / f"variants-{arguments.setting}.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for row in pool.imap(_run_job, jobs):
            rows.append(row)
            if len(rows) % 10 == 0:
                print(f"{len(rows)} of {len(jobs)} trials", flush=True)
    frame = pd.DataFrame(rows)
    frame.to_csv(out, index=False, float_format="%.6g")
    print_tables(arguments.setting, frame, variants)


if __name__ == "__main__":
    main()
