"""Cores that this process may use: under taskset, in a Slurm job or in a container fewer than the machine has."""

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
"""File that lists the control groups of this process: a line `number:controllers:path` for each hierarchy."""


def available_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return the number of cores that the affinity mask and the quotas of the control groups allow, at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([allowed, *_quotas(cgroups, membership)])))


def _quotas(cgroups: Path, membership: Path) -> list[float]:
    """Return the quotas, in cores, of the process's control groups of both versions and of all their parents."""
    lines: list[str] = []
    with suppress(OSError):
        lines = membership.read_text().splitlines()
    # In a container, the root of the mounted hierarchy may be the container's own group, so the root is read too.
    folders = [cgroups, cgroups / "cpu", cgroups / "cpu,cpuacct"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inside = PurePosixPath(path.lstrip("/"))
        if ".." in inside.parts:
            continue
        if controllers == "":  # version 2
            folders += [root / part for root in (cgroups, cgroups / "unified") for part in (inside, *inside.parents)]
        elif "cpu" in controllers.split(","):
            folders += [root / part for root in folders[1:3] for part in (inside, *inside.parents)]
    return [quota for folder in dict.fromkeys(folders) if (quota := _quota(folder)) is not None]


def _quota(folder: Path) -> float | None:
    """Return the quota of one control group, in cores; None where there is none."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)  # ValueError where it is `max`
    with suppress(OSError, ValueError):
        limit = int((folder / "cpu.cfs_quota_us").read_text())
        return limit / int((folder / "cpu.cfs_period_us").read_text()) if limit > 0 else None
    return None
