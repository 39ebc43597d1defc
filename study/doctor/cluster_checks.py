"""Checks of a cluster, from the values measured on its nodes. Pure functions that don't use Ray."""

from collections import Counter

from study.config import StudyConfig
from study.doctor.check import Check, CheckStatus, Node, UnreachableNode
from study.doctor.study_checks import check_study

DISK_FREE = 10 * 2**30
"""Free bytes that Ray's temporary folder should have, for packages, logs and spilled objects."""
OPEN_FILES = 8192
"""Open files that a process should be allowed to have."""
SKEW_WARNS, SKEW_FAILS = 2.0, 60.0
"""Clock skews, in seconds, that warn and that fail: tokens and certificates are refused from about a minute on."""


def check_cluster(
    nodes: list[Node],
    lost: list[UnreachableNode],
    config: StudyConfig | None,
    storage: str,
    price: float | None = None,
    ray_seconds: float = 0.0,
) -> list[Check]:
    """Return all checks that apply, in the order in which they are shown.

    Args:
        nodes: nodes that answered.
        lost: nodes that did not answer.
        config: configuration of the study to launch; None to leave out the checks of a study.
        storage: folder that all nodes must share, or its URI.
        price: price of one node-hour, in any currency; None to leave out the expected cost.
        ray_seconds: seconds that the start of Ray has taken.
    """
    checks = [] if config is None else [_configuration(config)]
    checks.append(_reached(nodes, lost))
    if not nodes:
        return checks
    checks += [_versions(nodes), _storage(nodes, storage), _clocks(nodes), _authentication(nodes)]
    checks += [_disk(nodes), _shared_memory(nodes), _object_store(nodes), _open_files(nodes)]
    checks += [_threads(nodes), _gpus(nodes)]
    if config is not None:
        checks += check_study(nodes, config, price, ray_seconds)
    return checks


def _configuration(config: StudyConfig) -> Check:
    """Return a check that summarizes the configuration; it always passes, as reading refuses a wrong one."""
    phases = f"{config.trial['regularize_epochs']} + {config.trial['finetune_epochs']} epochs"
    finding = f"{config.trials} trials of {phases}, {config.trial['model']} on {config.trial['dataset']}"
    return Check("configuration", CheckStatus.PASS, finding)


def _reached(nodes: list[Node], lost: list[UnreachableNode]) -> Check:
    if lost:
        remedy = (
            "install the package there, with the same Python and Ray: pip install --constraint constraints.txt .; "
            "restart nodes that do not answer"
        )
        return Check(
            "package on all nodes", CheckStatus.FAIL, "; ".join(f"{node.name}: {node.error}" for node in lost), remedy
        )
    return Check("package on all nodes", CheckStatus.PASS, f"{len(nodes)} of {len(nodes)} nodes")


def _versions(nodes: list[Node]) -> Check:
    versions = [node.probe.versions for node in nodes]
    different = []
    for package in sorted({package for node_versions in versions for package in node_versions}):
        by_version = Counter(node_versions.get(package) for node_versions in versions)
        if len(by_version) > 1 or None in by_version:
            finding = ", ".join(f"{version or 'missing'} on {count}" for version, count in by_version.items())
            different.append(f"{package} {finding}")
    if different:
        remedy = "install the same on every node: pip install --constraint constraints.txt ."
        return Check("versions", CheckStatus.FAIL, "; ".join(different), remedy)
    return Check(
        "versions", CheckStatus.PASS, ", ".join(f"{package} {version}" for package, version in versions[0].items())
    )


def _storage(nodes: list[Node], storage: str) -> Check:
    unwritable = [node for node in nodes if node.unwritable]
    if unwritable:
        finding = "; ".join(f"{node.name}: {node.unwritable}" for node in unwritable)
        return Check(
            "storage",
            CheckStatus.FAIL,
            f"{storage}: {finding}",
            "grant write permission there, or choose another --storage",
        )
    blind = {node.name: node.unseen for node in nodes if node.unseen}
    if blind:
        finding = "; ".join(f"{name} doesn't see the files of {', '.join(others)}" for name, others in blind.items())
        return Check("storage", CheckStatus.FAIL, f"{storage}: {finding}", "choose a --storage that all nodes share")
    return Check("storage", CheckStatus.PASS, f"{storage}: written by every node, read by every other")


def _clocks(nodes: list[Node]) -> Check:
    skew = max((abs(node.skew) for node in nodes), default=0.0)
    off = [node for node in nodes if abs(node.skew) > SKEW_WARNS]
    if not off:
        return Check("clocks", CheckStatus.PASS, f"within {max(skew, 0.1):.1f} s of this machine's")
    finding = ", ".join(f"{node.name} {node.skew:+.0f} s" for node in off)
    return Check(
        "clocks",
        CheckStatus.FAIL if skew > SKEW_FAILS else CheckStatus.WARN,
        finding,
        "run an NTP service (chrony) on every node",
    )


