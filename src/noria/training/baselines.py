"""The forecasts of series that a network must beat."""

from __future__ import annotations

import multiprocessing
import sys
import time
import warnings
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from noria.errors import DataError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Job = tuple[str, NDArray[np.float64], int, int, tuple[int, ...]]

__all__ = ["PointAndIntervals", "auto_arima", "auto_ets", "seasonal_naive"]

_LONGEST_SEASON = {"AutoETS": 24, "AutoARIMA": 12}
"""A longer one is removed by STL first: ETS has a parameter for its every step, and ARIMA's
estimation takes minutes."""

_LONGEST_HISTORY = 4096
"""Steps that an automatic model is fitted to, the last ones: older ones cost time alone."""


@dataclass(frozen=True, eq=False)
class PointAndIntervals:
    """Forecasts of one series with their prediction intervals.

    Attributes:
        mean: Point forecasts, shape (H,).
        lower: Lower ends of the intervals by their level in percent, each (H,).
        upper: Upper ends of the intervals by their level in percent, each (H,).
    """

    mean: NDArray[np.float64]
    lower: dict[int, NDArray[np.float64]]
    upper: dict[int, NDArray[np.float64]]


def seasonal_naive(
    history: NDArray[np.float64], horizon: int, season: int, levels: Sequence[int] = ()
) -> PointAndIntervals:
    """Forecast the value of one season before, or of as many before as it takes to find one.

    The intervals are normal: ± z · σ · √k, where σ is the root mean square of the history's
    seasonal differences and k how many seasons lie between a forecast and the value it repeats.

    Args:
        history: What came before, shape (T,), NaN where missing, with at least one value.
        horizon: How many steps to forecast, H.
        season: Season length in steps. A history no longer than a season is forecast with
            season 1, by its last value.
        levels: Levels of the intervals in percent, between 0 and 100.

    Returns:
        Forecasts; the ends of the intervals are NaN where the history has no difference.

    Raises:
        DataError: if the history has no value.
        UsageError: if horizon, season or a level is out of range.

    Source: Hyndman & Athanasopoulos, FPP3, 5.2 and, for the intervals, 5.5.

    >>> seasonal_naive(np.array([1.0, 2.0, 3.0, np.nan]), horizon=3, season=2).mean.tolist()
    [3.0, 2.0, 3.0]
    """
    _check(horizon, season, levels)
    history = np.asarray(history, dtype=np.float64)
    observed = np.flatnonzero(~np.isnan(history))
    if len(observed) == 0:
        raise DataError("the history has no observed value, so there is nothing to repeat")
    length = len(history)
    if length <= season:
        season = 1
    phases = observed % season
    latest = np.full(season, -1)
    np.maximum.at(latest, phases, observed)
    # A season's phase that was never observed is forecast by the last value there is.
    steps = np.arange(length, length + horizon)
    repeated = np.where(latest[steps % season] < 0, observed[-1], latest[steps % season])
    differences = history[season:] - history[:-season]
    differences = differences[~np.isnan(differences)]
    sigma = np.sqrt(np.mean(differences**2)) if len(differences) else np.nan
    seasons = np.ceil((steps - repeated) / season)
    mean = history[repeated]
    return _normal_intervals(mean, sigma * np.sqrt(seasons), levels)


def _normal_intervals(
    mean: NDArray[np.float64], sigma: NDArray[np.float64], levels: Sequence[int]
) -> PointAndIntervals:
    widths = {level: NormalDist().inv_cdf(0.5 + level / 200) * sigma for level in levels}
    lower = {level: mean - width for level, width in widths.items()}
    upper = {level: mean + width for level, width in widths.items()}
    return PointAndIntervals(mean, lower, upper)


def _check(horizon: int, season: int, levels: Sequence[int]) -> None:
    if horizon < 1 or season < 1:
        raise UsageError(f"horizon={horizon} and season={season} must be at least 1")
    for level in levels:
        if not 0 < level < 100:
            raise UsageError(f"the level {level} of an interval must lie between 0 and 100")


def auto_ets(
    histories: Sequence[NDArray[np.float64]],
    horizon: int,
    season: int,
    levels: Sequence[int] = (),
    *,
    n_jobs: int = 1,
    timeout_s: float | None = None,
) -> tuple[list[PointAndIntervals], int]:
    """Forecast each series by the exponential smoothing model of the lowest AICc.

    Missing values before a history's first one are left out, those inside are interpolated
    linearly, and those at its end are forecast. A season of more than 24 steps is too long for
    ETS, whose every step of the season is a parameter: the seasons are then taken out by STL,
    non-seasonal ETS forecasts the rest, and the last season is added back, as R's `stlf` does. A
    history shorter than two seasons has no seasonal part.

    Of a history longer than 4,096 steps the last ones are taken.

    A series on which this fails, or which is not finished in time, gets `seasonal_naive`.

    Args:
        histories: What came before, one array of shape (T,) a series, NaN where missing.
        horizon: How many steps to forecast, H.
        season: Season length in steps.
        levels: Levels of the intervals in percent, between 0 and 100.
        n_jobs: How many processes; 1 is this one. They are forked on Linux and spawned
            elsewhere, where a script must guard its start by ``if __name__ == "__main__"``.
        timeout_s: After so many seconds no series is begun any more; those under way are
            finished.

    Returns:
        Forecasts in the order of the histories, and how many of them are seasonal naive.

    Raises:
        DataError: if a history has no value.
        UsageError: if horizon, season, a level or n_jobs is out of range.
        MissingExtraError: if statsforecast is not installed.

    Source: Hyndman et al. 2008, as in R's forecast package; STL: FPP3, 5.7.
    """
    return _automatic("AutoETS", histories, horizon, season, levels, n_jobs, timeout_s)


