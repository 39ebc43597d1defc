"""`qar doctor`: checks of every node of a cluster, before time and money are spent on a study there."""

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.cluster.connect import start_ray
from study.config import StudyConfig
from study.doctor.check import Check, Node, UnreachableNode
from study.doctor.cluster_checks import check_cluster
from study.doctor.marks import remove_marks, unseen_marks, write_mark
from study.doctor.probe import NodeProbe, clock, probe_node
from study.doctor.study_checks import timed_trial
from study.doctor.timing import time_trial
from study.sources import import_paths_of, shipped_modules
from study.storage.object_store import below, is_uri
from study.storage.patience import PATIENCE

SECONDS_TO_ANSWER = 300.0
"""Seconds after which a node counts as unreachable. It may have to fetch the data set first."""

SECONDS_FOR_SHORT_TASK = 60.0
"""Seconds after which a node that answered before counts as stuck, as on a file server that has gone away."""

SECONDS_TO_FETCH = 30.0
"""Seconds after which an object of another node counts as unreachable."""


def examine_cluster(
    config: StudyConfig | None, address: str | None, storage: str, price: float | None, quick: bool, verbose: bool
) -> list[Check]:
    """Start Ray or connect to a cluster, probe its nodes, and return the checks.

    Args:
        config: configuration of the study to launch; None for no study.
        address: address of the cluster; None to start Ray on this machine alone.
        storage: folder of studies, or its URI.
        price: price of one node-hour; None to leave out the expected cost.
        quick: leave out the timing of an epoch, which waits for free resources.
        verbose: also show Ray's own messages.

    Raises:
        ValueError: the cluster can't be reached.
    """
    began = time.monotonic()
    start_ray(address, verbose, shipped_modules(config.code) if config is not None else ())
    ray_seconds = time.monotonic() - began
    shared = storage if is_uri(storage) else str(Path(storage).absolute())
    nodes, lost = probe_cluster(config, shared, time_epoch=not quick)
    return check_cluster(nodes, lost, config, shared, price, ray_seconds)


def probe_cluster(
    config: StudyConfig | None, storage: str, time_epoch: bool
) -> tuple[list[Node], list[UnreachableNode]]:
    """Probe all nodes of the connected cluster at the same time; no files remain afterwards.

    Args:
        config: configuration of the study whose data set is checked; None for no study.
        storage: folder that all nodes must share, or its URI.
        time_epoch: whether to time an epoch of a trial on one node of each kind.

    Returns:
        The nodes that answered, and those that did not.
    """
    named = sorted(ray.nodes(), key=lambda node: str(node["NodeManagerHostname"]))
    alive = {node["NodeID"]: node for node in named if node["Alive"]}
    trial = config.trial_config({"family": "none", "num_levels": None, "init": "scratch"}) if config else None
    asked = {}
    for node, entry in alive.items():
        trains = config is not None and config.resources.trials_on(entry["Resources"]) > 0
        parts = import_paths_of(config) if config is not None and trains else {}
        asked[node] = _on(node, _probe_this_node, trial.to_dict() if trial and trains else None, parts)
    probes, silent = _answers(asked, SECONDS_TO_ANSWER)
    skews, left = _skews(list(probes))
    nodes = {
        node: Node(alive[node]["NodeManagerHostname"], alive[node]["Resources"], probes[node], skew=skew)
        for node, skew in skews.items()
    }
    lost = [UnreachableNode(alive[node]["NodeManagerHostname"], reason) for node, reason in (silent | left).items()]
    nodes = _with_objects(_with_storage(nodes, storage))
    if config is not None and trial is not None and time_epoch:
        nodes = _with_epochs(nodes, config, timed_trial(config).to_dict())
    return list(nodes.values()), lost


def _probe_this_node(trial: dict[str, Any] | None, parts: dict[str, list[str]]) -> NodeProbe:
    return probe_node(trial, ray.get_runtime_context().get_temp_dir(), parts)


def _on(
    node_id: str,
    function: Callable[..., Any],
    *arguments: Any,
    for_trial: StudyConfig | None = None,
    num_returns: int = 1,
) -> Any:
    """Start a task on a node and return its reference.

    It takes no resources, or those of a trial of `for_trial`; then it runs in a new process, as a trial does.
    """
    options: dict[str, Any] = {"num_cpus": 0.0, "num_gpus": 0.0}
    if for_trial is not None:
        new_process = {"env_vars": {"QAR_DOCTOR": "1"}}  # no waiting process has this environment
        options = {"num_cpus": for_trial.resources.cpus, "num_gpus": for_trial.resources.gpus}
        options["runtime_env"] = new_process
    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(function).options(**options, scheduling_strategy=strategy, num_returns=num_returns)
    return task.remote(*arguments)


