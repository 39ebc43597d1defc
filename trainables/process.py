"""Settings of a process that trains: number of threads, and memory that it keeps between steps."""

import ctypes
import platform

import torch

# Constants of glibc's <malloc.h>.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
MALLOC_THRESHOLD = 2**30
"""Threshold in bytes: glibc keeps freed blocks below this size, and up to this much free memory, for the process."""
MAX_OLD_MMAP_THRESHOLD = 2**25
"""Largest M_MMAP_THRESHOLD that older versions of glibc accept, in bytes."""


def prepare_process(threads: int) -> None:
    """Prepare this process to train on a CPU, or to feed a GPU, beside other processes.

    By default, glibc returns the memory of a step's activations to the system and asks for it again in the next step.
    The page faults, one every 4 KiB, cost AlexNet and VGG16 at a quarter of their width a sixth of an epoch
    (benchmarks/bench_process.py). After this call the process keeps freed memory until `give_back_memory`.

    Args:
        threads: number of threads of torch's operators; values below 1 count as 1.
    """
    torch.set_num_threads(max(1, threads))
    libc = _glibc()
    # Setting only M_TRIM_THRESHOLD would keep M_MMAP_THRESHOLD at 128 KiB, which glibc otherwise raises as needed.
    if libc and any(libc.mallopt(M_MMAP_THRESHOLD, size) for size in (MALLOC_THRESHOLD, MAX_OLD_MMAP_THRESHOLD)):
        libc.mallopt(M_TRIM_THRESHOLD, MALLOC_THRESHOLD)


def give_back_memory() -> None:
    """Return to the system the memory that this process has freed but kept."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library if it is glibc, else None."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
