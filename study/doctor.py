"""`qar doctor`: what would go wrong with a study on a cluster, found before time and money are spent."""

import os
import shutil
import time
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from rich.text import Text

from study.config import StudyConfig
from study.durations import duration
from study.node import Look, Task, look, unseen_marks, write_mark

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
    """A node of the cluster.

    Attributes:
        name: hostname, or address where it couldn't be looked at.
        resources: as Ray counts them: CPU, GPU, memory and object_store_memory in bytes.
        look: what was seen there.
        error: why nothing could be seen, in one line.
        skew: seconds that its clock is ahead of the driver's, beyond what the way there and back explains.
        unseen: names of nodes whose file in the storage can't be read there.
        unwritable: why it can't write the storage, in one line.
    """

    name: str
    resources: dict[str, float]
    look: Look | None = None
    error: str | None = None
    skew: float = 0.0
    unseen: tuple[str, ...] = ()
    unwritable: str | None = None

    def fits(self, config: StudyConfig) -> int:
        """How many trials it can run at a time."""
        wanted = {"CPU": config.resources.cpus, "GPU": config.resources.gpus}
        return min(int(self.resources.get(name, 0) / amount + 1e-9) for name, amount in wanted.items() if amount)


def inspect(config: StudyConfig | None, storage: str, time_epoch: bool) -> list[Node]:
    """Looks at every node of the cluster that Ray is connected to; leaves nothing behind.

    Args:
        config: of a study whose data set to look for; None for none.
        storage: folder that all nodes are to share.
        time_epoch: time an epoch of the float baseline on one node of each kind.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = [node for node in ray.nodes() if node["Alive"]]

    def on(node: dict[str, Any], function: Any, *arguments: Any, cpus: float = 0) -> Any:
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        return ray.remote(function).options(num_cpus=cpus, scheduling_strategy=strategy).remote(*arguments)

    trial = config.trial_config({"family": "none", "num_levels": None, "init": "scratch"}).to_dict() if config else None
    cpus = config.resources.cpus if config else 1
    nodes, kinds = [], set()
    for entry in alive:
        node = Node(entry["NodeManagerHostname"], entry["Resources"])
        trains = config is not None and node.fits(config) > 0
        kind = (node.resources.get("CPU"), node.resources.get("GPU"))
        task = Task(trial if trains else None, cpus, time_epoch=time_epoch and trains and kind not in kinds)
        kinds.add(kind)
        began = time.time()
        try:
            seen = ray.get(on(entry, look, task, cpus=cpus if task.time_epoch else 0))
        except Exception as error:  # whatever a node without the package, or with another Python, leads to
            nodes.append(replace(node, error=_one_line(error)))
            continue
        nodes.append(replace(node, look=seen, skew=_skew(seen.clock, began, time.time())))

    folder = os.path.join(storage, f".qar-doctor-{uuid.uuid4().hex}")
    seen_nodes = [(index, entry) for index, entry in enumerate(alive) if nodes[index].look is not None]
    marks = {index: f"{index}-{nodes[index].name}" for index, _ in seen_nodes}
    try:
        failures = ray.get([on(entry, write_mark, folder, marks[index]) for index, entry in seen_nodes])
        for (index, _), failure in zip(seen_nodes, failures, strict=True):
            nodes[index] = replace(nodes[index], unwritable=failure)
        written = [marks[index] for index, _ in seen_nodes if nodes[index].unwritable is None]
        unseen = ray.get([on(entry, unseen_marks, folder, written) for _, entry in seen_nodes])
        for (index, _), names in zip(seen_nodes, unseen, strict=True):
            nodes[index] = replace(nodes[index], unseen=tuple(name.partition("-")[2] for name in names))
    finally:
        ray.get([on(entry, shutil.rmtree, folder, True) for _, entry in seen_nodes])
    return nodes


def _skew(clock: float, before: float, after: float) -> float:
    """Seconds ahead (or, negative, behind) that must be the clock's, as it was read between `before` and `after`."""
    return clock - after if clock > after else min(0.0, clock - before)


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def checks(nodes: list[Node], config: StudyConfig | None, storage: str, price: float | None = None) -> list[Check]:
    """Every check that can be made of these nodes, in the order in which they are shown."""
    seen = [node for node in nodes if node.look is not None]
    if not seen:
        return [_reached(nodes)]
    found = [_reached(nodes), *_versions(seen), _storage(seen, storage), _clocks(seen), _authentication(nodes)]
    found += [_disk(seen), _shared_memory(seen), _open_files(seen), _gpus(seen)]
    if config is not None:
        found += [_room(nodes, config), _fractions(config), _data(seen), *_cost(nodes, config, price)]
    return found


