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
from study.doctor.check import Check, Lost, Node, kind_of
from study.doctor.cluster_checks import checks
from study.doctor.probe import NodeProbe, clock, epoch_seconds, probe_node, remove_marks, unseen_marks, write_mark
from study.doctor.study_checks import timed_trial
from study.storage.object_store import PATIENCE, below, is_uri

SECONDS_TO_ANSWER = 300.0
"""After which a node counts as lost: it may have to fetch the data set first."""

SECONDS_FOR_LITTLE = 60.0
"""After which a node that has answered before counts as stuck: a file server that is gone never says so."""

SECONDS_TO_FETCH = 10.0
"""After which an object of another node counts as unreachable."""


def examine(
    config: StudyConfig | None, address: str | None, storage: str, price: float | None, quick: bool, verbose: bool
) -> list[Check]:
    """Start Ray or connect to it, probe its nodes, and check what was seen.

    Args:
        config: of the study that is to be launched; None for none.
        address: of a cluster; None for a Ray of this machine alone.
        storage: folder of studies, or its URI.
        price: of a node-hour; None to leave out what the study costs.
        quick: leave out the timing of an epoch, which waits until a trial would find room.
        verbose: show Ray's own messages too.

    Raises:
        ValueError: the cluster can't be reached.
    """
    start_ray(address, verbose)
    shared = storage if is_uri(storage) else str(Path(storage).absolute())
    nodes, lost = inspect(config, shared, time_epoch=not quick)
    return checks(nodes, lost, config, shared, price)


def inspect(config: StudyConfig | None, storage: str, time_epoch: bool) -> tuple[list[Node], list[Lost]]:
    """Looks at every node of the cluster that Ray is connected to, at all of them at once; leaves nothing behind.

    Args:
        config: of a study whose data set to look for; None for none.
        storage: folder that all nodes are to share, or its URI.
        time_epoch: time an epoch of a trial on one node of each kind.

    Returns:
        What was seen, and the nodes on which nothing could be.
    """
    named = sorted(ray.nodes(), key=lambda node: str(node["NodeManagerHostname"]))
    alive = {node["NodeID"]: node for node in named if node["Alive"]}
    trial = config.trial_config({"family": "none", "num_levels": None, "init": "scratch"}) if config else None
    asked = {}
    for node, entry in alive.items():
        trains = config is not None and config.resources.trials_on(entry["Resources"]) > 0
        asked[node] = _on(node, _probe, trial.to_dict() if trial and trains else None)
    probes, silent = _answers(asked, SECONDS_TO_ANSWER)
    skews, left = _skews(list(probes))
    nodes = {
        node: Node(alive[node]["NodeManagerHostname"], alive[node]["Resources"], probes[node], skew=skew)
        for node, skew in skews.items()
    }
    lost = [Lost(alive[node]["NodeManagerHostname"], reason) for node, reason in (silent | left).items()]
    nodes = _with_objects(_with_storage(nodes, storage))
    if config is not None and trial is not None and time_epoch:
        nodes = _with_epochs(nodes, config, timed_trial(config).to_dict())
    return list(nodes.values()), lost


def _probe(trial: dict[str, Any] | None) -> NodeProbe:
    return probe_node(trial, ray.get_runtime_context().get_temp_dir())


def _on(
    node_id: str,
    function: Callable[..., Any],
    *arguments: Any,
    for_trial: StudyConfig | None = None,
    num_returns: int = 1,
) -> Any:
    """Calls a function on that node: beside everything that runs there, or in the place of a trial."""
    resources = {"num_cpus": 0.0, "num_gpus": 0.0}
    if for_trial is not None:
        resources = {"num_cpus": for_trial.resources.cpus, "num_gpus": for_trial.resources.gpus}
    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(function).options(**resources, scheduling_strategy=strategy, num_returns=num_returns)
    return task.remote(*arguments)


def _answers(asked: dict[str, Any], seconds: float) -> tuple[dict[str, Any], dict[str, str]]:
    """What nodes answer, by node, and of those that don't, why, in one line; within so many seconds for all of them."""
    answers, silent = {}, {}
    until = time.monotonic() + seconds
    for node, reference in asked.items():
        try:
            answers[node] = ray.get(reference, timeout=max(0.0, until - time.monotonic()))
        except GetTimeoutError:
            silent[node] = f"no answer within {seconds:g} seconds"
        except Exception as error:  # whatever a node that is gone, or has another Python, leads to
            silent[node] = _one_line(error)
    return answers, silent


def _skews(nodes: list[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Of the clock of each node, one after another, and why those are missing that are."""
    skews: dict[str, float] = {}
    silent: dict[str, str] = {}
    for node in nodes:
        before = time.time()
        told, reason = _answers({node: _on(node, clock)}, SECONDS_FOR_LITTLE)
        if node in told:
            skews[node] = _skew(told[node], before, time.time())
        silent |= reason
    return skews, silent


def _skew(clock: float, before: float, after: float) -> float:
    """Seconds ahead (or, negative, behind) that must be the clock's, as it was read between `before` and `after`."""
    return clock - after if clock > after else min(0.0, clock - before)


def _with_storage(nodes: dict[str, Node], storage: str) -> dict[str, Node]:
    """The nodes, with what each can write to the storage and read of what the others wrote."""
    name = f".qar-doctor-{uuid.uuid4().hex}"
    folder = below(storage, name) if is_uri(storage) else os.path.join(storage, name)
    # What is asked of a bucket is tried again for a while, and says why it failed at last.
    seconds = SECONDS_FOR_LITTLE + (PATIENCE if is_uri(storage) else 0.0)
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
    """The nodes, with those of which each can't fetch what is in their object store."""
    # An object for each that is to fetch it, for others could pass on what they have.
    made = {node: _on(node, _objects, len(nodes), num_returns=len(nodes)) for node in nodes}
    of = {node: objects if len(nodes) > 1 else [objects] for node, objects in made.items()}
    asked = {
        node: _on(node, _unfetched, {other: objects[place] for other, objects in of.items()})
        for place, node in enumerate(nodes)
    }
    unfetched, _ = _answers(asked, SECONDS_FOR_LITTLE + SECONDS_TO_FETCH)
    return {
        node: replace(seen, unfetched=tuple(nodes[other].name for other in unfetched.get(node, nodes) if other != node))
        for node, seen in nodes.items()
    }


def _objects(number: int) -> Any:
    """Too large, each, to be sent along with the word that the task is done."""
    objects = [bytes(2**17) for _ in range(number)]
    return objects if number > 1 else objects[0]


def _unfetched(objects: dict[str, Any]) -> list[str]:
    """Nodes whose object does not come here."""
    come, _ = ray.wait(list(objects.values()), num_returns=len(objects), timeout=SECONDS_TO_FETCH)
    return [node for node, reference in objects.items() if reference not in come]


def _with_epochs(nodes: dict[str, Node], config: StudyConfig, trial: dict[str, Any]) -> dict[str, Node]:
    """The nodes, with what an epoch takes on the first of each kind that can train."""
    kinds = {
        kind_of(seen.resources): node
        for node, seen in reversed(nodes.items())
        if config.resources.trials_on(seen.resources) and seen.probe.dataset
    }
    asked = {node: _on(node, epoch_seconds, trial, config.resources.cpus, for_trial=config) for node in kinds.values()}
    timed = {}
    for node, reference in asked.items():
        try:
            timed[node] = replace(nodes[node], epoch_seconds=ray.get(reference))
        except Exception as error:  # a trial would meet the same, of whatever kind
            timed[node] = replace(nodes[node], epoch_error=_one_line(error))
    return nodes | timed


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
