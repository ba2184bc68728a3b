"""Every result beside what it must beat: forecasts of several models on the same windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.training import metrics
from noria.training.baselines import PointAndIntervals
from noria.training.conformal import quantile_grid
from noria.training.verdict import verdict

__all__ = ["Comparison", "Forecasts", "Score", "baseline_quantiles", "score"]


@dataclasses.dataclass(frozen=True)
class Forecasts:
    """One model's forecasts of the windows.

    Attributes:
        model: Its name in the table.
        quantiles: At the points of `quantile_grid(levels)`, in the series' units, (R, K, Q).
        parameters: Number of fitted weights; None where that says nothing.
        seconds: Time to fit and forecast.
    """

    model: str
    quantiles: NDArray[np.float64]
    parameters: int | None
    seconds: float

    @property
    def median(self) -> NDArray[np.float64]:
        """The point forecast, shape (R, K)."""
        return self.quantiles[..., self.quantiles.shape[-1] // 2]


@dataclasses.dataclass(frozen=True)
class Score:
    """One line of the table.

    Attributes:
        model: Name.
        mae: Mean absolute error, in the series' units.
        mase: Mean absolute scaled error, mean over windows; NaN where no window has a scale.
        smape: Symmetric mean absolute percentage error, in %.
        crps: Continuous ranked probability score of the distribution that is linear between the
            quantiles, in the series' units; see `noria.training.metrics.crps_from_quantiles`.
        coverage: Share of what came inside the interval, 0 to 1, by the interval's level; NaN
            where nothing came.
        parameters: Number of fitted weights, or None.
        seconds: Time to fit and forecast.
    """

    model: str
    mae: float
    mase: float
    smape: float
    crps: float
    coverage: dict[int, float]
    parameters: int | None
    seconds: float

    def metrics(self) -> dict[str, float]:
        """The figures alone, by lower-case name; a figure that is no number is left out."""
        values = {"mae": self.mae, "mase": self.mase, "smape": self.smape, "crps": self.crps}
        values |= {f"coverage_{level}": share for level, share in self.coverage.items()}
        return {name: value for name, value in values.items() if np.isfinite(value)}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Several models on the same windows; the first is the one in question.

    Attributes:
        scores: One a model.
        windows: Number of forecasts scored, R.
        series: Number of series they are from.
        horizon: K.
        notes: What a reader must know of how a line came about.
        remembers: Whether the one in question carries anything from step to step.
        held_out: Whether no training saw anything of the windows.
    """

    scores: tuple[Score, ...]
    windows: int
    series: int
    horizon: int
    notes: tuple[str, ...] = ()
    remembers: bool = True
    held_out: bool = True

    def verdict(self) -> str:
        """In one sentence, whether memory pays on this data, by MASE or else MAE."""
        name = "mase" if all(np.isfinite(s.mase) for s in self.scores) else "mae"
        values = {score.model: getattr(score, name) for score in self.scores}
        return verdict(name.upper(), values, lower_is_better=True, remembers=self.remembers)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; a figure that is no number becomes null."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {str(key): plain(part) for key, part in value.items()}
            return None if isinstance(value, float) and not np.isfinite(value) else value

        document = dataclasses.asdict(self)
        return {
            **document,
            "scores": [plain(score) for score in document["scores"]],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Comparison:
        """Read what `to_dict` wrote."""

        def number(value: float | None) -> float:
            return float("nan") if value is None else value

        scores = [
            Score(
                **{
                    **score,
                    **{name: number(score[name]) for name in ("mae", "mase", "smape", "crps")},
                    "coverage": {int(k): number(v) for k, v in score["coverage"].items()},
                }
            )
            for score in document["scores"]
        ]
        return cls(**{**document, "scores": tuple(scores), "notes": tuple(document["notes"])})


def score(
    forecasts: Forecasts,
    actual: NDArray[np.float64],
    scales: NDArray[np.float64],
    levels: Sequence[int],
) -> Score:
    """Score one model's forecasts.

    Args:
        forecasts: The forecasts.
        actual: What came, shape (R, K); NaN where missing.
        scales: Of each window, mean absolute seasonal difference of the steps before it, (R,).
        levels: Levels of the intervals in %.
    """
    quantiles = forecasts.quantiles
    widest_first = sorted(levels, reverse=True)
    coverage = {
        level: metrics.coverage(actual, quantiles[..., number], quantiles[..., -1 - number])
        for number, level in enumerate(widest_first)
    }
    return Score(
        forecasts.model,
        metrics.mae(actual, forecasts.median),
        metrics.mase(actual, forecasts.median, scales),
        metrics.smape(actual, forecasts.median),
        metrics.crps_from_quantiles(actual, quantiles, np.array(quantile_grid(levels))),
        {level: coverage[level] for level in sorted(levels)},
        forecasts.parameters,
        forecasts.seconds,
    )


def baseline_quantiles(
    forecasts: Sequence[PointAndIntervals], levels: Sequence[int]
) -> NDArray[np.float64]:
    """The baselines' forecasts at the points of `quantile_grid(levels)`, shape (R, K, Q)."""
    upward = sorted(levels)
    return np.array(
        [
            np.stack(
                [
                    *(forecast.lower[level] for level in reversed(upward)),
                    forecast.mean,
                    *(forecast.upper[level] for level in upward),
                ],
                axis=-1,
            )
            for forecast in forecasts
        ]
    )
