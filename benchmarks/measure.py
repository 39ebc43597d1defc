"""What the benchmarks share: timing in turn, tables with n, median and spread, and what they ran on."""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call; waits for a GPU to finish."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def in_turn(works: Sequence[Callable[[], object]], repeats: int, warmups: int = 1) -> list[list[float]]:
    """Times each work `repeats` times, A B A B …, so that a drift of the machine meets all of them alike."""
    for _ in range(warmups):
        for work in works:
            work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, into in zip(works, times, strict=True):
            into.append(seconds(work))
    return times


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Median and, in brackets, least and greatest."""
    middle, least, greatest = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} [{least:.{digits}f}, {greatest:.{digits}f}]"


def ratios(of: Sequence[float], over: Sequence[float]) -> list[float]:
    """Pair by pair, in the order of measurement."""
    return [a / b for a, b in zip(of, over, strict=True)]


def environment() -> str:
    """Hardware and versions, a line."""
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
    """A table in Markdown, with the environment below it."""
    print(f"\n{title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(f"\n{environment()}", flush=True)
