"""What is wrong with a cluster for a study, judged from what was seen on its nodes. No Ray."""

from collections import Counter

from study.config import StudyConfig
from study.doctor.check import FAIL, PASS, WARN, Check, Lost, Node
from study.doctor.study_checks import configuration, demands

DISK_FREE = 10 * 2**30
"""Bytes that Ray's temporary folder should have: packages, logs, spilled objects."""
OPEN_FILES = 8192
SKEW_WARNS, SKEW_FAILS = 2.0, 60.0
"""Seconds. Tokens and certificates stop working at about a minute; below two nothing notices."""


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
    found = [] if config is None else [configuration(config)]
    found.append(_reached(nodes, lost))
    if not nodes:
        return found
    found += [_versions(nodes), _storage(nodes, storage), _clocks(nodes), _authentication(nodes)]
    found += [_disk(nodes), _shared_memory(nodes), _object_store(nodes), _open_files(nodes)]
    found += [_threads(nodes), _gpus(nodes)]
    if config is not None:
        found += demands(nodes, config, price)
    return found


def _reached(nodes: list[Node], lost: list[Lost]) -> Check:
    if lost:
        remedy = (
            "install the package there, with the same Python and Ray: pip install --constraint constraints.txt .; "
            "start a node anew that does not answer"
        )
        return Check("package on all nodes", FAIL, "; ".join(f"{node.name}: {node.error}" for node in lost), remedy)
    return Check("package on all nodes", PASS, f"{len(nodes)} of {len(nodes)} nodes")


def _versions(nodes: list[Node]) -> Check:
    versions = [node.probe.versions for node in nodes]
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
    open_to_all = [node.name for node in nodes if not node.probe.token]
    if not open_to_all:
        return Check("authentication", PASS, "by token")
    if len(nodes) == 1:
        return Check("authentication", PASS, "none, and a single node")
    remedy = "set RAY_AUTH_MODE=token before `ray start`: whoever reaches Ray's port can run anything there"
    return Check("authentication", WARN, f"none on {', '.join(open_to_all)}", remedy)


def _disk(nodes: list[Node]) -> Check:
    free = {node.name: node.probe.disk_free for node in nodes}
    low = {name: amount for name, amount in free.items() if amount < DISK_FREE}
    if low:
        told = ", ".join(f"{name} {amount / 2**30:.1f} GiB" for name, amount in low.items())
        return Check("free disk", WARN, told, f"free {DISK_FREE / 2**30:.0f} GiB where Ray keeps its files")
    return Check("free disk", PASS, f"at least {min(free.values(), default=0) / 2**30:.0f} GiB")


def _shared_memory(nodes: list[Node]) -> Check:
    small = []
    for node in nodes:
        wanted = node.resources.get("object_store_memory", 0.0)
        if node.probe.shm_total is not None and node.probe.shm_total < wanted:
            small.append(f"{node.name} {node.probe.shm_total / 2**30:.1f} of {wanted / 2**30:.1f} GiB")
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
    limits = {node.name: node.probe.open_files for node in nodes}
    low = {name: limit for name, limit in limits.items() if 0 <= limit < OPEN_FILES}
    if low:
        told = ", ".join(f"{name} {limit}" for name, limit in low.items())
        return Check("open files", WARN, told, "run `ulimit -n 65536` before `ray start`")
    return Check("open files", PASS, f"at least {min(limits.values(), default=0)} a process")


def _threads(nodes: list[Node]) -> Check:
    few = [node for node in nodes if node.resources.get("CPU", 0) > node.probe.cores]
    if few:
        told = ", ".join(
            f"{node.name} {node.resources['CPU']:g} CPUs for Ray on {node.probe.cores} cores" for node in few
        )
        remedy = "start Ray there with --num-cpus no larger than its cores: a trial has as many threads as CPUs"
        return Check("threads", WARN, told, remedy)
    return Check("threads", PASS, "a core for each CPU that Ray counts, on every node")


def _gpus(nodes: list[Node]) -> Check:
    blind = [node for node in nodes if int(node.resources.get("GPU", 0)) > len(node.probe.gpus)]
    idle = [node for node in nodes if int(node.resources.get("GPU", 0)) < len(node.probe.gpus)]
    if blind:
        told = ", ".join(f"{node.name}: {node.resources['GPU']:g} for Ray, {len(node.probe.gpus)}" for node in blind)
        return Check("GPUs", FAIL, f"{told} for torch", "install a driver and a torch that fit each other there")
    if idle:
        return Check(
            "GPUs",
            WARN,
            f"Ray uses none of those of {', '.join(node.name for node in idle)}",
            "start Ray there with --num-gpus",
        )
    kinds = Counter(name for node in nodes for name in node.probe.gpus)
    return Check(
        "GPUs", PASS, ", ".join(f"{count} × {name}" for name, count in kinds.items()) or "none, for none asked"
    )
