"""What a process that trains asks of its machine: threads, and memory that it may keep between two steps."""

import ctypes
import platform

import torch

# Names of glibc's <malloc.h>.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
KEPT = 2**30
"""Bytes of a block, and of what is free, up to which glibc keeps memory."""
MOST_OF_OLDER = 2**25
"""What older versions of glibc take at most for a block."""


def prepare_process(threads: int) -> None:
    """Makes this process ready to train on a CPU, or to feed a GPU, beside others.

    By itself, glibc gives the memory of a step's activations back to the system and asks for it again in the next step:
    a page fault every 4 KiB, which costs AlexNet and VGG16 at a quarter of their width a sixth of an epoch
    (benchmarks/bench_process.py). What this process has freed stays with it from now on, until `give_back_memory`.

    Args:
        threads: of torch's operators; at least 1 is taken.
    """
    torch.set_num_threads(max(1, threads))
    libc = _glibc()
    # To set only the second of the two would freeze the first at 128 KiB, where glibc by itself raises it.
    if libc and any(libc.mallopt(M_MMAP_THRESHOLD, size) for size in (KEPT, MOST_OF_OLDER)):
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)


def give_back_memory() -> None:
    """Gives back to the system what this process has freed and kept."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it has these functions."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
