"""What is wrong with a cluster for a study, judged from what was seen on its nodes. No Ray."""

from collections import Counter
from dataclasses import dataclass

from rich.text import Text

from study.config import StudyConfig
from study.durations import duration
from study.node import Look

PASS, WARN, FAIL = "pass", "warn", "fail"
DISK_FREE = 10 * 2**30
"""Bytes that Ray's temporary folder should have: packages, logs, spilled objects."""
OPEN_FILES = 8192
SKEW_WARNS, SKEW_FAILS = 2.0, 60.0
"""Seconds. Tokens and certificates stop working at about a minute; below two nothing notices."""
SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Check:
    """One line of the table: what was looked at, `PASS`, `WARN` or `FAIL`, what was found, and what to do about it."""

    name: str
    status: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Node:
    """A node of the cluster, and what was seen there.

    Attributes:
        name: hostname.
        resources: as Ray counts them: CPU, GPU, memory and object_store_memory in bytes.
        look: what was seen.
        skew: seconds that its clock is ahead of the driver's, beyond what the way there and back explains.
        unseen: names of nodes whose file in the storage can't be read there.
        unwritable: why it can't write the storage, in one line.
        unfetched: names of nodes whose objects don't get there.
        epoch_seconds: that one of the float baseline takes, if that was timed there.
        epoch_error: why that failed, in one line.
    """

    name: str
    resources: dict[str, float]
    look: Look
    skew: float = 0.0
    unseen: tuple[str, ...] = ()
    unwritable: str | None = None
    unfetched: tuple[str, ...] = ()
    epoch_seconds: float | None = None
    epoch_error: str | None = None


@dataclass(frozen=True)
class Lost:
    """A node on which nothing could be seen, and why, in one line."""

    name: str
    error: str


def kind_of(resources: dict[str, float]) -> str:
    """Nodes of one kind are taken to be equally fast."""
    gpus = int(resources.get("GPU", 0))
    return f"{resources.get('CPU', 0):g} CPUs" + (f" and {gpus} GPUs" if gpus else "")


def checks(
    nodes: list[Node], lost: list[Lost], config: StudyConfig | None, storage: str, price: float | None = None
) -> list[Check]:
    """Every check that can be made of these nodes, in the order in which they are shown.

    Args:
        nodes: that were seen.
        lost: the others.
        config: of a study; None to leave out what is about one.
        storage: folder that all nodes are to share.
        price: of a node-hour, in any currency; None to leave out what the study costs.
    """
    found = [] if config is None else [_configuration(config)]
    found.append(_reached(nodes, lost))
    if not nodes:
        return found
    found += [_versions(nodes), _storage(nodes, storage), _clocks(nodes), _authentication(nodes)]
    found += [_disk(nodes), _shared_memory(nodes), _object_store(nodes), _open_files(nodes)]
    found += [_threads(nodes), _gpus(nodes)]
    if config is not None:
        found += [_fractions(config), _room(nodes, config), _data(nodes), *_cost(nodes, config, price)]
    return found


def _configuration(config: StudyConfig) -> Check:
    """Always passes: one that is wrong was refused when it was read."""
    phases = f"{config.trial['regularize_epochs']} + {config.trial['finetune_epochs']} epochs"
    told = f"{config.trials} trials of {phases}, {config.trial['model']} on {config.trial['dataset']}"
    return Check("configuration", PASS, told)


def _reached(nodes: list[Node], lost: list[Lost]) -> Check:
    if lost:
        remedy = "install qar there, with the same Python and Ray: pip install --constraint constraints.txt ."
        return Check("package on all nodes", FAIL, "; ".join(f"{node.name}: {node.error}" for node in lost), remedy)
    return Check("package on all nodes", PASS, f"{len(nodes)} of {len(nodes)} nodes")


def _versions(nodes: list[Node]) -> Check:
    versions = [node.look.versions for node in nodes]
    different = []
    for package in sorted({package for found in versions for package in found}):
        by_version = Counter(found.get(package) for found in versions)
        if len(by_version) > 1 or None in by_version:
            told = ", ".join(f"{version or 'missing'} on {count}" for version, count in by_version.items())
            different.append(f"{package} {told}")
    if different:
        remedy = "install the same on every node: pip install --constraint constraints.txt ."
        return Check("versions", FAIL, "; ".join(different), remedy)
    return Check("versions", PASS, ", ".join(f"{package} {version}" for package, version in versions[0].items()))


