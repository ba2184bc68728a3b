"""Training a forecasting network, or several, and keeping what it takes to use them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noria.cells import RNN
from noria.errors import DataError
from noria.features.panel import Panel
from noria.features.running import Window
from noria.features.series import SeriesTable
from noria.modules.forecast import ForecastModule
from noria.runtime.distribution import Distribution
from noria.runtime.horizon import average, in_units
from noria.training.conformal import calibration_factors, quantile_grid
from noria.training.loop import History, TrainingConfig
from noria.training.split import Split
from noria.training.trained import TrainingRun
from noria.training.windows import Origins, WindowObjective, forecast_quantiles
from noria.wiring import Wiring

__all__ = ["Recipe", "TrainedForecaster", "feed_forward_rival", "train_forecaster"]

_LARGEST_RIVAL = 4096


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a forecasting network is trained.

    Attributes:
        levels: Levels of the intervals in %, ascending.
        context_length: Steps of a training stretch.
        truncation_length: Steps of back-propagation.
        batch_size: Stretches in a batch.
        forks: Forecasts made from each piece of a stretch.
        dropout: Between layers.
        recurrent_dropout: On the recurrence.
        distribution: See `noria.runtime.distribution`.
        members: Networks, alike but for their seed, whose quantiles are averaged.
        window: What they see where they start afresh at every forecast; None where they go on
            from step to step.
        direct: See `noria.modules.horizon.HorizonHead`.
        training: For the loop.
    """

    levels: tuple[int, ...]
    context_length: int
    truncation_length: int
    batch_size: int
    forks: int
    dropout: float
    recurrent_dropout: float
    distribution: str
    members: int
    window: Window | None
    direct: bool
    training: TrainingConfig

    def module(self, wiring: Wiring, panel: Panel) -> ForecastModule:
        """A network with fresh weights."""
        return ForecastModule(
            wiring,
            panel.horizon,
            panel.known_size,
            panel.candidate_size,
            Distribution(self.distribution, quantile_grid(self.levels)),
            dropout=self.dropout,
            recurrent_dropout=self.recurrent_dropout,
            direct=self.direct,
        )


