"""Capacity of a cluster for trials, read again and again while a study runs, since nodes join and leave."""

import time
from collections.abc import Callable
from typing import Any

import ray

from study.config import Resources

SECONDS_BETWEEN_READINGS = 1.0


def current_capacity(resources: Resources) -> int:
    """Return how many trials the nodes of the cluster hold at a time, whatever else runs there."""
    return sum(resources.trials_on(node["Resources"]) for node in ray.nodes() if node["Alive"])


def wanted_capacity(maximum: int | None, current: int, remaining: int) -> int:
    """Return the capacity that a cluster should grow to.

    Args:
        maximum: trials at a time that the study allows; None to double the current capacity again and again.
        current: current capacity.
        remaining: number of trials that have not ended.
    """
    return min(remaining, 2 * max(1, current) if maximum is None else maximum)


def _placeholder() -> None:
    """Do nothing. While this task waits for a node, its pending request makes the autoscaler add one."""


class Capacity:
    """Number of trials that may run at a time; requests more nodes if the study could use them.

    A trial that waits for a node was proposed without the results of the trials that end meanwhile. Therefore no trial
    waits for the cluster to grow. Placeholder tasks do: they end at once when there is a node for them, and with the
    driver in any case.
    """

    def __init__(self, resources: Resources, grows: bool, remaining: Callable[[], int]) -> None:
        """Prepare to read the capacity of the cluster that Ray is connected to.

        Args:
            resources: resources of one trial.
            grows: whether nodes may join.
            remaining: returns the number of trials of the study that have not ended.
        """
        self._resources = resources
        self._remaining = remaining
        self._placeholders: list[Any] = []
        cpus, gpus = resources.of_a_trial
        self._placeholder = ray.remote(_placeholder).options(num_cpus=cpus, num_gpus=gpus) if grows else None
        self._last_reading = float("-inf")
        self._current = 0

    def trials(self) -> int:
        """Return how many trials may run now: at least one, which waits for its node if there is none."""
        if time.monotonic() - self._last_reading > SECONDS_BETWEEN_READINGS:
            self._last_reading = time.monotonic()
            self._current = max(1, current_capacity(self._resources))
            if self._placeholder is not None:
                wanted = wanted_capacity(self._resources.max_concurrent, self._current, self._remaining())
                self._keep_placeholders(max(0, wanted - self._current))
        return min(self._current, self._resources.max_concurrent or self._current)

    def _keep_placeholders(self, number: int) -> None:
        """Start or cancel placeholder tasks so that this number of them waits."""
        if self._placeholders:
            _, self._placeholders = ray.wait(self._placeholders, num_returns=len(self._placeholders), timeout=0)
        for task in self._placeholders[number:]:
            ray.cancel(task)
        self._placeholders = self._placeholders[:number]
        if self._placeholder is not None:
            self._placeholders += [self._placeholder.remote() for _ in range(number - len(self._placeholders))]

    def close(self) -> None:
        """Cancel all placeholder tasks."""
        self._keep_placeholders(0)
