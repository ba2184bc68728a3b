"""Pin, compare, time in turns."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def pin(threads: int) -> None:
    """Keep this process on as many cores as threads.

    Before torch, JAX and ONNX Runtime are imported: JAX ignores its own thread flags.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    for name in ("NORIA_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(threads)


def check_same(title: str, found: Mapping[str, list[Any]], tolerance: float = 1e-3) -> None:
    """Stop unless all sides give the same arrays, to a part of their largest element."""
    names = list(found)
    for name in names[1:]:
        for number, pair in enumerate(zip(found[names[0]], found[name], strict=True)):
            wanted, other = map(np.asarray, pair)
            worst = np.abs(other - wanted).max() / np.abs(wanted).max()
            if not worst < tolerance:
                raise SystemExit(
                    f"{title}: result {number} of {name} differs from that of {names[0]}"
                    f" by {worst:.1e} of its size"
                )


def medians(
    sides: Mapping[str, Callable[[], Any]], seconds: float, threads: int = 1
) -> dict[str, float]:
    """Median seconds a call of each side, all sides in turn.

    Args:
        sides: What is timed, by name.
        seconds: Spent on each side at least; five calls are made in any case.
        threads: How many each side uses. The others of a pool go on spinning for some milliseconds
            after a call, on the cores that the next side needs: with more than one, each call waits
            for them, and fifty calls are enough.
    """
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    fewest, most = 5, 50 if threads > 1 else sys.maxsize
    while min(sum(times) for times in spent.values()) < seconds or fewest > 0:
        fewest -= 1
        for name, side in sides.items():
            if fewest < 0 and sum(spent[name]) >= seconds:
                continue
            if threads > 1:
                time.sleep(0.03)
            started = time.perf_counter()
            side()
            spent[name].append(time.perf_counter() - started)
        most -= 1
        if most == 0:
            break
    return {name: statistics.median(times) for name, times in spent.items()}