def _names(nodes: list[Node]) -> str:
    return ", ".join(sorted({node.name for node in nodes}))


def _reached(nodes: list[Node]) -> Check:
    lost = [node for node in nodes if node.look is None]
    if lost:
        return Check(
            "package on all nodes",
            FAIL,
            "; ".join(f"{node.name}: {node.error}" for node in lost),
            "install qar there, with the same Python and Ray: pip install --constraint constraints.txt .",
        )
    return Check("package on all nodes", PASS, f"{len(nodes)} of {len(nodes)} nodes")


def _versions(nodes: list[Node]) -> list[Check]:
    versions = {node.name: node.look.versions for node in nodes if node.look}
    different = []
    for package in sorted({package for found in versions.values() for package in found}):
        by_version = Counter(found.get(package) for found in versions.values())
        if len(by_version) > 1 or None in by_version:
            told = ", ".join(f"{version or 'missing'} on {count}" for version, count in by_version.items())
            different.append(f"{package} {told}")
    if different:
        remedy = "install the same on every node: pip install --constraint constraints.txt ."
        return [Check("versions", FAIL, "; ".join(different), remedy)]
    same = next(iter(versions.values()), {})
    return [Check("versions", PASS, ", ".join(f"{package} {version}" for package, version in same.items()))]


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
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return Check("authentication", PASS, "by token")
    if len(nodes) == 1:
        return Check("authentication", PASS, "none, and a single node")
    remedy = "set RAY_AUTH_MODE=token on every node: whoever reaches Ray's port can run anything there"
    return Check("authentication", WARN, "none", remedy)


def _disk(nodes: list[Node]) -> Check:
    free = {node.name: node.look.disk_free for node in nodes if node.look}
    low = {name: amount for name, amount in free.items() if amount < DISK_FREE}
    if low:
        told = ", ".join(f"{name} {amount / 2**30:.1f} GiB" for name, amount in low.items())
        return Check("free disk", WARN, told, f"make room for {DISK_FREE / 2**30:.0f} GiB where Ray keeps its files")
    return Check("free disk", PASS, f"at least {min(free.values(), default=0) / 2**30:.0f} GiB")


def _shared_memory(nodes: list[Node]) -> Check:
    small = []
    for node in nodes:
        wanted = node.resources.get("object_store_memory", 0.0)
        if node.look and node.look.shm_total is not None and node.look.shm_total < wanted:
            small.append(f"{node.name} {node.look.shm_total / 2**30:.1f} of {wanted / 2**30:.1f} GiB")
    if small:
        remedy = "give containers more of it (docker run --shm-size); Ray writes its objects to the disk otherwise"
        return Check("/dev/shm", WARN, ", ".join(small), remedy)
    return Check("/dev/shm", PASS, "holds Ray's object store on every node")


def _open_files(nodes: list[Node]) -> Check:
    limits = {node.name: node.look.open_files for node in nodes if node.look}
    low = {name: limit for name, limit in limits.items() if 0 <= limit < OPEN_FILES}
    if low:
        told = ", ".join(f"{name} {limit}" for name, limit in low.items())
        return Check("open files", WARN, told, "run `ulimit -n 65536` before `ray start`")
    return Check("open files", PASS, f"at least {min(limits.values(), default=0)} a process")


