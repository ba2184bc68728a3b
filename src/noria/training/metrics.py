"""How far forecasts are from what came, in plain numpy.

Axes: H horizon, Q quantiles; "..." stands for series, windows or both. A missing (NaN) target is
left out of every mean; a missing forecast of an observed target makes the figure NaN. Where
nothing is observed the figure is NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "coverage",
    "crps_from_quantiles",
    "mae",
    "mase",
    "pinball",
    "rmse",
    "seasonal_naive_scale",
    "smape",
]


def mae(y: ArrayLike, forecast: ArrayLike) -> float:
    """Mean absolute error over all observed points.

    Args:
        y: Targets, shape (..., H).
        forecast: Forecasts, shape (..., H).

    Returns:
        The error, in the target's unit.

    Source: Hyndman & Athanasopoulos, FPP3, 5.8.

    >>> mae([1.0, 2.0, float("nan")], [2.0, 2.0, 9.0])
    0.5
    """
    y = np.asarray(y)
    return _mean(np.abs(y - forecast), ~np.isnan(y))


def rmse(y: ArrayLike, forecast: ArrayLike) -> float:
    """Square root of the mean squared error over all observed points.

    Args:
        y: Targets, shape (..., H).
        forecast: Forecasts, shape (..., H).

    Returns:
        The error, in the target's unit.

    Source: Hyndman & Athanasopoulos, FPP3, 5.8.

    >>> rmse([0.0, 0.0], [1.0, 7.0])
    5.0
    """
    y = np.asarray(y)
    return float(np.sqrt(_mean((y - forecast) ** 2, ~np.isnan(y))))


def seasonal_naive_scale(history: ArrayLike, season: int) -> float:
    """In-sample mean absolute error of the seasonal naive forecast, the scale of the MASE.

    Only pairs of observed values one season apart count. A history that has no such pair, as one
    shorter than season + 1 does, is scaled by neighbouring values (season 1).

    Args:
        history: What came before the forecast, shape (T,).
        season: Season length in steps, at least 1.

    Returns:
        The scale, in the target's unit. It is NaN where it would be 0, as for a constant history,
        or has no pair at all; `mase` leaves such a series out.

    Source: Hyndman & Koehler 2006.

    >>> seasonal_naive_scale([1.0, 5.0, 2.0, 7.0], season=2)
    1.5
    """
    history = np.asarray(history, dtype=np.float64)
    for lag in (season, 1):
        differences = np.abs(history[lag:] - history[:-lag])
        observed = ~np.isnan(differences)
        if observed.any():
            scale = _mean(differences, observed)
            return scale if scale > 0 else float("nan")
    return float("nan")


def mase(y: ArrayLike, forecast: ArrayLike, scale: ArrayLike) -> float:
    """Mean absolute scaled error: the mean over series of each one's MAE over its scale.

    A series whose scale is 0 or NaN, or of which nothing is observed, is left out.

    Args:
        y: Targets, shape (..., H).
        forecast: Forecasts, shape (..., H).
        scale: `seasonal_naive_scale` of each series, shape (...) or one for all.

    Returns:
        The error; below 1 is nearer than the seasonal naive forecast was in the sample, a season
        ahead, which does not say that it is better at this horizon.

    Source: Hyndman & Koehler 2006; averaged over series as in the M4 competition (Makridakis et
    al. 2020).

    >>> mase([[1.0, 2.0], [5.0, 5.0]], [[2.0, 2.0], [5.0, 7.0]], scale=[1.0, 2.0])
    0.5
    """
    y = np.asarray(y)
    scale = np.asarray(scale, dtype=np.float64)
    scale = np.where(scale > 0, scale, np.nan)
    scaled = np.abs(y - forecast) / scale[..., np.newaxis]
    return _mean_of_series(scaled, ~np.isnan(y), usable=~np.isnan(scale))


def smape(y: ArrayLike, forecast: ArrayLike) -> float:
    """Symmetric mean absolute percentage error: the mean over series of each one's.

        200 / H · Σ |y − ŷ| / (|y| + |ŷ|)

    A zero that was forecast as zero is no error.

    Args:
        y: Targets, shape (..., H).
        forecast: Forecasts, shape (..., H).

    Returns:
        The error in percent, from 0 to 200.

    Source: the M4 competition (Makridakis et al. 2020).

    >>> smape([1.0, 3.0], [1.0, 1.0])
    50.0
    """
    y = np.asarray(y)
    size = np.abs(y) + np.abs(forecast)
    ratio = np.abs(y - forecast) / np.where(size == 0, 1.0, size)
    return 200 * _mean_of_series(ratio, ~np.isnan(y), usable=np.array(True))


def pinball(y: ArrayLike, quantile_forecasts: ArrayLike, quantiles: ArrayLike) -> NDArray[Any]:
    """Pinball loss of each quantile over all observed points.

        q · (y − ŷ) where y ≥ ŷ,  (1 − q) · (ŷ − y) elsewhere

    Args:
        y: Targets, shape (..., H).
        quantile_forecasts: Forecasts, shape (..., H, Q).
        quantiles: Levels in (0, 1), shape (Q,).

    Returns:
        Losses in the target's unit, shape (Q,).

    Source: Koenker & Bassett 1978.

    >>> pinball([3.0, 0.0], [[1.0, 1.0], [1.0, 1.0]], [0.5, 0.9]).round(6).tolist()
    [0.75, 0.95]
    """
    y = np.asarray(y)
    levels = np.asarray(quantiles)
    error = y[..., np.newaxis] - np.asarray(quantile_forecasts)
    loss = np.maximum(levels * error, (levels - 1) * error)
    observed = ~np.isnan(y)
    return np.array([_mean(loss[..., q], observed) for q in range(len(levels))])


def crps_from_quantiles(y: ArrayLike, quantile_forecasts: ArrayLike, quantiles: ArrayLike) -> float:
    """Continuous ranked probability score of the distribution that the quantiles stand for.

        2 · ∫₀¹ pinball loss of the quantile at p  dp

    Between two levels the quantile goes in a straight line from one to the other; beyond the
    outermost it stays. Of one quantile alone it is the mean absolute error.

    Args:
        y: Targets, shape (..., H).
        quantile_forecasts: Forecasts, shape (..., H, Q).
        quantiles: Levels in (0, 1), ascending, however spaced, shape (Q,).

    Returns:
        The score in the target's unit. A forecast that knows the distribution N(0, 1) gets 0.565
        by the levels 2.5, 10, 25, 50, 75, 90 and 97.5 %, where all there are would give 0.564.

    Source: Matheson & Winkler 1976; as an integral over quantiles, Gneiting & Ranjan 2011.

    >>> crps_from_quantiles([3.0], [[1.0]], [0.5])
    2.0
    """
    y = np.asarray(y)
    p = np.concatenate([[0.0], np.asarray(quantiles), [1.0]])
    edges = np.asarray(quantile_forecasts, dtype=np.float64)
    edges = np.concatenate([edges[..., :1], edges, edges[..., -1:]], axis=-1)
    low, high = edges[..., :-1], edges[..., 1:]
    error = y[..., np.newaxis] - edges
    # the loss is p · error, and −error more where that is negative; from edge to edge error is
    # linear, so that −error squared is twice the integral of what is negative
    first, last = p[:-1], p[1:]
    product = (error[..., :-1] * (2 * first + last) + error[..., 1:] * (first + 2 * last)) / 6
    over = np.maximum(-error, 0)
    apart = np.where(high != low, high - low, 1.0)
    mean_over = np.where(
        high != low, (over[..., 1:] ** 2 - over[..., :-1] ** 2) / (2 * apart), over[..., 1:]
    )
    loss = ((product + mean_over) * (last - first)).sum(axis=-1)
    return 2 * _mean(loss, ~np.isnan(y))


def coverage(y: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Share of the observed points that lie in their interval, its ends included.

    Args:
        y: Targets, shape (..., H).
        lower: Lower ends, shape (..., H).
        upper: Upper ends, shape (..., H).

    Returns:
        The share, from 0 to 1; that of a good 80% interval is 0.8.

    Source: Gneiting, Balabdaoui & Raftery 2007.

    >>> coverage([1.0, 2.0, 9.0, float("nan")], [0.0] * 4, [2.0] * 4).__round__(3)
    0.667
    """
    y, lower, upper = np.asarray(y), np.asarray(lower), np.asarray(upper)
    inside = ((lower <= y) & (y <= upper)).astype(np.float64)
    return _mean(np.where(np.isnan(lower) | np.isnan(upper), np.nan, inside), ~np.isnan(y))


def _mean(values: NDArray[Any], observed: NDArray[np.bool_]) -> float:
    count = int(observed.sum())
    return float(np.sum(values, where=observed) / count) if count else float("nan")


def _mean_of_series(
    values: NDArray[Any], observed: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> float:
    """Average over the last axis, and then over the series that can be used."""
    count = observed.sum(axis=-1)
    means = np.sum(values, axis=-1, where=observed) / np.maximum(count, 1)
    return _mean(means, (count > 0) & usable)