def _storage(nodes: list[Node], storage: str) -> Check:
    unwritable = [node for node in nodes if node.unwritable]
    if unwritable:
        told = "; ".join(f"{node.name}: {node.unwritable}" for node in unwritable)
        return Check(
            "storage", FAIL, f"{storage}: {told}", "give the right to write there, or choose another --storage"
        )
    blind = {node.name: node.unseen for node in nodes if node.unseen}
    if blind:
        told = "; ".join(f"{name} doesn't see the files of {', '.join(of)}" for name, of in blind.items())
        return Check("storage", FAIL, f"{storage}: {told}", "choose a --storage that all nodes share")
    return Check("storage", PASS, f"{storage}: written by every node, read by every other")


def _clocks(nodes: list[Node]) -> Check:
    skew = max((abs(node.skew) for node in nodes), default=0.0)
    off = [node for node in nodes if abs(node.skew) > SKEW_WARNS]
    if not off:
        return Check("clocks", PASS, f"within {max(skew, 0.1):.1f} s of this machine's")
    told = ", ".join(f"{node.name} {node.skew:+.0f} s" for node in off)
    return Check("clocks", FAIL if skew > SKEW_FAILS else WARN, told, "run an NTP service (chrony) on every node")


def _authentication(nodes: list[Node]) -> Check:
    open_to_all = [node.name for node in nodes if not node.look.token]
    if not open_to_all:
        return Check("authentication", PASS, "by token")
    if len(nodes) == 1:
        return Check("authentication", PASS, "none, and a single node")
    remedy = "set RAY_AUTH_MODE=token before `ray start`: whoever reaches Ray's port can run anything there"
    return Check("authentication", WARN, f"none on {', '.join(open_to_all)}", remedy)


def _disk(nodes: list[Node]) -> Check:
    free = {node.name: node.look.disk_free for node in nodes}
    low = {name: amount for name, amount in free.items() if amount < DISK_FREE}
    if low:
        told = ", ".join(f"{name} {amount / 2**30:.1f} GiB" for name, amount in low.items())
        return Check("free disk", WARN, told, f"make room for {DISK_FREE / 2**30:.0f} GiB where Ray keeps its files")
    return Check("free disk", PASS, f"at least {min(free.values(), default=0) / 2**30:.0f} GiB")


def _shared_memory(nodes: list[Node]) -> Check:
    small = []
    for node in nodes:
        wanted = node.resources.get("object_store_memory", 0.0)
        if node.look.shm_total is not None and node.look.shm_total < wanted:
            small.append(f"{node.name} {node.look.shm_total / 2**30:.1f} of {wanted / 2**30:.1f} GiB")
    if small:
        remedy = "give containers more of it (docker run --shm-size); Ray writes its objects to the disk otherwise"
        return Check("/dev/shm", WARN, ", ".join(small), remedy)
    return Check("/dev/shm", PASS, "holds Ray's object store on every node")


def _object_store(nodes: list[Node]) -> Check:
    blind = {node.name: node.unfetched for node in nodes if node.unfetched}
    if blind:
        told = "; ".join(f"{name} gets nothing from {', '.join(of)}" for name, of in blind.items())
        return Check("object store", FAIL, told, "open all ports between the nodes of the cluster to each other")
    size = sum(node.resources.get("object_store_memory", 0.0) for node in nodes)
    return Check("object store", PASS, f"every node gets what is in another's; {size / 2**30:.1f} GiB in all")


def _open_files(nodes: list[Node]) -> Check:
    limits = {node.name: node.look.open_files for node in nodes}
    low = {name: limit for name, limit in limits.items() if 0 <= limit < OPEN_FILES}
    if low:
        told = ", ".join(f"{name} {limit}" for name, limit in low.items())
        return Check("open files", WARN, told, "run `ulimit -n 65536` before `ray start`")
    return Check("open files", PASS, f"at least {min(limits.values(), default=0)} a process")


