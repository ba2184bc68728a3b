"""Which steps of each series are for training, for validation and for the comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError
from noria.features.series import SeriesTable
from noria.training.windows import Origins

__all__ = ["Split", "split_series"]

_MOST_WINDOWS = 10

_LEAST_OF_A_HALF = 20
"""Forecasts; with fewer of either half the validation stays whole. It takes 19 scores to tell which
of them 95 in 100 stay below."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Each series in time: training, then validation, then test.

    A series too short to hold anything out is for training altogether.

    Attributes:
        train_ends: First step that is not for training, shape (N,).
        validation_ends: First step that is not for validation either, shape (N,).
        test_ends: Length of the series, shape (N,).
        validation_windows: Horizons for validation.
        test_windows: Horizons for the comparison.
    """

    train_ends: NDArray[np.int64]
    validation_ends: NDArray[np.int64]
    test_ends: NDArray[np.int64]
    validation_windows: int
    test_windows: int

    def validation_origins(self, horizon: int) -> Origins:
        """Eight forecasts a horizon: they overlap, for a finer calibration."""
        stride = max(1, horizon // 8)
        return Origins.rolling(self.train_ends, self.validation_ends, horizon, stride)

    def halves(self, origins: Origins, horizon: int) -> tuple[Origins, Origins]:
        """Those of the validation to stop training by, and later ones to calibrate by.

        What the training was stopped by looks better than what is to come, and intervals
        calibrated on it would be too narrow. So no target is in both, unless there are too few of
        them: then each is the whole.

        Args:
            origins: Of `validation_origins`, or some of them.
            horizon: K.
        """
        middles = (self.train_ends + self.validation_windows // 2 * horizon)[origins.series]
        early = origins[origins.t + horizon < middles]
        late = origins[origins.t + 1 >= middles]
        if min(len(early), len(late)) < _LEAST_OF_A_HALF:
            return origins, origins
        return early, late

    def test_origins(self, horizon: int) -> Origins:
        """Forecasts end to end, none overlapping."""
        return Origins.rolling(self.validation_ends, self.test_ends, horizon, horizon)


def split_series(
    table: SeriesTable,
    horizon: int,
    seasons: Sequence[int],
    validation_windows: int | None,
    test_windows: int | None,
) -> Split:
    """Split every series in time.

    Args:
        table: The series.
        horizon: K.
        seasons: Season lengths in steps.
        validation_windows: Horizons for validation; None takes a tenth of the median series,
            between 1 and 10.
        test_windows: Horizons for the comparison; None likewise.

    Raises:
        DataError: if no series is long enough.
    """
    lengths = np.array([len(series.y) for series in table.series], dtype=np.int64)
    usual = int(np.clip(np.median(lengths) // (10 * horizon), 1, _MOST_WINDOWS))
    validation = usual if validation_windows is None else validation_windows
    test = usual if test_windows is None else test_windows
    held_out = (validation + test) * horizon
    needed = held_out + horizon + max(min(seasons, default=2), 2)
    enough = lengths >= needed
    if not enough.any():
        longest = int(lengths.argmax())
        season = f" and a season of {min(seasons)}" if seasons else ""
        raise DataError(
            f"series {table.series[longest].id!r} has {lengths[longest]} time steps"
            + (" and is the longest" if len(lengths) > 1 else "")
            + f"; a horizon of {horizon} with {validation} windows for validation and {test} for"
            f" the comparison{season} needs at least {needed}: give more data or a shorter horizon"
            + (" or season" if season else "")
        )
    return Split(
        train_ends=np.where(enough, lengths - held_out, lengths),
        validation_ends=np.where(enough, lengths - test * horizon, lengths),
        test_ends=lengths,
        validation_windows=validation,
        test_windows=test,
    )