def _authentication(nodes: list[Node]) -> Check:
    open_to_all = [node.name for node in nodes if not node.probe.token]
    if not open_to_all:
        return Check("authentication", CheckStatus.PASS, "by token")
    if len(nodes) == 1:
        return Check("authentication", CheckStatus.PASS, "none, which is safe on a single node")
    remedy = "set RAY_AUTH_MODE=token before `ray start`: whoever reaches Ray's port can run anything there"
    return Check("authentication", CheckStatus.WARN, f"none on {', '.join(open_to_all)}", remedy)


def _disk(nodes: list[Node]) -> Check:
    free = {node.name: node.probe.disk_free for node in nodes}
    low = {name: amount for name, amount in free.items() if amount < DISK_FREE}
    if low:
        finding = ", ".join(f"{name} {amount / 2**30:.1f} GiB" for name, amount in low.items())
        return Check(
            "free disk", CheckStatus.WARN, finding, f"free {DISK_FREE / 2**30:.0f} GiB where Ray keeps its files"
        )
    return Check("free disk", CheckStatus.PASS, f"at least {min(free.values(), default=0) / 2**30:.0f} GiB")


def _shared_memory(nodes: list[Node]) -> Check:
    small = []
    for node in nodes:
        wanted = node.resources.get("object_store_memory", 0.0)
        if node.probe.shm_total is not None and node.probe.shm_total < wanted:
            small.append(f"{node.name} {node.probe.shm_total / 2**30:.1f} of {wanted / 2**30:.1f} GiB")
    if small:
        remedy = "enlarge it (docker run --shm-size); otherwise Ray writes its objects to the disk"
        return Check("/dev/shm", CheckStatus.WARN, ", ".join(small), remedy)
    return Check("/dev/shm", CheckStatus.PASS, "holds Ray's object store on every node")


def _object_store(nodes: list[Node]) -> Check:
    blind = {node.name: node.unfetched for node in nodes if node.unfetched}
    if blind:
        finding = "; ".join(f"{name} can't fetch from {', '.join(others)}" for name, others in blind.items())
        return Check("object store", CheckStatus.FAIL, finding, "open all ports between the nodes of the cluster")
    size = sum(node.resources.get("object_store_memory", 0.0) for node in nodes)
    return Check(
        "object store", CheckStatus.PASS, f"every node can fetch from every other; {size / 2**30:.1f} GiB in all"
    )


def _open_files(nodes: list[Node]) -> Check:
    limits = {node.name: node.probe.open_files for node in nodes}
    low = {name: limit for name, limit in limits.items() if 0 <= limit < OPEN_FILES}
    if low:
        finding = ", ".join(f"{name} {limit}" for name, limit in low.items())
        return Check("open files", CheckStatus.WARN, finding, "run `ulimit -n 65536` before `ray start`")
    return Check("open files", CheckStatus.PASS, f"at least {min(limits.values(), default=0)} a process")


def _threads(nodes: list[Node]) -> Check:
    few = [node for node in nodes if node.resources.get("CPU", 0) > node.probe.cores]
    if few:
        finding = ", ".join(
            f"{node.name} {node.resources['CPU']:g} CPUs for Ray on {node.probe.cores} cores" for node in few
        )
        remedy = "start Ray there with --num-cpus no larger than its cores: a trial has as many threads as CPUs"
        return Check("threads", CheckStatus.WARN, finding, remedy)
    return Check("threads", CheckStatus.PASS, "every node has a core for each CPU that Ray counts")


def _gpus(nodes: list[Node]) -> Check:
    blind = [node for node in nodes if int(node.resources.get("GPU", 0)) > len(node.probe.gpus)]
    idle = [node for node in nodes if int(node.resources.get("GPU", 0)) < len(node.probe.gpus)]
    if blind:
        finding = ", ".join(f"{node.name}: {node.resources['GPU']:g} for Ray, {len(node.probe.gpus)}" for node in blind)
        return Check(
            "GPUs",
            CheckStatus.FAIL,
            f"{finding} for torch",
            "install matching versions of the GPU driver and torch there",
        )
    if slow := [node for node in nodes if node.probe.kernels_error]:
        return Check(
            "GPUs",
            CheckStatus.WARN,
            "; ".join(f"{node.name}: Triton can't launch kernels ({node.probe.kernels_error})" for node in slow),
            "install Triton, gcc and Python's headers there: without them trials train layer by layer, far slower",
        )
    if idle:
        return Check(
            "GPUs",
            CheckStatus.WARN,
            f"Ray doesn't use all GPUs of {', '.join(node.name for node in idle)}",
            "start Ray there with --num-gpus",
        )
    kinds = Counter(name for node in nodes for name in node.probe.gpus)
    return Check(
        "GPUs", CheckStatus.PASS, ", ".join(f"{count} × {name}" for name, count in kinds.items()) or "none on any node"
    )
