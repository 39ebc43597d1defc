"""What a study demands of a cluster: room, shares of GPUs, its data set; and what it takes there. No Ray."""

from collections import Counter

from study.config import GPU_PARTS, StudyConfig
from study.doctor.check import FAIL, PASS, WARN, Check, Node, kind_of
from study.durations import duration
from trainables.config import TrialConfig
from trainables.families import FAMILIES

SECONDS_PER_HOUR = 3600.0


def demands(nodes: list[Node], config: StudyConfig, price: float | None) -> list[Check]:
    """Every check of these nodes that is about a study; `price` of a node-hour, or None."""
    return [_fractions(config), _room(nodes, config), _data(nodes), *_cost(nodes, config, price)]


def configuration(config: StudyConfig) -> Check:
    """Always passes: one that is wrong was refused when it was read."""
    phases = f"{config.trial['regularize_epochs']} + {config.trial['finetune_epochs']} epochs"
    told = f"{config.trials} trials of {phases}, {config.trial['model']} on {config.trial['dataset']}"
    return Check("configuration", PASS, told)


def _room(nodes: list[Node], config: StudyConfig) -> Check:
    fits = sum(config.resources.trials_on(node.resources) for node in nodes)
    wanted = f"{config.resources.cpus} CPU" + (f" and {config.resources.gpus:g} GPU" if config.resources.gpus else "")
    if not fits:
        remedy = "lower resources, or add nodes that have it, unless the cluster adds them by itself"
        return Check("room for trials", WARN, f"no node has {wanted} now", remedy)
    many = min(fits, config.resources.max_concurrent or fits)
    return Check("room for trials", PASS, f"{many} at a time, each with {wanted}")


def _fractions(config: StudyConfig) -> Check:
    gpus = config.resources.gpus
    if gpus and gpus < 1:
        packed = config.resources.trials_a_gpu
        rest = 1 - packed * gpus
        if rest > 0.01:
            larger, smaller = (GPU_PARTS // trials / GPU_PARTS for trials in (packed, packed + 1))
            remedy = f"set resources.gpus to {larger:g}, or to {smaller:g}"
            return Check("GPU fractions", WARN, f"{packed} trials a GPU leave {rest:.0%} of it idle", remedy)
        return Check("GPU fractions", PASS, f"{packed} trials a GPU")
    if gpus != int(gpus):
        return Check("GPU fractions", FAIL, f"{gpus:g} GPUs a trial", "above 1, set resources.gpus to a whole number")
    return Check("GPU fractions", PASS, f"{gpus:g} GPUs a trial")


def _data(nodes: list[Node]) -> Check:
    asked = [node for node in nodes if node.probe.dataset or node.probe.dataset_error]
    missing = [node for node in asked if node.probe.dataset_error]
    if missing:
        told = "; ".join(f"{node.name}: {node.probe.dataset_error}" for node in missing)
        return Check("data set", FAIL, told, "put it at the same path on every node, or into a shared folder")
    by_checksum = Counter(node.probe.dataset for node in asked)
    if len(by_checksum) > 1:
        told = ", ".join(f"{checksum} on {count}" for checksum, count in by_checksum.items())
        return Check("data set", FAIL, f"checksums differ: {told}", "copy one of them to all nodes")
    if not asked:
        return Check("data set", WARN, "no node that could train was looked at", "see the lines above")
    return Check(
        "data set", PASS, f"on {len(asked)} of {len(asked)} nodes that train, checksum {next(iter(by_checksum))}"
    )


SLOWEST_FIRST = ("RE", "RM", "RC", "RS", "none")
"""Families by what an epoch with their penalty takes; others count as none."""


def timed_trial(config: StudyConfig) -> TrialConfig:
    """Return the trial whose epoch stands for all: of the slowest family that is searched, in the middle of the space.

    Without a penalty an epoch is much shorter than most of a study's.
    """
    searched = {trial.family for trial in config.plan} or set(config.space.family)
    family = next((name for name in SLOWEST_FIRST if name in searched), "none")
    if family == "none":
        return config.trial_config({"family": "none", "num_levels": None, "init": "scratch"})
    levels, placements = config.space.num_levels, config.space.placements(family)
    middle = {
        "num_levels": round((levels.low * levels.high) ** 0.5),
        "lam": (config.space.lam.low * config.space.lam.high) ** 0.5,
        "placement": placements[0] if placements else FAMILIES[family].placements[0],
    }
    return config.trial_config(middle | {"family": family, "init": "scratch"})


def _cost(nodes: list[Node], config: StudyConfig, price: float | None) -> list[Check]:
    """What the study takes if no trial is stopped early, at the pace of `timed_trial` on each kind of node."""
    failed = [f"{node.name}: {node.epoch_error}" for node in nodes if node.epoch_error]
    if failed:
        remedy = "trials would fail alike; change what it names"
        return [Check("expected time", FAIL, f"an epoch fails on {'; '.join(failed)}", remedy)]
    pace = {kind_of(node.resources): node.epoch_seconds for node in nodes if node.epoch_seconds}
    # Nodes of a kind that was timed train side by side; each adds what it gets done in an hour.
    working = [
        (config.resources.trials_on(node.resources), pace[kind_of(node.resources)])
        for node in nodes
        if kind_of(node.resources) in pace
    ]
    at_a_time = sum(fits for fits, _ in working)
    if not any(config.resources.trials_on(node.resources) for node in nodes):
        remedy = "start a node that trains (min_workers: 1), and ask again"
        return [Check("expected time", WARN, "no node is there to time an epoch on", remedy)]
    if not at_a_time:
        return []
    an_hour = sum(fits * SECONDS_PER_HOUR / seconds for fits, seconds in working)
    share = min(1.0, (config.resources.max_concurrent or at_a_time) / at_a_time)
    of_baselines = sum(config.baseline_config(seed).regularize_epochs for seed in config.baseline_seeds)
    hours = (config.trials * config.epochs + of_baselines) / (an_hour * share)
    whole = duration(hours * SECONDS_PER_HOUR)
    told = f"about {whole}: {config.trials} trials × {config.epochs} epochs, none stopped"
    if of_baselines:
        told += f", and {of_baselines} of the float baseline"
    paces = ", ".join(f"{seconds:.1f} s on {kind}" for kind, seconds in pace.items())
    told += f"; an epoch of {timed_trial(config).family} takes {paces}"
    found = [Check("expected time", PASS, told)]
    if price is not None:
        found.append(Check("expected cost", PASS, f"about {hours * len(nodes) * price:.2f}, at {price:g} a node-hour"))
    return found
