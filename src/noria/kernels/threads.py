"""Threads and instruction set of the native core."""

from __future__ import annotations

from noria.errors import KernelError
from noria.kernels import _native

__all__ = ["get_num_threads", "instruction_set", "set_num_threads"]


def get_num_threads() -> int:
    """Return the most threads a kernel may use.

    At first NORIA_NUM_THREADS, or else the number of cores this process may use.
    """
    return _native.thread_count()


def set_num_threads(count: int) -> None:
    """Set the most threads a kernel may use; results do not depend on it.

    Args:
        count: At least 1; more than 256 counts as 256.

    Raises:
        KernelError: if count is less than 1.
    """
    if count < 1:
        raise KernelError(f"the number of threads must be at least 1, not {count}")
    _native.set_thread_count(count)


def instruction_set() -> str:
    """Return the instruction set in use: "avx512", "avx2" or "baseline".

    The environment variable NORIA_ISA, read at the first kernel call, forces a lower one.
    """
    return _native.instruction_set()
