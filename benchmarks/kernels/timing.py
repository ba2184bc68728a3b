"""Pin, compare, time in turns."""

import os
import statistics
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
        threads: How many each side uses. The threads of a pool go on spinning for some milliseconds
            after a call (ONNX Runtime's for forty) on the cores that the next side needs. With more
            than one, a turn is many calls, after a pause in which the other pools fall asleep and
            calls that wake the side's own.
    """
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    fewest = 5
    while min(sum(times) for times in spent.values()) < seconds or fewest > 0:
        fewest -= 1
        for name, side in sides.items():
            if fewest < 0 and sum(spent[name]) >= seconds:
                continue
            if threads > 1:
                time.sleep(0.1)
                _calls(side, 0.05)
            spent[name] += _calls(side, seconds / 5 if threads > 1 else 0)
    return {name: statistics.median(times) for name, times in spent.items()}


def _calls(side: Callable[[], Any], seconds: float) -> list[float]:
    """The seconds of each call, one at least, until so many have passed."""
    spent: list[float] = []
    while not spent or sum(spent) < seconds:
        started = time.perf_counter()
        side()
        spent.append(time.perf_counter() - started)
    return spent
