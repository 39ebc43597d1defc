"""Compare variants of the method on a small data set: the tables of docs/method.md.

    python benchmarks/compare_variants.py applications digits|vgg16 [--levels 2,4,8] [--seeds N] [--data-dir DIR]
    python benchmarks/compare_variants.py siblings digits [--levels 2,4] [--seeds N]
    python benchmarks/compare_variants.py entropy digits|cifar10 [--levels 4,8,16] [--seeds N] [--data-dir DIR]
    python benchmarks/compare_variants.py readings digits|cifar10 [--data-dir DIR]

`applications` compares ways to apply and to set up the penalties. A float network is trained once per seed; every
variant begins from it, and is trained for one short regularize phase at each K. The tables show means over the seeds:
accuracy before tuning with the statistics of batch normalization kept and re-estimated, quantization error at the
beginning and at the end of the phase, bits per weight.

`siblings` compares the paper's families with the controls and with published methods of the same kind. Every family
begins from the float network, and is trained for both phases. The tables show means over the seeds: accuracy before and
after tuning with re-estimated statistics, at the λ with the best mean accuracy before tuning.

`entropy` compares in the same way what a bit may cost under RH with RM, which is RH where bits are free.

`readings` compares readings of RM and RE and the places where their representatives begin. Every variant is trained
from random weights through both phases, at each K, λ and seed, with the coupled application of earlier versions. The
tables show, for each variant and K, the λ with the best mean accuracy before tuning.

A row of the CSV is one trial. It is written after each trial, so that an interrupted run leaves what it has measured.
"""

import argparse
import multiprocessing
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from measure import print_table

from trainables.codebooks.assignment import assign
from trainables.codebooks.placement import place_representatives
from trainables.config import PenaltyForm, Recipe, TrialConfig
from trainables.measurement.network import accuracy
from trainables.regularizers.chunks import flat
from trainables.run import CompressionRun

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to train: a family, its values of λ, and the settings that differ from the defaults."""

    name: str
    family: str
    lams: tuple[float, ...] = (0.0,)
    recipe: dict[str, Any] = field(default_factory=dict)
    form: dict[str, Any] = field(default_factory=dict)


COUPLED = {"penalty_application": "coupled", "lam_unit": "gradient"}
PROXIMAL = {"penalty_application": "proximal"}
QUANTILES = {"initial": "quantiles"}
MINMAX = {"interval": "minmax"}
FALLING = {"temperature": 0.25, "final_temperature": 0.025}
FIXED_UNIT = {"temperature_spacing": "initial"}


def _application(name: str, family: str, lam: float = 8.0, **settings: dict[str, Any]) -> Variant:
    return Variant(name=name, family=family, lams=(lam,), **settings)


APPLICATIONS = (
    _application("none, k-means", "none", 0.0),
    _application("quantize-first", "quantize-first", 0.0),
    *(
        _application(f"RM coupled, quantiles, λ = {lam:g}", "RM", lam, recipe=COUPLED, form=QUANTILES)
        for lam in (1e-3, 1e-2, 1e-1)
    ),
    _application("RM decoupled, quantiles", "RM", form=QUANTILES),
    *(_application(f"RM decoupled, λ = {lam:g}", "RM", lam) for lam in (2.0, 8.0, 32.0)),
    _application("RM squared, proximal", "RM", recipe=PROXIMAL, form={"squared": True}),
    *(_application(f"RC coupled, minmax, λ = {lam:g}", "RC", lam, recipe=COUPLED, form=MINMAX) for lam in (1e-2, 1e-1)),
    _application("RC decoupled, minmax", "RC", form=MINMAX),
    _application("RC decoupled, 2.5 σ", "RC"),
    _application("RS decoupled, minmax", "RS", form=MINMAX),
    _application("RS decoupled, 2.5 σ", "RS"),
    _application("RS decoupled, quantiles", "RS", form={"interval": "quantiles"}),
    _application("RE decoupled, τ 0.25 → 0.025 of the initial spacing", "RE", form=FALLING | FIXED_UNIT),
    _application("RE decoupled, τ 0.25 → 0.025", "RE", form=FALLING),
    *(_application(f"RE decoupled, τ 0.02, λ = {lam:g}", "RE", lam) for lam in (8.0, 32.0, 128.0)),
)

WEAK_TO_STRONG = (2.0, 8.0, 32.0)
PENALTIES = ("RS", "RC", "RM", "RE", "SinReQ", "MSQE", "BinReg")
SIBLINGS = (
    *(Variant(name=family, family=family) for family in ("none", "quantize-first")),
    *(Variant(name=family, family=family, lams=WEAK_TO_STRONG) for family in PENALTIES),
    Variant(name="MSQE proximal", family="MSQE", lams=WEAK_TO_STRONG, recipe=PROXIMAL),
    Variant(name="PARQ", family="PARQ"),
    Variant(name="LSQ", family="LSQ"),
    Variant(name="DKM, τ 0.02", family="DKM"),
    Variant(name="DKM, τ 0.1", family="DKM", form={"temperature": 0.1, "final_temperature": 0.1}),
)

ENTROPY = (
    Variant(name="none", family="none"),
    Variant(name="RM", family="RM", lams=(8.0,)),
    *(Variant(name=f"RH, γ = {g:g}", family="RH", lams=(8.0,), form={"entropy_weight": g}) for g in (0.5, 1, 2, 3, 4)),
)

EARLIER_RECIPE = COUPLED | {"recalibration_batches": 0, "finetune_learning_rate": 1e-3}
EARLIER_FORM = QUANTILES | MINMAX | FALLING | FIXED_UNIT


def _reading(name: str, family: str, **form: Any) -> Variant:
    return Variant(name=name, family=family, recipe=EARLIER_RECIPE, form=EARLIER_FORM | form)


def _temperature(first: float, last: float) -> dict[str, float]:
    return {"temperature": first, "final_temperature": last}


READINGS = (
    _reading("none", "none"),
    _reading("RS", "RS"),
    _reading("RC", "RC"),
    _reading("RM absolute", "RM"),
    _reading("RM squared", "RM", squared=True),
    _reading("RE τ 1 → 0.1", "RE", **_temperature(1.0, 0.1)),
    _reading("RE τ 0.25", "RE", **_temperature(0.25, 0.25)),
    _reading("RE τ 0.25 → 0.025", "RE"),
    _reading("RE τ 0.05", "RE", **_temperature(0.05, 0.05)),
    _reading("RE bounded", "RE", bounded=True),
    *(
        _reading(f"{family} from {initial}", family, initial=initial)
        for family in ("RM", "RE")
        for initial in ("grid", "quantiles", "kmeans")
    ),
)
PLACEMENTS = ("own", "kmeans", "uniform")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A data set with a network and the length of its training.

    Attributes:
        common: fields of all trials.
        recipe: fields of their recipes.
        baseline_epochs: epochs of the float network from which trials begin; None for random weights.
        levels: values of K.
        seeds: number of seeds.
        lams: values of λ for variants that name none.
    """

    common: dict[str, Any]
    recipe: dict[str, Any]
    baseline_epochs: int | None = None
    levels: tuple[int, ...] = (2, 4)
    seeds: int = 3
    lams: tuple[float, ...] = ()


