"""Capacity for trials: of a node, of a cluster whose nodes join and leave, and the one that it should grow to."""

import sys
from typing import Any

import pytest

from study.cluster.capacity import wanted_capacity
from study.config import Resources
from tests.support.live_clusters import live_cluster
from tests.support.live_studies import PATIENCE

PLACED_BY_RAY = {0.51: 2, 0.4: 4, 1 / 3: 6, 0.33334: 6, 0.3: 6, 1 / 6: 12, 0.15: 12, 1 / 7: 14}
"""Placement groups with such a share of a GPU that Ray 2.60.0 finds room for on two GPUs, counted."""


@pytest.mark.parametrize("share", PLACED_BY_RAY)
def test_fractions_of_gpus_are_counted_as_ray_counts_them(share: float) -> None:
    assert Resources(gpus=share).trials_on({"CPU": 40.0, "GPU": 2.0}) == PLACED_BY_RAY[share]


@pytest.mark.parametrize(
    ("resources", "node", "expected"),
    [
        ({}, {}, 0),
        ({}, {"CPU": 4.0}, 4),
        ({"cpus": 3}, {"CPU": 8.0}, 2),
        ({"gpus": 1}, {"CPU": 8.0}, 0),
        ({"gpus": 1}, {"CPU": 8.0, "GPU": 4.0}, 4),
        ({"gpus": 2}, {"CPU": 8.0, "GPU": 5.0}, 2),
        ({"cpus": 4, "gpus": 0.25}, {"CPU": 8.0, "GPU": 1.0}, 2),
        ({"max_concurrent": 1}, {"CPU": 4.0}, 4),
    ],
)
def test_trials_on_a_node_are_bounded_by_cpus_and_by_gpus(
    resources: dict[str, float], node: dict[str, float], expected: int
) -> None:
    assert Resources.model_validate(resources).trials_on(node) == expected


@pytest.mark.parametrize(
    ("maximum", "current", "remaining", "expected"),
    [
        (16, 2, 100, 16),  # the study's limit
        (16, 2, 5, 5),  # no more than the trials that remain
        (None, 0, 100, 2),  # without a limit: twice the current capacity
        (None, 8, 100, 16),
        (None, 8, 10, 10),
    ],
)
def test_cluster_is_to_grow_for_trials_that_are_left_and_wanted(
    maximum: int | None, current: int, remaining: int, expected: int
) -> None:
    assert wanted_capacity(maximum, current, remaining) == expected


WATCH = """
import sys, time
from study.cluster.connect import start_ray
start_ray(sys.argv[1], verbose=False)
from study.config import Resources
from study.cluster.capacity import Capacity, current_capacity
capacity = Capacity(Resources(max_concurrent=3), grows=True, remaining=lambda: 9)
for line in sys.stdin:
    nodes = int(line)
    until = time.monotonic() + float(sys.argv[2])
    while current_capacity(Resources()) != nodes and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1.1)
    print(capacity.trials(), len(capacity._placeholders), flush=True)
capacity.close()
print(len(capacity._placeholders), flush=True)
"""


@pytest.mark.e2e
def test_capacity_follows_nodes_that_join_and_leave_and_requests_more() -> None:
    with live_cluster("worker-1") as cluster:
        watch: Any = cluster.popen(sys.executable, "-c", WATCH, cluster.address, str(PATIENCE))

        def printed_at(nodes: int) -> str:
            print(nodes, file=watch.stdin, flush=True)
            return watch.stdout.readline().strip()

        assert printed_at(1) == "1 2", "capacity of one, and placeholders for two more wait"
        cluster.add_worker("worker-2", "--num-cpus=3")
        assert printed_at(4) == "3 0", "no more than the study wants"
        cluster.hosts["worker-2"].kill()
        assert printed_at(1) == "1 2"
        watch.stdin.close()
        assert watch.stdout.readline() == "0\n"
