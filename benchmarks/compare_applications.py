"""Compare ways to apply and to set up the penalties, one short regularize phase each: the tables of docs/method.md.

    python benchmarks/compare_applications.py digits|vgg16 [--levels 2,4] [--seeds N] [--data-dir DIR]

A float network is trained once per seed; every variant begins from it and is trained at each K. A row of the CSV is
one trial. The table shows, for each variant and K, the mean over seeds of the accuracy before tuning, with the
statistics of batch normalization kept and re-estimated, of the quantization error at the beginning and at the end of
the phase, and of the bits per weight.
"""

import argparse
import multiprocessing
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from measure import print_table

from trainables.config import PenaltyForm, Recipe, TrialConfig
from trainables.families import FAMILIES
from trainables.run import CompressionRun

MEASURED = ("val_accuracy_kept", "val_accuracy_recalibrated", "quantization_error", "bits_per_weight")
RECIPE: dict[str, Any] = {"penalty_application": "decoupled", "lam_unit": "half_spacings", "recalibration_batches": 20}
FORM: dict[str, Any] = {"initial": "kmeans", "interval": "sigma", "temperature": 0.02, "final_temperature": 0.02}
"""Settings that a variant has unless it names others."""
COUPLED = {"penalty_application": "coupled", "lam_unit": "gradient"}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to train: a family, its λ and the switches that differ from the defaults."""

    name: str
    family: str
    lam: float = 0.0
    recipe: dict[str, Any] = field(default_factory=dict)
    form: dict[str, Any] = field(default_factory=dict)


QUANTILES = {"initial": "quantiles"}
MINMAX = {"interval": "minmax"}
FALLING = {"temperature": 0.25, "final_temperature": 0.025}
PROXIMAL = {"penalty_application": "proximal"}


def _coupled(family: str, lam: float, form: dict[str, Any]) -> Variant:
    setup = next(iter(form.values()))
    return Variant(name=f"{family} coupled, {setup}, λ = {lam:g}", family=family, lam=lam, recipe=COUPLED, form=form)


VARIANTS = (
    Variant(name="none, k-means", family="none"),
    Variant(name="quantize-first", family="quantize-first"),
    *(_coupled("RM", lam, QUANTILES) for lam in (1e-3, 1e-2, 1e-1)),
    Variant(name="RM decoupled, quantiles", family="RM", lam=8.0, form=QUANTILES),
    Variant(name="RM decoupled", family="RM", lam=8.0),
    Variant(name="RM decoupled, λ = 2", family="RM", lam=2.0),
    Variant(name="RM decoupled, λ = 32", family="RM", lam=32.0),
    Variant(name="RM squared, proximal", family="RM", lam=8.0, recipe=PROXIMAL, form={"squared": True}),
    *(_coupled("RC", lam, MINMAX) for lam in (1e-2, 1e-1)),
    Variant(name="RC decoupled, minmax", family="RC", lam=8.0, form=MINMAX),
    Variant(name="RC decoupled, 2.5 σ", family="RC", lam=8.0),
    Variant(name="RS decoupled, minmax", family="RS", lam=8.0, form=MINMAX),
    Variant(name="RS decoupled, 2.5 σ", family="RS", lam=8.0),
    Variant(name="RS decoupled, quantiles", family="RS", lam=8.0, form={"interval": "quantiles"}),
    Variant(name="RE decoupled, τ 0.25 → 0.025", family="RE", lam=8.0, form=FALLING),
    Variant(name="RE decoupled, τ 0.02", family="RE", lam=8.0),
)
SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {
        "baseline_epochs": 12,
        "common": {"dataset": "digits", "regularize_epochs": 3},
        "recipe": {"learning_rate": 1e-3},
    },
    "vgg16": {
        "baseline_epochs": 20,
        "common": {
            "dataset": "cifar10",
            "subset": 10_000,
            "validation_fraction": 0.2,
            "model": "vgg16",
            "width": 0.25,
            "regularize_epochs": 1,
        },
        "recipe": {"learning_rate": 2e-3, "augmentation": "crop_flip"},
    },
}


def float_network(setting: dict[str, Any], seed: int, data_dir: str) -> tuple[dict[str, torch.Tensor], float]:
    """Train the float network of a seed; return its state and its validation accuracy."""
    torch.set_num_threads(1)
    common = setting["common"] | {"regularize_epochs": setting["baseline_epochs"], "data_dir": data_dir}
    recipe = Recipe(**setting["recipe"])
    run = CompressionRun(
        TrialConfig(family="none", num_levels=None, finetune_epochs=0, seed=seed, recipe=recipe, **common)
    )
    while not run.finished:
        metrics = run.run_epoch()
    return run.model.state_dict(), metrics["val_accuracy"]


def run_trial(job: tuple[Variant, int, int, dict[str, Any], dict[str, torch.Tensor]]) -> dict[str, Any]:
    """Train one variant from a float network; return its row of the CSV."""
    variant, num_levels, seed, setting, weights = job
    torch.set_num_threads(1)
    config = TrialConfig(
        family=variant.family,
        num_levels=num_levels,
        lam=variant.lam,
        placement="own" if FAMILIES[variant.family].has_penalty else "kmeans",
        init="pretrained",
        seed=seed,
        finetune_epochs=0,
        penalty=PenaltyForm(**(FORM | variant.form)),
        recipe=Recipe(**(RECIPE | variant.recipe | setting["recipe"])),
        **setting["common"],
    )
    run = CompressionRun(config, initial_weights=weights)
    with run.hard_quantized() as (_, begun_with):
        pass
    started = time.perf_counter()
    while not run.finished:
        metrics = run.run_epoch()
    row = {"variant": variant.name, "num_levels": num_levels, "seed": seed, "initial_error": begun_with}
    return row | {name: metrics[name] for name in MEASURED} | {"seconds": time.perf_counter() - started}


def print_tables(name: str, rows: pd.DataFrame) -> None:
    """Print the means over seeds, variants in their order, a table for each K."""
    columns = [
        "val_accuracy_kept",
        "val_accuracy_recalibrated",
        "initial_error",
        "quantization_error",
        "bits_per_weight",
    ]
    means = rows.groupby(["num_levels", "variant"], sort=False)[columns].mean()
    for num_levels in sorted(rows["num_levels"].unique()):
        table = [
            [variant, *("–" if value != value else f"{value:.3f}" for value in values)]
            for variant, *values in means.loc[num_levels].itertuples()
        ]
        header = ["variant", "kept statistics", "re-estimated", "error at first", "error at last", "bits"]
        print_table(f"{name}, K = {num_levels}, n = {rows['seed'].nunique()}: accuracy before tuning", header, table)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=list(SETTINGS))
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--levels", default="2,4,8")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    arguments = parser.parse_args()
    setting = SETTINGS[arguments.setting]
    setting["common"] |= {"data_dir": arguments.data_dir}
    out = arguments.out or Path(__file__).parent / "data" / f"applications-{arguments.setting}.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        seeds = range(arguments.seeds)
        networks = pool.starmap(float_network, [(setting, seed, arguments.data_dir) for seed in seeds])
        print("float networks:", ", ".join(f"{accuracy:.3f}" for _, accuracy in networks), flush=True)
        jobs = [
            (variant, int(num_levels), seed, setting, networks[seed][0])
            for seed in seeds
            for num_levels in arguments.levels.split(",")
            for variant in VARIANTS
        ]
        for row in pool.imap(run_trial, jobs):
            rows.append(row)
            print(f"{len(rows)} of {len(jobs)}: {row}", flush=True)
            pd.DataFrame(rows).to_csv(out, index=False, float_format="%.6g")
    print_tables(arguments.setting, pd.DataFrame(rows))
    print(f"torch {torch.__version__}, {platform.machine()}, one thread a trial")


if __name__ == "__main__":
    main()