VGG16 = {"model": "vgg16", "width": 0.25, "dataset": "cifar10", "subset": 10_000, "validation_fraction": 0.2}
SMALL_CIFAR10 = {"dataset": "cifar10", "subset": 2500, "validation_fraction": 0.2, "width": 0.5}
SETTINGS: dict[tuple[str, str], Setting] = {
    ("applications", "digits"): Setting(
        baseline_epochs=12,
        common={"dataset": "digits", "regularize_epochs": 3, "finetune_epochs": 0},
        recipe={"learning_rate": 1e-3},
    ),
    ("applications", "vgg16"): Setting(
        baseline_epochs=20,
        common=VGG16 | {"regularize_epochs": 1, "finetune_epochs": 0},
        recipe={"learning_rate": 2e-3, "augmentation": "crop_flip"},
        levels=(4, 2, 8),
        seeds=1,
    ),
    ("siblings", "digits"): Setting(
        baseline_epochs=12,
        common={"dataset": "digits", "regularize_epochs": 3, "finetune_epochs": 3},
        recipe={"learning_rate": 1e-3},
    ),
    ("entropy", "digits"): Setting(
        baseline_epochs=12,
        common={"dataset": "digits", "regularize_epochs": 3, "finetune_epochs": 3},
        recipe={"learning_rate": 1e-3},
        levels=(4, 8, 16),
    ),
    ("entropy", "cifar10"): Setting(
        baseline_epochs=12,
        common=SMALL_CIFAR10 | {"subset": 5000, "regularize_epochs": 2, "finetune_epochs": 1},
        recipe={"learning_rate": 2e-3, "augmentation": "crop_flip"},
        levels=(4, 8, 16),
    ),
    ("readings", "digits"): Setting(
        common={"dataset": "digits", "regularize_epochs": 12, "finetune_epochs": 6}, recipe={}, lams=(1e-3, 1e-2)
    ),
    ("readings", "cifar10"): Setting(
        common=SMALL_CIFAR10 | {"regularize_epochs": 9, "finetune_epochs": 3},
        recipe={"learning_rate": 3e-3, "augmentation": "crop_flip"},
        levels=(4,),
        lams=(1e-4, 1e-3),
    ),
}


