"""Compare codes of levels on trained networks: Huffman's words, numeral systems, adaptive models and contexts.

    python benchmarks/compare_codes.py cifar10-small|vgg16|alexnet [--levels 2,3,4,8,16] [--data-dir D] [--networks D]

A float network is trained on images of CIFAR-10, at a quarter of the width; from it, each family at each K under its
penalty, and then tuned. `SETTINGS` holds images, epochs and λ: `cifar10-small` is the grid of the study of that name,
with fewer images and epochs; `vgg16` and `alexnet` have 1,600 images. Networks that are there already are not trained
again. A row of the CSV is one network; the tables show bits per weight.

`adaptive` is the size of an ideal code that learns the shares of the levels as it goes (the estimator of Krichevsky and
Trofimov, whose size does not depend on their order). With a context, it learns them for each context apart: the level
before, the level at the neighbouring place of the filter, input or output channel, two of these, the magnitudes of four
neighbours (as NNCodec and DeepCABAC do), or the place in the filter or channel itself. Each layer takes a context only
where it gains.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measure import print_table
from scipy.special import gammaln

from trainables.codebooks.bits import LayerBits, entropy_bits, network_bits
from trainables.codebooks.packing import level_counts
from trainables.config import PenaltyForm, Recipe, TrialConfig
from trainables.models import build_model
from trainables.run import CompressionRun

VARIANTS: dict[str, dict[str, Any]] = {
    "none": {"placement": "kmeans"},
    "none, uniform": {"placement": "uniform"},  # levels at equal distances over all weights: most of them are rare
    **{family: {"placement": "own"} for family in ("RS", "RC", "RM", "RE", "RH")},
    **{f"RH, γ = {g}": {"placement": "own", "penalty": PenaltyForm(entropy_weight=float(g))} for g in (2, 4)},
}
"""Fields of the trial by variant, whose name begins with that of its family."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The training of all networks of one comparison.

    Attributes:
        model: name of the network.
        images: of CIFAR-10, of which a fifth is for validation.
        float_epochs: epochs of the float network.
        tuning_epochs: epochs of tuning, after one under the penalty.
        lam: λ in half-spacings, by family.
        recipe: fields of the recipe that differ from its defaults.
    """

    model: str
    images: int
    float_epochs: int
    tuning_epochs: int
    lam: Mapping[str, float]
    recipe: Mapping[str, Any]


EQUAL_LAM = dict.fromkeys(("RS", "RC", "RM", "RE", "RH"), 8.0)
BRIEF = {"warmup_epochs": 0.5, "augmentation": "crop_flip", "finetune_learning_rate": 5e-4, "decay_quantized": False}
SETTINGS = {
    "cifar10-small": Setting(
        model="vgg16",
        images=5000,
        float_epochs=12,
        tuning_epochs=1,
        lam={"RS": 2.0, "RC": 2.0, "RM": 8.0, "RE": 32.0, "RH": 8.0},
        recipe={"learning_rate": 2e-3, "warmup_epochs": 0.5, "augmentation": "crop_flip"},
    ),
    "vgg16": Setting(
        model="vgg16",
        images=2000,
        float_epochs=20,
        tuning_epochs=2,
        lam=EQUAL_LAM,
        recipe=BRIEF | {"learning_rate": 2e-3},
    ),
    "alexnet": Setting(
        model="alexnet",
        images=2000,
        float_epochs=20,
        tuning_epochs=2,
        lam=EQUAL_LAM,
        recipe=BRIEF | {"learning_rate": 1e-3, "weight_decay": 5e-2},
    ),
}
Network = tuple[dict[str, Any], dict[str, tuple[torch.Tensor, torch.Tensor]]]

CODINGS = ("huffman", "entropy")
"""Codings before and after asymmetric numeral systems."""


def trial_config(setting: Setting, variant: str, num_levels: int | None, data_dir: str) -> TrialConfig:
    """Return the configuration of a float network (`num_levels` None) or of a trial that begins from it."""
    is_float = num_levels is None
    family, _, _ = variant.partition(",")
    return TrialConfig(
        family=family,
        num_levels=num_levels,
        lam=setting.lam.get(family, 0.0),
        init="scratch" if is_float else "pretrained",
        regularize_epochs=setting.float_epochs if is_float else 1,
        finetune_epochs=0 if is_float else setting.tuning_epochs,
        model=setting.model,
        width=0.25,
        dataset="cifar10",
        subset=setting.images,
        validation_fraction=0.2,
        data_dir=data_dir,
        **VARIANTS[variant],
        recipe=Recipe(recalibration_batches=0 if is_float else 20, **setting.recipe),
    )


def trained(config: TrialConfig, weights: Mapping[str, torch.Tensor] | None) -> tuple[CompressionRun, dict[str, Any]]:
    """Train a configuration to its end; return the run and its last metrics."""
    run, metrics = CompressionRun(config, initial_weights=weights), {}
    while not run.finished:
        metrics = run.run_epoch()
    return run, metrics


def network(folder: Path, setting: Setting, variant: str, num_levels: int, data_dir: str) -> Network:
    """Return metrics and codebooks of a network, trained if it is not in the folder."""
    path, baseline = folder / f"{variant}-{num_levels}.pt", folder / "float.pt"
    if not path.exists():
        if not baseline.exists():
            torch.save(trained(trial_config(setting, "none", None, data_dir), None)[0].model.state_dict(), baseline)
        run, metrics = trained(trial_config(setting, variant, num_levels, data_dir), torch.load(baseline))
        codebooks = {name: (values.detach(), levels) for name, (values, levels) in run.phase.codebooks().items()}
        torch.save((metrics, codebooks), path)
    return torch.load(path, weights_only=False)


def contexts(levels: np.ndarray, num_levels: int) -> dict[str, tuple[np.ndarray, int]]:
    """Return the context of each level, in the shape of the levels, and the number of contexts, by name.

    Args:
        levels: (outputs, inputs, height, width).
        num_levels: K; a place without a neighbour counts as a level of its own.
    """

    def neighbour(axis: int) -> np.ndarray:
        shifted = np.full_like(levels, num_levels)
        np.moveaxis(shifted, axis, 0)[1:] = np.moveaxis(levels, axis, 0)[:-1]
        return shifted

    before = np.concatenate([[num_levels], levels.reshape(-1)[:-1]]).reshape(levels.shape)
    output, inputs, above, left = (neighbour(axis) for axis in range(4))
    symbols = num_levels + 1
    magnitudes = sum(
        np.where(each == num_levels, 0, np.abs(each - (num_levels - 1) / 2)) for each in (output, inputs, above, left)
    )
    quartiles = np.unique(np.quantile(magnitudes, [0.25, 0.5, 0.75]))
    outputs, channels, height, width = levels.shape
    places = np.arange(height * width).reshape(1, 1, height, width)
    return {
        "level before": (before, symbols),
        "left": (left, symbols),
        "above": (above, symbols),
        "input channel before": (inputs, symbols),
        "output channel before": (output, symbols),
        "left and above": (left * symbols + above, symbols**2),
        "input and output channel before": (inputs * symbols + output, symbols**2),
        "magnitudes of four neighbours": (np.digitize(magnitudes, quartiles), len(quartiles) + 1),
        "place in the filter": (np.broadcast_to(places, levels.shape), height * width),
        "output channel": (np.broadcast_to(np.arange(outputs)[:, None, None, None], levels.shape), outputs),
        "input channel": (np.broadcast_to(np.arange(channels)[None, :, None, None], levels.shape), channels),
    }


def adaptive_bits(counts: np.ndarray) -> float:
    """Return the bits of an ideal adaptive code.

    Args:
        counts: how often each level occurs in each context, (contexts, K).

    Source: Krichevsky and Trofimov, "The performance of universal encoding", 1981.
    """
    totals, num_levels = counts.sum(1), counts.shape[1]
    likelihoods = (gammaln(counts + 0.5) - gammaln(0.5)).sum(1) - gammaln(totals + num_levels / 2)
    return float(-(likelihoods + gammaln(num_levels / 2)).sum() / np.log(2))


def sizes_of(levels: np.ndarray, num_levels: int) -> dict[str, float]:
    """Return the bits of one layer's levels, with their tables, in each code.

    Args:
        levels: (outputs, inputs, height, width), or (outputs, inputs).
        num_levels: K.
    """
    levels = levels.astype(np.int64).reshape(*levels.shape, *(1,) * (4 - levels.ndim))
    counts = np.bincount(levels.reshape(-1), minlength=num_levels)
    sizes = {"entropy": entropy_bits(counts.tolist()) * levels.size}
    for coding in CODINGS:
        layer = LayerBits(counts.tolist(), coding)
        sizes[f"{coding} coding"] = 8.0 * layer.bytes_by_code[layer.code]
    sizes["adaptive"] = adaptive_bits(counts[None])
    for name, (context, num_contexts) in contexts(levels, num_levels).items():
        cells = np.bincount((context * num_levels + levels).reshape(-1), minlength=num_contexts * num_levels)
        sizes[name] = min(adaptive_bits(cells.reshape(num_contexts, num_levels)), sizes["adaptive"])
    return sizes


def measure(name: str, variant: str, num_levels: int, trained_network: Network) -> dict[str, Any]:
    """Return the row of one network: bits per quantized weight in each code, and bits per weight of the whole file."""
    metrics, codebooks = trained_network
    layers = [sizes_of(levels.contiguous().numpy(), len(values)) for values, levels in codebooks.values()]
    num_weights = sum(levels.numel() for _, levels in codebooks.values())
    row = {"setting": name, "variant": variant, "num_levels": num_levels, "val_accuracy": metrics["val_accuracy"]}
    row |= {name: sum(sizes[name] for sizes in layers) / num_weights for name in layers[0]}
    counts = {name: level_counts(codebook) for name, codebook in codebooks.items()}
    plain = build_model(SETTINGS[name].model, (3, 32, 32), 10, 0, 0.25)
    return row | {f"file, {coding}": network_bits(plain, counts, coding).bits_per_weight for coding in CODINGS}


def print_tables(rows: pd.DataFrame) -> None:
    """Print bits by variant and K in each code, and what contexts gain."""
    table = []
    for row in rows.to_dict("records"):
        excess = [100 * (row[f"{coding} coding"] / row["entropy"] - 1) for coding in CODINGS]
        bits = [row["val_accuracy"], row["entropy"], *(row[f"{coding} coding"] for coding in CODINGS)]
        files = [row[f"file, {coding}"] for coding in CODINGS]
        gain = 100 * (1 - files[1] / files[0])
        table.append(
            [
                row["num_levels"],
                row["variant"],
                *(f"{value:.3f}" for value in bits),
                *(f"{value:.2f}%" for value in excess),
                *(f"{value:.3f}" for value in files),
                f"{gain:.1f}%",
            ]
        )
    header = [
        "K",
        "family",
        "accuracy",
        "entropy",
        "levels, Huffman",
        "levels, entropy coding",
        "Huffman above entropy",
    ]
    header += ["entropy coding above entropy", "file before", "file after", "smaller"]
    print_table(f"{rows['setting'].iloc[0]}: bits per weight", header, table)
    names = list(rows.loc[:, "adaptive":"input channel"].columns)
    gains = 100 * (1 - rows[names].div(rows["entropy coding"], axis=0))
    table = [[name, f"{gains[name].median():.2f}%", f"{gains[name].max():.2f}%"] for name in names]
    print_table(f"what each model gains over entropy coding, {len(rows)} networks", ["model", "median", "most"], table)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=list(SETTINGS))
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--levels", default="2,3,4,8,16")
    parser.add_argument("--networks", type=Path, help="folder of the trained networks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.networks or Path("networks") / arguments.setting
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for num_levels in map(int, arguments.levels.split(",")):
        for variant in VARIANTS:
            made = network(folder, SETTINGS[arguments.setting], variant, num_levels, arguments.data_dir)
            rows.append(measure(arguments.setting, variant, num_levels, made))
            print(f"{variant} at K = {num_levels}: {rows[-1]['val_accuracy']:.3f}", flush=True)
    out = Path(__file__).parent / "data" / f"codes-{arguments.setting}.csv"
    pd.DataFrame(rows).to_csv(out, index=False, float_format="%.6g")
    print_tables(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
