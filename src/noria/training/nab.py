"""The score of the Numenta Anomaly Benchmark: an alarm is worth more the earlier it comes.

Around each true anomaly lies a window. The first alarm in it earns up to 1, less and less towards
its end; every alarm outside costs up to 0.11, the less the nearer behind a window; a window
without an alarm costs 1. The sum is brought to 0 for a detector that never alarms and to 100 for
one that alarms once at the beginning of every window.

Source: Lavin & Ahmad 2015, sections II B and C, the standard profile; details as in NAB's code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["NabFile", "best_threshold", "nab_score", "probation"]

Floats = NDArray[np.float64]

_FALSE_ALARM, _MISS = 0.11, 1.0
"""What they cost in the standard profile; a hit earns 1."""


def probation(length: int) -> int:
    """First rows of a file that are not scored: 15 %, of at most 5,000.

    >>> probation(4032), probation(22695)
    (604, 750)
    """
    return int(0.15 * min(length, 5000))


def _sigmoid(position: Floats) -> Floats:
    # beyond 100 it is −1, and exp would overflow
    return 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, 100.0))) - 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class NabFile:
    """What an alarm at each row of one file is worth; N rows.

    Attributes:
        worth: Of an alarm at each row, shape (N,); 0 for rows that are not scored.
        window: Index of the window that each row lies in, −1 for none, shape (N,).
        scored: Rows that are scored, shape (N,).
        windows: Number of windows.
    """

    worth: Floats
    window: NDArray[np.int64]
    scored: NDArray[np.bool_]
    windows: int

    @classmethod
    def from_windows(
        cls, length: int, windows: Sequence[tuple[int, int]], first: int = 0
    ) -> NabFile:
        """Weigh the rows.

        Args:
            length: N.
            windows: First and last row of each, ascending, none overlapping.
            first: First row that is scored.
        """
        worth = np.full(length, -_FALSE_ALARM)
        window = np.full(length, -1)
        for number, (start, end) in enumerate(windows):
            rows = np.arange(start, end + 1)
            worth[rows] = _sigmoid((rows - end - 1) / len(rows)) / _sigmoid(np.array(-1.0))
            window[rows] = number
            follows = windows[number + 1][0] if number + 1 < len(windows) else length
            rows = np.arange(end + 1, follows)
            behind = (rows - end) / max(end - start, 1)
            worth[rows] = _FALSE_ALARM * np.where(behind > 3, -1.0, _sigmoid(behind))
        scored = np.arange(length) >= first
        return cls(np.where(scored, worth, 0.0), window, scored, len(windows))

    def value(self, alarms: NDArray[np.bool_]) -> float:
        """The sum of what alarms, shape (N,), earn and cost, misses included."""
        alarms = alarms & self.scored
        outside = self.worth[alarms & (self.window < 0)].sum()
        inside = [self.worth[alarms & (self.window == number)] for number in range(self.windows)]
        return float(outside + sum(part.max() if part.size else -_MISS for part in inside))


def nab_score(files: Sequence[NabFile], alarms: Sequence[NDArray[np.bool_]]) -> float:
    """The score of alarms on one or several files; NaN where no file has a window."""
    windows = sum(file.windows for file in files)
    if not windows:
        return float("nan")
    total = sum(file.value(part) for file, part in zip(files, alarms, strict=True))
    return 100 * (total + _MISS * windows) / ((1 + _MISS) * windows)


def best_threshold(files: Sequence[NabFile], scores: Sequence[Floats]) -> tuple[float, float]:
    """The one threshold for all files that gives the highest score, as the benchmark takes it.

    Args:
        files: What alarms are worth.
        scores: Of each file's rows, shape (N,); a row alarms if its score is the threshold or more.

    Returns:
        The threshold, and the score with it.
    """
    # going down through all scores, each row adds what it changes
    changes: list[Floats] = []
    levels: list[Floats] = []
    for file, score in zip(files, scores, strict=True):
        rows = np.flatnonzero(file.scored)
        rows = rows[np.argsort(-score[rows], kind="stable")]
        change = np.where(file.window[rows] < 0, file.worth[rows], 0.0)
        for number in range(file.windows):
            inside = file.window[rows] == number
            best = np.maximum.accumulate(file.worth[rows[inside]])
            change[inside] = np.diff(best, prepend=-_MISS)
        changes.append(change)
        levels.append(score[rows])
    level = np.concatenate(levels)
    order = np.argsort(-level, kind="stable")
    level, total = level[order], np.cumsum(np.concatenate(changes)[order])
    last_of_level = np.append(np.diff(level) < 0, True)
    level, total = level[last_of_level], total[last_of_level]
    windows = sum(file.windows for file in files)
    if not windows or not total.size or total.max() <= 0:
        return float("inf"), 0.0
    highest = int(total.argmax())
    return float(level[highest]), float(100 * total[highest] / ((1 + _MISS) * windows))