@dataclasses.dataclass(frozen=True)
class TrainedForecaster:
    """A trained network, or several that are averaged, with their calibration.

    Attributes:
        modules: Network and head of each member, in evaluation mode.
        factors: See `noria.training.conformal`.
        window: What they see where they start afresh at every forecast; None where they go on
            from step to step.
        history: The course of the training of the first, with the time of all.
    """

    modules: tuple[ForecastModule, ...]
    factors: NDArray[np.float64]
    window: Window | None
    history: History

    @property
    def wiring(self) -> Wiring:
        """Of each member."""
        return self.modules[0].network.wiring

    @property
    def parameter_count(self) -> int:
        """Number of weights of all members."""
        return sum(module.parameter_count for module in self.modules)

    def quantiles(self, panel: Panel, origins: Origins) -> NDArray[np.float64]:
        """Calibrated quantiles in the series' units, ascending, shape (R, K, Q)."""
        scaled = _mean_quantiles(self.modules, panel, origins, self.window)
        level, scale = panel.level_and_scale(origins.series, origins.t)
        counts = self.modules[0].head.distribution.counts
        return in_units(scaled, self.factors, level, scale, whole=counts)

    def run_ahead(
        self, table: SeriesTable, prepare: Callable[[SeriesTable], Panel], steps: int
    ) -> NDArray[np.float64]:
        """Calibrated quantiles after the end of each series, however far.

        Beyond the horizon the forecast goes on from its own medians; the intervals then widen as
        those of independent steps do, by the root of the sum of their squares.

        Args:
            table: The series, N.
            prepare: Makes a panel of a table.
            steps: How far.

        Returns:
            Shape (N, steps, Q).
        """
        blocks: list[NDArray[np.float64]] = []
        spread: NDArray[np.float64] | None = None
        while len(blocks) * self.modules[0].head.horizon < steps:
            panel = prepare(table)
            ends = panel.lengths
            quantiles = self.quantiles(panel, Origins(np.arange(len(ends)), ends - 1, ends))
            median = quantiles[..., quantiles.shape[-1] // 2, None]
            if spread is not None:
                apart = quantiles - median
                quantiles = median + np.sign(apart) * np.hypot(apart, spread)
                if self.modules[0].head.distribution.counts:
                    quantiles = np.maximum(np.rint(quantiles), 0)
            spread = np.abs(quantiles - median)[:, -1:]
            blocks.append(quantiles)
            table = table.with_values(median[..., 0])
        return np.concatenate(blocks, axis=1)[:, :steps]

    def document(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        head = self.modules[0].head
        return {
            "wiring": self.wiring.to_dict(),
            "members": len(self.modules),
            "horizon": head.horizon,
            "known_size": head.known_size,
            "candidate_size": head.candidate_size,
            "distribution": head.distribution.name,
            "direct": head.direct is not None,
            "window": self.window and dataclasses.asdict(self.window),
            "factors": self.factors.tolist(),
            "history": dataclasses.asdict(self.history),
        }

    def sha256(self) -> str:
        """A hash of the weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.weights().items()):
            digest.update(name.encode() + value.tobytes())
        return digest.hexdigest()

    def weights(self) -> dict[str, NDArray[Any]]:
        """Weights as numpy arrays by the member's number and their name; a shared one once."""
        return {
            f"{number}.{name}": parameter.detach().numpy()
            for number, module in enumerate(self.modules)
            for name, parameter in module.named_parameters()
        }

    @classmethod
    def from_document(
        cls,
        document: Mapping[str, Any],
        weights: Mapping[str, NDArray[Any]],
        levels: Sequence[int],
    ) -> TrainedForecaster:
        """Read what `document` and `weights` gave.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: if they do not fit together.
        """
        modules = []
        for number in range(document["members"]):
            module = ForecastModule(
                Wiring.from_dict(document["wiring"]),
                document["horizon"],
                document["known_size"],
                document["candidate_size"],
                Distribution(document["distribution"], quantile_grid(levels)),
                direct=document["direct"],
            )
            put_weights(module, weights, f"{number}.")
            modules.append(module.eval())
        window = document["window"] and Window(**document["window"])
        factors = np.array(document["factors"], dtype=np.float64)
        return cls(tuple(modules), factors, window, History(**document["history"]))


def put_weights(module: ForecastModule, weights: Mapping[str, NDArray[Any]], prefix: str) -> None:
    """Give a module the weights whose names begin so.

    Raises:
        KeyError, ValueError: if one is not there or has another shape.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            value = weights[prefix + name]
            if value.shape != tuple(parameter.shape):
                raise ValueError(f"weight {prefix}{name} has shape {value.shape}")
            parameter.copy_(torch.from_numpy(value))


def _mean_quantiles(
    modules: Sequence[ForecastModule], panel: Panel, origins: Origins, window: Window | None
) -> NDArray[Any]:
    """The members' mean, not calibrated, in units of the scale relative to the level."""
    return average([forecast_quantiles(module, panel, origins, window) for module in modules])


def feed_forward_rival(panel: Panel, recipe: Recipe, num_layers: int, parameters: int) -> Wiring:
    """The wiring of a feed-forward network with as near as possible so many weights.

    Its layers are plain ReLU neurons: gates without a memory to guard would only spend its share
    of the weights.

    Args:
        panel: The series, for the sizes.
        recipe: How it will be trained, with the window that it sees.
        num_layers: Layers.
        parameters: Weights of the recurrent module, its head included.
    """
    assert recipe.window is not None
    input_size = panel.input_size + recipe.window.segment

    def build(hidden_size: int) -> Wiring:
        cells = [RNN(hidden_size, "relu")] * num_layers
        return Wiring.build(input_size, cells, "none")

    def excess(hidden_size: int) -> int:
        with torch.device("meta"):
            return recipe.module(build(hidden_size), panel).parameter_count - parameters

    size = next((s for s in range(1, _LARGEST_RIVAL) if excess(s) >= 0), _LARGEST_RIVAL)
    if size > 1 and -excess(size - 1) < excess(size):
        size -= 1
    return build(size)


def train_forecaster(
    wiring: Wiring,
    panel: Panel,
    split: Split,
    recipe: Recipe,
    run: TrainingRun,
    *,
    title: str,
    start: TrainedForecaster | None = None,
) -> TrainedForecaster:
    """Train, stopped by the first half of the validation part, and calibrate on the second.

    Args:
        wiring: The network's wiring, without output layer.
        panel: The series.
        split: What is for training and what for validation.
        recipe: How to train.
        run: Checkpoints, logs, progress.
        title: For the progress bar and the checkpoints.
        start: Whose weights to begin with; None for fresh ones.

    Raises:
        DataError: if there is nothing to learn from or nothing to validate by.
    """
    validation, calibration = split.halves(_validation(panel, split), panel.horizon)
    if start is not None:
        run = dataclasses.replace(run, trained_on=f"{run.trained_on} after {start.sha256()}")
    modules, histories = [], []
    for number in range(recipe.members):
        config = dataclasses.replace(recipe.training, seed=recipe.training.seed + number)
        torch.manual_seed(config.seed)
        module = recipe.module(wiring, panel)
        if start is not None:
            put_weights(module, start.weights(), f"{number}.")
        objective = WindowObjective(
            module,
            panel,
            split.train_ends,
            validation,
            context_length=recipe.context_length,
            truncation_length=recipe.truncation_length,
            batch_size=recipe.batch_size,
            forks=recipe.forks,
            window=recipe.window,
            seed=config.seed,
        )
        trained = run.train(
            title if not number else f"{title}-{number}", module, objective, config, recipe
        )
        modules.append(trained.module)
        histories.append(trained.history)
    factors = np.ones((panel.horizon, len(recipe.levels)))
    if not modules[0].head.distribution.counts:
        scaled = _mean_quantiles(modules, panel, calibration, recipe.window)
        target = panel.forks(calibration.series, calibration.t, calibration.ends).target
        factors = calibration_factors(target, scaled, recipe.levels)
    seconds = sum(history.seconds for history in histories)
    history = dataclasses.replace(histories[0], seconds=seconds)
    return TrainedForecaster(tuple(modules), factors, recipe.window, history)


def _validation(panel: Panel, split: Split) -> Origins:
    """The validation's forecasts after which something was observed."""
    ends = split.train_ends.tolist()
    table = panel.table
    if not any(np.isfinite(s.y[1:end]).any() for s, end in zip(table.series, ends, strict=True)):
        raise DataError(
            f"no series has two values of {table.columns.target!r} in its part for training, all"
            f" but the last {split.validation_windows + split.test_windows} horizons of"
            f" {panel.horizon}: fill the gap, or lower validation_windows and test_windows"
        )
    origins = split.validation_origins(panel.horizon)
    observed = np.isfinite(panel.actual(origins.series, origins.t))
    kept = np.flatnonzero(observed.any(axis=1))
    if not len(kept):
        raise DataError(
            f"{table.columns.target!r} has no value in the part for validation,"
            f" {split.validation_windows} horizons of {panel.horizon} steps: fill the gap or raise"
            " validation_windows"
        )
    return origins[kept]