def auto_arima(
    histories: Sequence[NDArray[np.float64]],
    horizon: int,
    season: int,
    levels: Sequence[int] = (),
    *,
    n_jobs: int = 1,
    timeout_s: float | None = None,
) -> tuple[list[PointAndIntervals], int]:
    """Forecast each series by the seasonal ARIMA model of the lowest AICc.

    It is like `auto_ets` in all but the model and the longest season, which is 12 steps here.

    Args:
        histories: See `auto_ets`, as for the others.
        horizon: How many steps to forecast, H.
        season: Season length in steps.
        levels: Levels of the intervals in percent, between 0 and 100.
        n_jobs: How many processes.
        timeout_s: After so many seconds no series is begun any more.

    Returns:
        Forecasts in the order of the histories, and how many of them are seasonal naive.

    Raises:
        DataError: if a history has no value.
        UsageError: if horizon, season, a level or n_jobs is out of range.
        MissingExtraError: if statsforecast is not installed.

    Source: Hyndman & Khandakar 2008.
    """
    return _automatic("AutoARIMA", histories, horizon, season, levels, n_jobs, timeout_s)


def _automatic(
    model: str,
    histories: Sequence[NDArray[np.float64]],
    horizon: int,
    season: int,
    levels: Sequence[int],
    n_jobs: int,
    timeout_s: float | None,
) -> tuple[list[PointAndIntervals], int]:
    try:
        import statsforecast.models  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the {model} baseline needs statsforecast: pip install 'noria[series]'"
        ) from error
    _check(horizon, season, levels)
    if n_jobs < 1:
        raise UsageError(f"n_jobs={n_jobs} must be at least 1")
    naive = [seasonal_naive(history, horizon, season, levels) for history in histories]
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    jobs = [(model, history, horizon, season, tuple(levels)) for history in histories]
    if n_jobs == 1:
        found = [
            _forecast(*job) if deadline is None or time.monotonic() < deadline else None
            for job in jobs
        ]
    else:
        found = _in_processes(jobs, n_jobs, deadline)
    forecasts = [ets or fallback for ets, fallback in zip(found, naive, strict=True)]
    return forecasts, found.count(None)


def _in_processes(
    jobs: list[Job], n_jobs: int, deadline: float | None
) -> list[PointAndIntervals | None]:
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    with warnings.catch_warnings():
        # The forked processes run statsforecast alone and take no lock of another thread.
        warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
        with ProcessPoolExecutor(min(n_jobs, len(jobs) or 1), mp_context=context) as pool:
            futures: list[Future[PointAndIntervals | None]] = []
            with suppress(BrokenExecutor):
                futures.extend(pool.submit(_forecast, *job) for job in jobs)
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            _, unfinished = wait(futures, left_s)
            for future in unfinished:
                future.cancel()
            found = [_result(future) for future in futures]
    return found + [None] * (len(jobs) - len(found))


def _result(future: Future[PointAndIntervals | None]) -> PointAndIntervals | None:
    try:
        return None if future.cancelled() else future.result()
    except BrokenExecutor:
        return None


def _forecast(
    name: str, history: NDArray[np.float64], horizon: int, season: int, levels: tuple[int, ...]
) -> PointAndIntervals | None:
    """Forecast one series, or give None if its model cannot be fitted."""
    from statsforecast.models import MSTL, AutoARIMA, AutoETS

    observed = np.flatnonzero(~np.isnan(history))
    inside = np.arange(observed[0], observed[-1] + 1)
    y = np.interp(inside, observed, history[observed])
    y = y[-_LONGEST_HISTORY:]
    late = len(history) - 1 - int(observed[-1])
    kind = {"AutoETS": AutoETS, "AutoARIMA": AutoARIMA}[name]
    if season == 1 or len(y) < 2 * season:
        model = kind(season_length=1)
    elif season <= _LONGEST_SEASON[name]:
        model = kind(season_length=season)
    else:
        rest = AutoETS(model="ZZN") if name == "AutoETS" else AutoARIMA(season_length=1)
        model = MSTL(season_length=season, trend_forecaster=rest)
    try:
        with warnings.catch_warnings():
            # A warning is no failure, even where warnings are errors.
            warnings.simplefilter("ignore")
            found = model.forecast(y=y, h=late + horizon, level=list(levels) or None)
    except Exception:
        return None
    lower = {level: found[f"lo-{level}"][late:] for level in levels}
    upper = {level: found[f"hi-{level}"][late:] for level in levels}
    forecast = PointAndIntervals(found["mean"][late:], lower, upper)
    ends = (forecast.mean, *lower.values(), *upper.values())
    return forecast if all(np.isfinite(end).all() for end in ends) else None
