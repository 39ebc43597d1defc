"""Cores that may be used: affinity, and the quotas of control groups of both versions."""

import os
from pathlib import Path

import pytest

from study.cluster.cores import available_cores

LAYOUTS = {
    "version 2, in a container": ("0::/\n", {"cpu.max": "350000 100000\n"}, 3),
    "version 2, no limit": ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
    "version 2, less than a core": ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
    "version 2, own group": ("0::/user/job\n", {"user/job/cpu.max": "400000 100000\n"}, 4),
    "version 2, group around": (
        "0::/user/job\n",
        {"user/job/cpu.max": "max 100000\n", "user/cpu.max": "200000 100000\n"},
        2,
    ),
    "version 2, another's group": ("0::/user/job\n", {"user/other/cpu.max": "100000 100000\n"}, 64),
    "version 1": (
        "4:cpu,cpuacct:/job\n0::/\n",
        {"cpu,cpuacct/job/cpu.cfs_quota_us": "500000\n", "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"},
        5,
    ),
    "version 1, in a container": (
        "4:cpu:/docker/0a1b\n",
        {"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "50000\n"},
        3,
    ),
    "version 1, no limit": (
        "4:cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        64,
    ),
    "group outside of the namespace": ("0::/../../other\n", {"cpu.max": "200000 100000\n"}, 2),
    "damaged": ("0::/\n", {"cpu.max": "\n"}, 64),
}


@pytest.mark.parametrize(("membership", "files", "cores"), LAYOUTS.values(), ids=LAYOUTS)
def test_cores_are_cut_down_to_the_quota(
    membership: str, files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    groups = tmp_path / "membership"
    groups.write_text(membership)
    assert available_cores(tmp_path, groups) == cores


def test_cores_are_those_of_the_affinity_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """taskset and Slurm restrict the cores, but set no quota."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5})
    assert available_cores(tmp_path, tmp_path / "nothing") == 2