def _gpus(nodes: list[Node]) -> Check:
    blind = [node for node in nodes if node.look and int(node.resources.get("GPU", 0)) > len(node.look.gpus)]
    idle = [node for node in nodes if node.look and int(node.resources.get("GPU", 0)) < len(node.look.gpus)]
    if blind:
        told = ", ".join(f"{node.name}: {node.resources['GPU']:g} for Ray, {len(_seen(node).gpus)}" for node in blind)
        return Check("GPUs", FAIL, f"{told} for torch", "install a driver and a torch that fit each other there")
    if idle:
        return Check("GPUs", WARN, f"Ray uses none of those of {_names(idle)}", "start Ray there with --num-gpus")
    kinds = Counter(name for node in nodes if node.look for name in node.look.gpus)
    return Check(
        "GPUs", PASS, ", ".join(f"{count} × {name}" for name, count in kinds.items()) or "none, for none asked"
    )


def _seen(node: Node) -> Look:
    assert node.look is not None
    return node.look


def _room(nodes: list[Node], config: StudyConfig) -> Check:
    fits = sum(node.fits(config) for node in nodes)
    wanted = f"{config.resources.cpus} CPU" + (f" and {config.resources.gpus:g} GPU" if config.resources.gpus else "")
    if not fits:
        remedy = "lower resources, or add nodes that have it, unless the cluster adds them by itself"
        return Check("room for trials", WARN, f"no node has {wanted} now", remedy)
    many = min(fits, config.resources.max_concurrent or fits)
    return Check("room for trials", PASS, f"{many} at a time, each with {wanted}")


def _fractions(config: StudyConfig) -> Check:
    gpus = config.resources.gpus
    if gpus and gpus < 1:
        packed = int(1 / gpus + 1e-9)
        rest = 1 - packed * gpus
        if rest > 0.01:
            remedy = f"set resources.gpus to {1 / packed:.3g}, or to {1 / (packed + 1):.3g}"
            return Check("GPU fractions", WARN, f"{packed} trials a GPU leave {rest:.0%} of it idle", remedy)
        return Check("GPU fractions", PASS, f"{packed} trials a GPU")
    if gpus != int(gpus):
        return Check("GPU fractions", FAIL, f"{gpus:g} GPUs a trial", "above 1, set resources.gpus to a whole number")
    return Check("GPU fractions", PASS, f"{gpus:g} GPUs a trial")


def _data(nodes: list[Node]) -> Check:
    asked = [node for node in nodes if node.look and (node.look.dataset or node.look.dataset_error)]
    missing = [node for node in asked if node.look and node.look.dataset_error]
    if missing:
        told = "; ".join(f"{node.name}: {_seen(node).dataset_error}" for node in missing)
        return Check("data set", FAIL, told, "put it at the same path on every node, or into a shared folder")
    by_checksum = Counter(_seen(node).dataset for node in asked)
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
    pace = {_kind(node): node.look.epoch_seconds for node in nodes if node.look and node.look.epoch_seconds}
    if not pace:
        return []
    # Nodes of a kind that was timed train side by side; each adds what it gets done in an hour.
    working = [(node, pace[_kind(node)]) for node in nodes if node.fits(config) and _kind(node) in pace]
    an_hour = sum(node.fits(config) * SECONDS_PER_HOUR / (seconds or 1.0) for node, seconds in working)
    share = 1.0
    if most := config.resources.max_concurrent:
        share = min(1.0, most / sum(node.fits(config) for node, _ in working))
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


def _kind(node: Node) -> str:
    gpus = int(node.resources.get("GPU", 0))
    return f"{node.resources.get('CPU', 0):g} CPUs" + (f" and {gpus} GPUs" if gpus else "")


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
