"""The season of series whose timestamps do not tell it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_season"]

Floats = NDArray[np.float64]

_MOST_SERIES = 256
_LONGEST = 10_000
"""Season, in steps."""

_DEEP_ENOUGH = 0.5
_AS_DEEP = 2 / 3


def find_season(series: Sequence[Floats]) -> int | None:
    """The lag at which series resemble themselves, by their autocorrelation.

    Of each lag, the mean square of the differences at it is held against its mean over all shorter
    lags, the series together, each without its straight line. A random walk goes on growing apart;
    at a season's length series have come back. The season is the first dip that is two thirds as
    deep as the deepest, if that lies at half the mean or below; so that a multiple of a season is
    not taken for it.

    Args:
        series: To look at, shape (T,) each, NaN where missing.

    Returns:
        Steps, at least 2 and at most a third of the longest series; None if there is no season.

    Source: de Cheveigné & Kawahara 2002 (YIN), steps 2 to 4.

    >>> wave = np.sin(np.arange(100) * 2 * np.pi / 7)
    >>> find_season([wave]), find_season([np.arange(100.0)])
    (7, None)
    """
    chosen = np.unique(np.linspace(0, len(series) - 1, _MOST_SERIES).astype(np.int64))
    apart = [_apart(series[number][-3 * _LONGEST :]) for number in chosen]
    width = max(len(own) for own in apart)
    total, count = np.zeros(width), np.zeros(width)
    for own in apart:
        known = np.isfinite(own)
        total[: len(own)] += np.where(known, own, 0.0)
        count[: len(own)] += known
    usable = count > 0
    mean = np.where(usable, total / np.maximum(count, 1), np.nan)
    level = np.cumsum(np.where(usable, mean, 0.0)) / np.maximum(np.cumsum(usable), 1)
    # lags 1, 2, …: how far apart, beside the shorter ones
    share = np.where(usable & (level > 0), mean / np.where(level > 0, level, 1.0), 1.0)
    if len(share) < 3:
        return None
    inner = share[1:-1]
    dips = 1 + np.flatnonzero((inner <= share[:-2]) & (inner < share[2:]))
    if not len(dips) or share[dips].min() > _DEEP_ENOUGH:
        return None
    depth = 1 - share[dips]
    return _sharpened(share, int(dips[np.argmax(depth >= _AS_DEEP * depth.max())]) + 1)


def _sharpened(share: Floats, season: int) -> int:
    """The lag within a tenth of a season at whose multiples, up to the fourth, series come nearest.

    A noisy dip is flat; at a multiple a step too many is several.
    """
    near = np.arange(-(-9 * season // 10), min(11 * season // 10, len(share)) + 1)
    multiples = np.arange(1, max(min(4, len(share) // int(near[-1])), 1) + 1)
    return int(near[share[near[:, None] * multiples - 1].mean(axis=1).argmin()])


def _apart(y: Floats) -> Floats:
    """Mean squares of the differences at lags 1, 2, … up to a third, NaN where there is none.

    In units of the variance about the series' straight line; empty where there is none.
    """
    known = np.isfinite(y)
    if known.sum() < 3 or np.ptp(y[known]) == 0:
        return np.empty(0)
    t = np.arange(len(y))
    line = np.polynomial.Polynomial.fit(t[known], y[known], 1)
    x = np.where(known, y - line(t), 0.0)
    deviation = x[known].std()
    if deviation <= 1e-9 * np.ptp(y[known]):
        return np.empty(0)
    x /= deviation
    size = 2 * len(y)

    def at_lags(early: Floats, late: Floats) -> Floats:
        """Sums of early[t] · late[t + lag]."""
        product = np.fft.rfft(early, size).conj() * np.fft.rfft(late, size)
        return np.fft.irfft(product, size)[1 : len(y) // 3 + 2]

    here = known.astype(np.float64)
    pairs = np.rint(at_lags(here, here))
    squares = at_lags(x**2, here) + at_lags(here, x**2) - 2 * at_lags(x, x)
    return np.where(pairs > 0, np.maximum(squares, 0) / np.maximum(pairs, 1), np.nan)
