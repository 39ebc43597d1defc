"""`qar doctor`: looks at every node of a cluster, before time and money are spent on a study there."""

import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.checks import Check, Lost, Node, checks, kind_of, trials_that_fit
from study.config import StudyConfig
from study.node import Task, look, unseen_marks, write_mark
from study.tuner import start_ray


def examine(
    config: StudyConfig | None, address: str | None, storage: Path, price: float | None, quick: bool, verbose: bool
) -> list[Check]:
    """Starts Ray or connects to it, looks at its nodes, and judges what was seen.

    Args:
        config: of the study that is to be launched; None for none.
        address: of a cluster; None for a Ray of this machine alone.
        storage: folder of studies.
        price: of a node-hour; None to leave out what the study costs.
        quick: leave out the timing of an epoch, which waits until a trial would find room.
        verbose: show Ray's own messages too.

    Raises:
        ValueError: the cluster can't be reached.
    """
    start_ray(address, verbose)
    shared = str(storage.absolute())
    nodes, lost = inspect(config, shared, time_epoch=not quick)
    return checks(nodes, lost, config, shared, price)


def inspect(config: StudyConfig | None, storage: str, time_epoch: bool) -> tuple[list[Node], list[Lost]]:
    """Looks at every node of the cluster that Ray is connected to; leaves nothing behind.

    Args:
        config: of a study whose data set to look for; None for none.
        storage: folder that all nodes are to share.
        time_epoch: time an epoch of the float baseline on one node of each kind.

    Returns:
        What was seen, and the nodes on which nothing could be.
    """
    nodes: dict[str, Node] = {}
    lost: list[Lost] = []
    timed: set[str] = set()
    for entry in (entry for entry in ray.nodes() if entry["Alive"]):
        name, resources = entry["NodeManagerHostname"], entry["Resources"]
        trains = config is not None and trials_that_fit(resources, config) > 0
        times = trains and time_epoch and kind_of(resources) not in timed
        began = time.time()
        try:
            task = _task(config if trains else None, times)
            seen = ray.get(_on(entry["NodeID"], look, task, for_trial=config if times else None))
        except Exception as error:  # whatever a node without the package, or with another Python, leads to
            lost.append(Lost(name, _one_line(error)))
            continue
        if times:
            timed.add(kind_of(resources))
        nodes[entry["NodeID"]] = Node(name, resources, seen, skew=_skew(seen.clock, began, time.time()))
    return _with_storage(nodes, storage), lost


def _on(node_id: str, function: Callable[..., Any], *arguments: Any, for_trial: StudyConfig | None = None) -> Any:
    """Calls a function on that node: beside everything that runs there, or in the place of a trial."""
    resources = {"num_cpus": 0.0, "num_gpus": 0.0}
    if for_trial is not None:
        resources = {"num_cpus": for_trial.resources.cpus, "num_gpus": for_trial.resources.gpus}
    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(function).options(**resources, scheduling_strategy=strategy).remote(*arguments)


def _task(config: StudyConfig | None, time_epoch: bool) -> Task:
    if config is None:
        return Task()
    trial = config.trial_config({"family": "none", "num_levels": None, "init": "scratch"})
    return Task(trial.to_dict(), config.resources.cpus, time_epoch)


def _with_storage(nodes: dict[str, Node], storage: str) -> list[Node]:
    """The nodes, with what each can write to the storage and read of what the others wrote."""
    folder = os.path.join(storage, f".qar-doctor-{uuid.uuid4().hex}")
    try:
        failures = dict(zip(nodes, ray.get([_on(node, write_mark, folder, node) for node in nodes]), strict=True))
        written = [node for node in nodes if failures[node] is None]
        unseen = dict(zip(nodes, ray.get([_on(node, unseen_marks, folder, written) for node in nodes]), strict=True))
    finally:
        ray.get([_on(node, shutil.rmtree, folder, True) for node in nodes])
    return [
        replace(seen, unwritable=failures[node], unseen=tuple(nodes[other].name for other in unseen[node]))
        for node, seen in nodes.items()
    ]


def _skew(clock: float, before: float, after: float) -> float:
    """Seconds ahead (or, negative, behind) that must be the clock's, as it was read between `before` and `after`."""
    return clock - after if clock > after else min(0.0, clock - before)


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
