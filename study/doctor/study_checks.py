"""Checks of a study on a cluster: resources, shares of GPUs, data set, expected time and cost. They don't use Ray."""

from collections import Counter

from study.config import GPU_PARTS, StudyConfig
from study.doctor.check import Check, CheckStatus, Node
from study.durations import duration
from trainables.config import TrialConfig
from trainables.import_path import is_import_path

SECONDS_PER_HOUR = 3600.0


def check_study(nodes: list[Node], config: StudyConfig, price: float | None, ray_seconds: float = 0.0) -> list[Check]:
    """Return the checks of a study on these nodes.

    Args:
        nodes: nodes that answered.
        config: configuration of the study.
        price: price of one node-hour, in any currency; None to leave out the expected cost.
        ray_seconds: seconds that the start of Ray has taken.
    """
    return [
        _fractions(config),
        _room(nodes, config),
        *_code(nodes),
        _data(nodes),
        *_cost(nodes, config, price, ray_seconds),
    ]


def _room(nodes: list[Node], config: StudyConfig) -> Check:
    fits = sum(config.resources.trials_on(node.resources) for node in nodes)
    wanted = f"{config.resources.cpus} CPU" + (f" and {config.resources.gpus:g} GPU" if config.resources.gpus else "")
    together = config.resources.trials_per_actor
    shared = "each with" if together == 1 else f"each {together} on"
    if not fits:
        remedy = "lower resources, or add larger nodes, unless the cluster adds them by itself"
        return Check("room for trials", CheckStatus.WARN, f"no node has {wanted} now", remedy)
    many = min(fits, config.resources.max_concurrent or fits)
    return Check("room for trials", CheckStatus.PASS, f"{many} at a time, {shared} {wanted}")