def float_network(setting: Setting, seed: int) -> tuple[dict[str, torch.Tensor], float]:
    """Train the float network of a seed; return its state and its validation accuracy."""
    torch.set_num_threads(1)
    common = setting.common | {"regularize_epochs": setting.baseline_epochs}
    run = CompressionRun(
        TrialConfig(family="none", num_levels=None, seed=seed, recipe=Recipe(**setting.recipe), **common)
    )
    while not run.finished:
        metrics = run.run_epoch()
    return run.model.state_dict(), metrics["val_accuracy"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trial: a variant at a K, a λ and a seed, from the weights of a float network or from random ones."""

    variant: Variant
    num_levels: int
    lam: float
    seed: int
    setting: Setting
    weights: dict[str, torch.Tensor] | None

    def start(self) -> CompressionRun:
        """Return the trial before its first epoch."""
        torch.set_num_threads(1)
        config = TrialConfig(
            family=self.variant.family,
            num_levels=self.num_levels,
            lam=self.lam,
            init="scratch" if self.weights is None else "pretrained",
            seed=self.seed,
            penalty=PenaltyForm(**self.variant.form),
            recipe=Recipe(**(self.setting.recipe | self.variant.recipe)),
            **self.setting.common,
        )
        return CompressionRun(config, initial_weights=self.weights)

    def row(self, measured: Row) -> Row:
        """Return the trial's row of the CSV."""
        name = {"variant": self.variant.name, "num_levels": self.num_levels, "lam": self.lam, "seed": self.seed}
        return name | measured


APPLICATION_COLUMNS = ("val_accuracy_kept", "val_accuracy_recalibrated", "quantization_error", "bits_per_weight")
READING_COLUMNS = ("val_accuracy_pre_tuning", "val_accuracy", "float_val_accuracy", "bits_per_weight")


def run_application(job: Job) -> Row:
    """Train one regularize phase; return its row."""
    run = job.start()
    with run.hard_quantized() as (_, initial_error):
        pass
    started = time.perf_counter()
    while not run.finished:
        metrics = run.run_epoch()
    measured = {"initial_error": initial_error} | {name: metrics[name] for name in APPLICATION_COLUMNS}
    return job.row(measured | {"seconds": time.perf_counter() - started})


SIBLING_COLUMNS = ("val_accuracy_pre_tuning_kept", "val_accuracy_pre_tuning", "val_accuracy", "bits_per_weight")


def run_sibling(job: Job) -> Row:
    """Train both phases; return the row, with the quantization error at the end of the first one."""
    run = job.start()
    started = time.perf_counter()
    error = None
    while not run.finished:
        metrics = run.run_epoch()
        error = metrics["quantization_error"] if metrics["quantization_error"] is not None else error
    measured = {"quantization_error": error} | {name: metrics[name] for name in SIBLING_COLUMNS}
    return job.row(measured | {"seconds": time.perf_counter() - started})


def run_reading(job: Job) -> Row:
    """Train both phases; return the row, with the accuracy before tuning under each placement."""
    run = job.start()
    while run.epoch < run.config.regularize_epochs:
        run.run_epoch()
    placed = accuracies_by_placement(run)
    while not run.finished:
        metrics = run.run_epoch()
    return job.row({name: metrics[name] for name in READING_COLUMNS} | placed)


def accuracies_by_placement(run: CompressionRun) -> dict[str, float]:
    """Return the accuracy before tuning under each placement that the family allows, after the first phase."""
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


def print_applications(name: str, rows: pd.DataFrame) -> None:
    """Print the means over seeds, variants in their order, a table for each K."""
    columns = ["val_accuracy_kept", "val_accuracy_recalibrated", "initial_error", "quantization_error"]
    means = rows.groupby(["num_levels", "variant"], sort=False)[[*columns, "bits_per_weight"]].mean()
    for num_levels in sorted(rows["num_levels"].unique()):
        table = [
            [variant, *("–" if value != value else f"{value:.3f}" for value in values)]
            for variant, *values in means.loc[num_levels].itertuples()
        ]
        header = ["variant", "kept statistics", "re-estimated", "error at first", "error at last", "bits"]
        print_table(f"{name}, K = {num_levels}, n = {rows['seed'].nunique()}: accuracy before tuning", header, table)


def print_siblings(name: str, rows: pd.DataFrame) -> None:
    """Print accuracy before and after tuning at the best λ of each family, a table for each K."""
    by = ["variant", "num_levels", "lam"]
    means = rows.groupby(by, sort=False)["val_accuracy_pre_tuning"].mean().sort_values(ascending=False, kind="stable")
    best = means.reset_index().drop_duplicates(by[:2])[by].set_index(by[:2])["lam"]
    for num_levels in sorted(rows["num_levels"].unique()):
        table = []
        for variant in rows["variant"].unique():
            lam = best[variant, num_levels]
            chosen = rows[(rows["variant"] == variant) & (rows["num_levels"] == num_levels) & (rows["lam"] == lam)]
            cells = [
                *(f"{chosen[column].mean():.3f} ± {chosen[column].std():.3f}" for column in SIBLING_COLUMNS[:3]),
                *(f"{chosen[column].mean():.3f}" for column in ("quantization_error", "bits_per_weight")),
            ]
            table.append([variant, f"{lam:g}" if lam else "–", *("–" if cell == "nan" else cell for cell in cells)])
        header = ["family", "λ", "before, kept", "before, re-estimated", "after tuning", "error", "bits"]
        title = f"{name}, K = {num_levels}, n = {rows['seed'].nunique()}: accuracy (mean ± standard deviation)"
        print_table(title, header, table)


def print_readings(name: str, rows: pd.DataFrame) -> None:
    """Print accuracy before and after tuning, and before tuning by placement, at the best λ of each variant and K."""
    by = ["variant", "num_levels", "lam"]
    means = rows.groupby(by, sort=False)["val_accuracy_pre_tuning"].mean().sort_values(ascending=False, kind="stable")
    best = rows.merge(means.reset_index().drop_duplicates(by[:2])[by])

    def cell(values: pd.Series) -> str:
        return "–" if values.isna().any() else f"{values.mean():.3f} ± {values.std():.3f}"

    table, placements = [], []
    for (variant, num_levels, lam), chosen in best.groupby(by, sort=False):
        accuracies = (cell(chosen[column]) for column in READING_COLUMNS[:3])
        table.append([variant, num_levels, f"{lam:g}", len(chosen), *accuracies])
        placed = (cell(chosen[f"pre_tuning_{placement}"]) for placement in PLACEMENTS)
        placements.append([variant, num_levels, f"{lam:g}", *placed])
    title = f"{name}: accuracy (mean ± standard deviation over n seeds) at the best λ"
    print_table(title, ["variant", "K", "λ", "n", "before tuning", "after tuning", "float weights"], table)
    title = f"{name}: accuracy before tuning by placement, at the same λ"
    print_table(title, ["variant", "K", "λ", *PLACEMENTS], placements)


COMPARISONS: dict[str, tuple[tuple[Variant, ...], Callable[[Job], Row], Callable[[str, pd.DataFrame], None]]] = {
    "applications": (APPLICATIONS, run_application, print_applications),
    "siblings": (SIBLINGS, run_sibling, print_siblings),
    "entropy": (ENTROPY, run_sibling, print_siblings),
    "readings": (READINGS, run_reading, print_readings),
}


def main() -> None:
    """Parse the command line, train all variants and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", choices=list(COMPARISONS))
    parser.add_argument("setting", choices=sorted({name for _, name in SETTINGS}))
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--out", type=Path, help="CSV of the trials; benchmarks/data/COMPARISON-SETTING.csv by default")
    parser.add_argument("--levels", help="values of K, such as 2,4,8")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    arguments = parser.parse_args()
    setting = SETTINGS.get((arguments.comparison, arguments.setting))
    if setting is None:
        known = [name for comparison, name in SETTINGS if comparison == arguments.comparison]
        parser.error(f"the setting of {arguments.comparison} must be one of {known}, got {arguments.setting!r}")
    setting.common["data_dir"] = arguments.data_dir
    variants, run_trial, print_tables = COMPARISONS[arguments.comparison]
    levels = [int(level) for level in arguments.levels.split(",")] if arguments.levels else setting.levels
    out = arguments.out or Path(__file__).parent / "data" / f"{arguments.comparison}-{arguments.setting}.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.seeds or setting.seeds)
    rows: list[Row] = []
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        networks: list[Any] = [None] * len(seeds)
        if setting.baseline_epochs:
            trained = pool.starmap(float_network, [(setting, seed) for seed in seeds])
            print("float networks:", ", ".join(f"{accuracy:.3f}" for _, accuracy in trained), flush=True)
            networks = [weights for weights, _ in trained]
        jobs = [
            Job(variant=variant, num_levels=k, lam=lam, seed=seed, setting=setting, weights=networks[seed])
            for seed in seeds
            for k in levels
            for variant in variants
            for lam in (setting.lams if setting.lams and variant.family != "none" else variant.lams)
        ]
        for row in pool.imap(run_trial, jobs):
            rows.append(row)
            print(f"{len(rows)} of {len(jobs)}: {row}", flush=True)
            pd.DataFrame(rows).to_csv(out, index=False, float_format="%.6g")
    print_tables(arguments.setting, pd.DataFrame(rows))
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one thread a trial")


if __name__ == "__main__":
    main()
