"""Shared parts of the benchmarks: alternating timing, summary statistics, and tables with the environment."""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of one call by a clock, including its work on a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - started


def in_turn(
    works: Sequence[Callable[[], object]],
    repeats: int,
    warmups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Time several functions in alternation (A B A B …), so that a drift of the machine's speed affects all alike.

    Args:
        works: functions to time.
        repeats: number of timed calls of each.
        warmups: number of calls of each before timing begins.
        clock: returns seconds; `time.process_time` counts those of the processor, where other work shares it.

    Returns:
        Seconds of every timed call, one list for each function.
    """
    for _ in range(warmups):
        for work in works:
            work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, into in zip(works, times, strict=True):
            into.append(seconds(work, clock))
    return times


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the median and, in brackets, minimum and maximum."""
    middle, least, greatest = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} [{least:.{digits}f}, {greatest:.{digits}f}]"


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of each pair, in the order of measurement."""
    return [numerator / denominator for numerator, denominator in zip(numerators, denominators, strict=True)]


def environment() -> str:
    """Return hardware and versions in one line."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    packages = []
    for package in ("torch", "numpy", "scikit-learn"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"{processor}, {torch.get_num_threads()} threads; {gpu}; Python {platform.python_version()}, " + ", ".join(
        packages
    )


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown, and the environment below it."""
    print(f"\n{title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(f"\n{environment()}", flush=True)