def _answers(asked: dict[str, Any], seconds: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Wait for the results of tasks, for `seconds` in all.

    Args:
        asked: references to results, by node.
        seconds: time limit for all tasks together.

    Returns:
        Results by node, and for each node without one the reason, in one line.
    """
    answers, silent = {}, {}
    until = time.monotonic() + seconds
    for node, reference in asked.items():
        try:
            answers[node] = ray.get(reference, timeout=max(0.0, until - time.monotonic()))
        except GetTimeoutError:
            silent[node] = f"no answer within {seconds:g} seconds"
        except Exception as error:  # a lost node or another version of Python raises errors of many types
            silent[node] = _last_line(error)
    return answers, silent


def _skews(nodes: list[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Return the clock skew of each node in seconds, and the reasons for nodes that did not answer."""
    skews: dict[str, float] = {}
    silent: dict[str, str] = {}
    for node in nodes:
        before = time.time()
        clocks, reason = _answers({node: _on(node, clock)}, SECONDS_FOR_SHORT_TASK)
        if node in clocks:
            skews[node] = _skew(clocks[node], before, time.time())
        silent |= reason
    return skews, silent


def _skew(clock: float, before: float, after: float) -> float:
    """Return the least skew, in seconds, of a clock that was read between `before` and `after`; negative if behind."""
    return clock - after if clock > after else min(0.0, clock - before)


def _with_storage(nodes: dict[str, Node], storage: str) -> dict[str, Node]:
    """Return the nodes with `unwritable` and `unseen` set: each writes a file, and reads those of the others."""
    name = f".qar-doctor-{uuid.uuid4().hex}"
    folder = below(storage, name) if is_uri(storage) else os.path.join(storage, name)
    # Requests to a bucket are repeated for a while before they fail with a reason.
    seconds = SECONDS_FOR_SHORT_TASK + (PATIENCE if is_uri(storage) else 0.0)
    stuck: dict[str, str] = {}
    try:
        failures, stuck = _answers({node: _on(node, write_mark, folder, node) for node in nodes}, seconds)
        written = [node for node, failure in failures.items() if failure is None]
        asked = {node: _on(node, unseen_marks, folder, written) for node in failures}
        unseen, stuck_later = _answers(asked, seconds)
    finally:
        _answers({node: _on(node, remove_marks, folder) for node in nodes if node not in stuck}, seconds)
    reasons = failures | stuck | stuck_later
    return {
        node: replace(seen, unwritable=reasons[node], unseen=tuple(nodes[other].name for other in unseen.get(node, ())))
        for node, seen in nodes.items()
    }


def _with_objects(nodes: dict[str, Node]) -> dict[str, Node]:
    """Return the nodes with `unfetched` set: each fetches an object from every other node's object store."""
    # Each reader gets an object of its own, since a node could otherwise pass on a copy.
    made = {node: _on(node, _objects, len(nodes), num_returns=len(nodes)) for node in nodes}
    references = {node: objects if len(nodes) > 1 else [objects] for node, objects in made.items()}
    asked = {
        node: _on(node, _unfetched, {other: objects[place] for other, objects in references.items()})
        for place, node in enumerate(nodes)
    }
    unfetched, _ = _answers(asked, SECONDS_FOR_SHORT_TASK + SECONDS_TO_FETCH)
    return {
        node: replace(seen, unfetched=tuple(nodes[other].name for other in unfetched.get(node, nodes) if other != node))
        for node, seen in nodes.items()
    }


def _objects(number: int) -> Any:
    """Return objects that are each too large for Ray to send inline, so that they stay in the node's object store."""
    objects = [bytes(2**17) for _ in range(number)]
    return objects if number > 1 else objects[0]


def _unfetched(objects: dict[str, Any]) -> list[str]:
    """Return the nodes whose object does not arrive on this node in time."""
    arrived, _ = ray.wait(list(objects.values()), num_returns=len(objects), timeout=SECONDS_TO_FETCH)
    return [node for node, reference in objects.items() if reference not in arrived]


def _with_epochs(nodes: dict[str, Node], config: StudyConfig, trial: dict[str, Any]) -> dict[str, Node]:
    """Return the nodes with durations or `epoch_error` set for the first node of each kind that can train."""
    kinds = {
        seen.kind: node
        for node, seen in reversed(nodes.items())
        if config.resources.trials_on(seen.resources) and seen.probe.dataset
    }
    asked = {node: _on(node, time_trial, trial, config.resources.cpus, for_trial=config) for node in kinds.values()}
    timed = {}
    for node, reference in asked.items():
        try:
            timing = ray.get(reference)
            timed[node] = replace(nodes[node], epoch_seconds=timing.epoch_seconds, start_seconds=timing.start_seconds)
        except Exception as error:  # of any type: a trial would fail in the same way
            timed[node] = replace(nodes[node], epoch_error=_last_line(error))
    return nodes | timed


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