def _threads(nodes: list[Node]) -> Check:
    few = [node for node in nodes if node.resources.get("CPU", 0) > node.look.cores]
    if few:
        told = ", ".join(
            f"{node.name} {node.resources['CPU']:g} CPUs for Ray on {node.look.cores} cores" for node in few
        )
        remedy = "start Ray there with --num-cpus no larger than its cores: a trial has as many threads as CPUs"
        return Check("threads", WARN, told, remedy)
    return Check("threads", PASS, "a core for each CPU that Ray counts, on every node")


def _gpus(nodes: list[Node]) -> Check:
    blind = [node for node in nodes if int(node.resources.get("GPU", 0)) > len(node.look.gpus)]
    idle = [node for node in nodes if int(node.resources.get("GPU", 0)) < len(node.look.gpus)]
    if blind:
        told = ", ".join(f"{node.name}: {node.resources['GPU']:g} for Ray, {len(node.look.gpus)}" for node in blind)
        return Check("GPUs", FAIL, f"{told} for torch", "install a driver and a torch that fit each other there")
    if idle:
        return Check(
            "GPUs",
            WARN,
            f"Ray uses none of those of {', '.join(node.name for node in idle)}",
            "start Ray there with --num-gpus",
        )
    kinds = Counter(name for node in nodes for name in node.look.gpus)
    return Check(
        "GPUs", PASS, ", ".join(f"{count} × {name}" for name, count in kinds.items()) or "none, for none asked"
    )


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
            remedy = f"set resources.gpus to {1 / packed:.3g}, or to {1 / (packed + 1):.3g}"
            return Check("GPU fractions", WARN, f"{packed} trials a GPU leave {rest:.0%} of it idle", remedy)
        return Check("GPU fractions", PASS, f"{packed} trials a GPU")
    if gpus != int(gpus):
        return Check("GPU fractions", FAIL, f"{gpus:g} GPUs a trial", "above 1, set resources.gpus to a whole number")
    return Check("GPU fractions", PASS, f"{gpus:g} GPUs a trial")


def _data(nodes: list[Node]) -> Check:
    asked = [node for node in nodes if node.look.dataset or node.look.dataset_error]
    missing = [node for node in asked if node.look.dataset_error]
    if missing:
        told = "; ".join(f"{node.name}: {node.look.dataset_error}" for node in missing)
        return Check("data set", FAIL, told, "put it at the same path on every node, or into a shared folder")
    by_checksum = Counter(node.look.dataset for node in asked)
    if len(by_checksum) > 1:
        told = ", ".join(f"{checksum} on {count}" for checksum, count in by_checksum.items())
        return Check("data set", FAIL, f"checksums differ: {told}", "copy one of them to all nodes")
    if not asked:
        return Check("data set", WARN, "no node that could train was looked at", "see the lines above")
    return Check(
        "data set", PASS, f"on {len(asked)} of {len(asked)} nodes that train, checksum {next(iter(by_checksum))}"
    )


def _cost(nodes: list[Node], config: StudyConfig, price: float | None) -> list[Check]:
    """What the study takes if no trial is stopped early, at the pace of each kind of node."""
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
    if not at_a_time:
        return []
    an_hour = sum(fits * SECONDS_PER_HOUR / seconds for fits, seconds in working)
    share = min(1.0, (config.resources.max_concurrent or at_a_time) / at_a_time)
    hours = config.trials * config.epochs / (an_hour * share)
    told = (
        f"at most {duration(hours * SECONDS_PER_HOUR)}: {config.trials} trials × {config.epochs} epochs, none stopped"
    )
    told += "; an epoch takes " + ", ".join(f"{seconds:.1f} s on {kind}" for kind, seconds in pace.items())
    found = [Check("expected time", PASS, told)]
    if price is not None:
        found.append(
            Check("expected cost", PASS, f"at most {hours * len(nodes) * price:.2f}, at {price:g} a node-hour")
        )
    return found


def lines_of(found: list[Check]) -> list[Text]:
    """The checks as they are printed: a line each, and the remedy below it."""
    width = max(len(check.name) for check in found)
    colours = {PASS: "green", WARN: "yellow", FAIL: "red"}
    lines = []
    for check in found:
        lines.append(
            Text.assemble((f"{check.status:5}", colours[check.status]), f"{check.name:{width}}  {check.found}")
        )
        if check.remedy:
            lines.append(Text(f"{'':{width + 5}}  → {check.remedy}"))
    return lines
