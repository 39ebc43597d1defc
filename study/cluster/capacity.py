"""How many trials a cluster has room for: looked at while a study runs, for nodes come and go."""

import time
from collections.abc import Callable
from typing import Any

import ray

from study.config import Resources

SECONDS_BETWEEN_LOOKS = 1.0


def room_now(resources: Resources) -> int:
    """How many trials the nodes of the cluster hold at a time, whatever else runs there."""
    return sum(resources.trials_on(node["Resources"]) for node in ray.nodes() if node["Alive"])


def wanted_room(most: int | None, now: int, left: int) -> int:
    """For how many trials a cluster that can grow is to have room.

    Args:
        most: trials at a time that the study asks for; None to double what there is, again and again.
        now: trials that it has room for.
        left: trials that have not ended.
    """
    return min(left, 2 * max(1, now) if most is None else most)


def _knock() -> None:
    """Does nothing. While it waits for a place to do it, an autoscaler sees that there is use for one."""


class Room:
    """How many trials may run at a time, and a word to the cluster if it could be more.

    A trial that waits for a node was proposed without the results of all that end meanwhile. So trials don't wait for
    a cluster to grow: empty tasks do, which are gone in a moment once there is room, and with the driver in any case.
    """

    def __init__(self, resources: Resources, grows: bool, left: Callable[[], int]) -> None:
        """Of the cluster that Ray is connected to.

        Args:
            resources: of a trial.
            grows: whether nodes may join.
            left: says how many trials of the study have not ended.
        """
        self._resources = resources
        self._left = left
        self._knocking: list[Any] = []
        self._knock = ray.remote(_knock).options(num_cpus=resources.cpus, num_gpus=resources.gpus) if grows else None
        self._looked = float("-inf")
        self._now = 0

    def trials(self) -> int:
        """How many trials may run now. At least one, which waits for its node if there is none."""
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
            self._looked = time.monotonic()
            self._now = max(1, room_now(self._resources))
            if self._knock is not None:
                self._ask_for(wanted_room(self._resources.max_concurrent, self._now, self._left()) - self._now)
        return min(self._now, self._resources.max_concurrent or self._now)

    def _ask_for(self, more: int) -> None:
        """Keeps so many empty tasks waiting."""
        if self._knocking:
            _, self._knocking = ray.wait(self._knocking, num_returns=len(self._knocking), timeout=0)
        for task in self._knocking[max(0, more) :]:
            ray.cancel(task)
        self._knocking = self._knocking[: max(0, more)]
        if self._knock is not None:
            self._knocking += [self._knock.remote() for _ in range(more - len(self._knocking))]

    def close(self) -> None:
        """Takes back what was asked for."""
        self._ask_for(0)