def _fractions(config: StudyConfig) -> Check:
    gpus = config.resources.gpus
    if gpus and gpus < 1:
        packed = config.resources.trials_a_gpu
        actors = packed // config.resources.trials_per_actor
        rest = 1 - actors * gpus
        if rest > 0.01:
            larger, smaller = (GPU_PARTS // trials / GPU_PARTS for trials in (actors, actors + 1))
            remedy = f"set resources.gpus to {larger:g}, or to {smaller:g}"
            return Check(
                "GPU fractions", CheckStatus.WARN, f"{packed} trials per GPU leave {rest:.0%} of it idle", remedy
            )
        return Check("GPU fractions", CheckStatus.PASS, f"{packed} trials per GPU")
    if gpus != int(gpus):
        return Check(
            "GPU fractions",
            CheckStatus.FAIL,
            f"{gpus:g} GPUs per trial",
            "set resources.gpus to a whole number, or below 1",
        )
    return Check("GPU fractions", CheckStatus.PASS, f"{gpus:g} GPUs per trial")


def _code(nodes: list[Node]) -> list[Check]:
    """Return the check that every node that trains imports the study's own parts; empty if there are none."""
    asked = [node for node in nodes if node.probe.parts]
    if not asked:
        return []
    missing = [node for node in asked if node.probe.parts_error]
    if missing:
        finding = "; ".join(f"{node.name}: {node.probe.parts_error}" for node in missing)
        return [Check("code", CheckStatus.FAIL, finding, "install what is missing on every node")]
    parts = asked[0].probe.parts
    finding = f"{parts} part{'s'[: parts != 1]} imported on {len(asked)} of {len(asked)} nodes that train"
    return [Check("code", CheckStatus.PASS, finding)]


def _data(nodes: list[Node]) -> Check:
    asked = [node for node in nodes if node.probe.dataset or node.probe.dataset_error]
    missing = [node for node in asked if node.probe.dataset_error]
    if missing:
        finding = "; ".join(f"{node.name}: {node.probe.dataset_error}" for node in missing)
        return Check(
            "data set",
            CheckStatus.FAIL,
            finding,
            "put the data set at the same path on every node, or in a shared folder",
        )
    by_checksum = Counter(node.probe.dataset for node in asked)
    if len(by_checksum) > 1:
        finding = ", ".join(f"{checksum} on {count}" for checksum, count in by_checksum.items())
        return Check("data set", CheckStatus.FAIL, f"checksums differ: {finding}", "copy one of them to all nodes")
    if not asked:
        return Check("data set", CheckStatus.WARN, "no node that can train has answered", "see the lines above")
    return Check(
        "data set",
        CheckStatus.PASS,
        f"on {len(asked)} of {len(asked)} nodes that train, checksum {next(iter(by_checksum))}",
    )


SLOWEST_FIRST = ("DKM", "RE", "BinReg", "MSQE", "RH", "RM", "PARQ", "LSQ", "SinReQ", "RC", "RS", "none")
"""Families from the slowest epoch to the fastest; after those that users write; another one counts as `none`."""


def timed_trial(config: StudyConfig) -> TrialConfig:
    """Return the trial whose epoch is timed: the slowest family of the study, with values in the middle of the space.

    An epoch without a penalty would be much shorter than most epochs of the study.
    """
    searched = {trial.family for trial in config.plan} or set(config.space.family)
    own = sorted(filter(is_import_path, searched))
    family = next((name for name in (*own, *SLOWEST_FIRST) if name in searched), "none")
    if family == "none":
        return config.trial_config({"family": "none", "num_levels": None, "init": "scratch"})
    middle = {
        "num_levels": config.space.num_levels.middle,
        "lam": config.space.middle_lam(family),
        "placement": config.space.placements(family)[0],
    }
    return config.trial_config(middle | {"family": family, "init": "scratch"})


def _cost(nodes: list[Node], config: StudyConfig, price: float | None, ray_seconds: float) -> list[Check]:
    """Return the expected time, and the expected cost if `price` is given, if no trial is stopped early.

    Every epoch is taken to last as long as the one of `timed_trial` on the same kind of node. Ray starts once, and so
    does a process at each place for a trial, all at the same time; a float network is trained before in another one.
    """
    failed = [f"{node.name}: {node.epoch_error}" for node in nodes if node.epoch_error]
    if failed:
        remedy = "trials would fail in the same way; correct what the message names"
        return [Check("expected time", CheckStatus.FAIL, f"an epoch fails on {'; '.join(failed)}", remedy)]
    pace = {node.kind: node.epoch_seconds for node in nodes if node.epoch_seconds}
    # Nodes of a timed kind train at the same time; the epochs that each completes in an hour add up.
    working = [(config.resources.trials_on(node.resources), pace[node.kind]) for node in nodes if node.kind in pace]
    at_a_time = sum(fits for fits, _ in working)
    if not any(config.resources.trials_on(node.resources) for node in nodes):
        remedy = "start a node that can train (min_workers: 1), and run qar doctor again"
        return [Check("expected time", CheckStatus.WARN, "there is no node to time an epoch on", remedy)]
    if not at_a_time:
        return []
    an_hour = sum(fits * SECONDS_PER_HOUR / seconds for fits, seconds in working)
    share = min(1.0, (config.resources.max_concurrent or at_a_time) / at_a_time)
    baseline_epochs = sum(config.baseline_config(seed).regularize_epochs for seed in config.baseline_seeds)
    start = max((node.start_seconds for node in nodes if node.start_seconds), default=0.0)
    starts = ray_seconds + start * (2 if baseline_epochs else 1)
    hours = (config.trials * config.epochs + baseline_epochs) / (an_hour * share) + starts / SECONDS_PER_HOUR
    total = duration(hours * SECONDS_PER_HOUR)
    finding = f"about {total}: {config.trials} trials × {config.epochs} epochs, none stopped"
    if baseline_epochs:
        finding += f", and {baseline_epochs} of the float network"
    paces = ", ".join(f"{seconds:.1f} s on {kind}" for kind, seconds in pace.items())
    finding += f"; an epoch of {timed_trial(config).family} takes {paces}"
    if starts:
        finding += f", the start of Ray and of trials {starts:.1f} s"
    checks = [Check("expected time", CheckStatus.PASS, finding)]
    if price is not None:
        checks.append(
            Check(
                "expected cost", CheckStatus.PASS, f"about {hours * len(nodes) * price:.2f}, at {price:g} per node-hour"
            )
        )
    return checks
