"""Training one forecasting network and keeping what it takes to use it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noria.cells import RNN
from noria.features.panel import Panel
from noria.features.series import SeriesTable
from noria.modules.forecast import ForecastModule
from noria.runtime.horizon import calibrate
from noria.training.conformal import calibration_factors, quantile_grid
from noria.training.loop import History, TrainingConfig, train
from noria.training.progress import watching
from noria.training.split import Split
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
        training: For the loop.
    """

    levels: tuple[int, ...]
    context_length: int
    truncation_length: int
    batch_size: int
    forks: int
    dropout: float
    recurrent_dropout: float
    training: TrainingConfig


@dataclasses.dataclass(frozen=True)
class TrainedForecaster:
    """A trained network with its calibration.

    Attributes:
        module: Network and head, in evaluation mode.
        factors: See `noria.training.conformal`.
        window: Steps that a feed-forward network sees; 0 for one that remembers.
        history: The course of the training.
    """

    module: ForecastModule
    factors: NDArray[np.float64]
    window: int
    history: History

    def quantiles(self, panel: Panel, origins: Origins) -> NDArray[np.float64]:
        """Calibrated quantiles in the series' units, ascending, shape (R, K, Q)."""
        scaled = forecast_quantiles(self.module, panel, origins, self.window)
        level, scale = panel.level_and_scale(origins.series, origins.t)
        return level + scale * calibrate(scaled, self.factors)

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
        while len(blocks) * self.module.head.horizon < steps:
            panel = prepare(table)
            ends = panel.lengths
            quantiles = self.quantiles(panel, Origins(np.arange(len(ends)), ends - 1, ends))
            median = quantiles[..., quantiles.shape[-1] // 2, None]
            if spread is not None:
                apart = quantiles - median
                quantiles = median + np.sign(apart) * np.hypot(apart, spread)
            spread = np.abs(quantiles - median)[:, -1:]
            blocks.append(quantiles)
            table = table.with_values(median[..., 0])
        return np.concatenate(blocks, axis=1)[:, :steps]

    def document(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        head = self.module.head
        return {
            "wiring": self.module.network.wiring.to_dict(),
            "horizon": head.horizon,
            "known_size": head.known_size,
            "candidate_size": head.candidate_size,
            "window": self.window,
            "factors": self.factors.tolist(),
            "history": dataclasses.asdict(self.history),
        }

    def weights(self) -> dict[str, NDArray[Any]]:
        """Weights by name, as numpy arrays; a shared one once."""
        return {name: p.detach().numpy() for name, p in self.module.named_parameters()}

    @classmethod
    def from_document(
        cls,
        document: Mapping[str, Any],
        weights: Mapping[str, NDArray[Any]],
        levels: Sequence[int],
    ) -> TrainedForecaster:
        """Read what `document` and `weights` gave.

        Raises:
            KeyError, ValueError, RuntimeError: if they do not fit together.
        """
        module = ForecastModule(
            Wiring.from_dict(document["wiring"]),
            document["horizon"],
            document["known_size"],
            document["candidate_size"],
            quantile_grid(levels),
        )
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if weights[name].shape != tuple(parameter.shape):
                    raise ValueError(f"weight {name} has shape {weights[name].shape}")
                parameter.copy_(torch.from_numpy(weights[name]))
        module.eval()
        factors = np.array(document["factors"], dtype=np.float64)
        return cls(module, factors, document["window"], History(**document["history"]))


def feed_forward_rival(
    panel: Panel, levels: Sequence[int], num_layers: int, window: int, parameters: int
) -> Wiring:
    """The wiring of a feed-forward network with as near as possible so many weights.

    Its layers are plain ReLU neurons: gates without a memory to guard would only spend its share
    of the weights.

    Args:
        panel: The series, for the sizes.
        levels: Levels of the intervals in %.
        num_layers: Layers.
        window: Steps that it sees.
        parameters: Weights of the recurrent module, its head included.
    """

    def build(hidden_size: int) -> Wiring:
        cells = [RNN(hidden_size, "relu")] * num_layers
        return Wiring.build(panel.input_size + window, cells, "none")

    def excess(hidden_size: int) -> int:
        with torch.device("meta"):
            return _module(build(hidden_size), panel, levels).parameter_count - parameters

    size = next((s for s in range(1, _LARGEST_RIVAL) if excess(s) >= 0), _LARGEST_RIVAL)
    if size > 1 and -excess(size - 1) < excess(size):
        size -= 1
    return build(size)


def _module(
    wiring: Wiring,
    panel: Panel,
    levels: Sequence[int],
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> ForecastModule:
    return ForecastModule(
        wiring,
        panel.horizon,
        panel.known_size,
        panel.candidate_size,
        quantile_grid(levels),
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
    )


def train_forecaster(
    wiring: Wiring,
    panel: Panel,
    split: Split,
    recipe: Recipe,
    *,
    title: str,
    window: int = 0,
    trained_on: str = "",
    checkpoint: Path | None = None,
    resume: bool = False,
    log_dir: Path | None = None,
    progress: bool = False,
) -> TrainedForecaster:
    """Train, then calibrate on the validation part.

    Args:
        wiring: The network's wiring, without output layer.
        panel: The series.
        split: What is for training and what for validation.
        recipe: How to train.
        title: For the progress bar; part of the checkpoint's identity.
        window: Steps that a feed-forward network sees; 0 for one that remembers.
        trained_on: Hash of the data; part of the checkpoint's identity.
        checkpoint: Where to keep the state of the training; None for none.
        resume: Go on from the checkpoint, if there is one.
        log_dir: Folder for TensorBoard's event files.
        progress: Draw a bar on standard error where that is a terminal.
    """
    torch.manual_seed(recipe.training.seed)
    module = _module(wiring, panel, recipe.levels, recipe.dropout, recipe.recurrent_dropout)
    validation = split.validation_origins(panel.horizon)
    objective = WindowObjective(
        module,
        panel,
        split.train_ends,
        validation,
        context_length=recipe.context_length,
        truncation_length=recipe.truncation_length,
        batch_size=recipe.batch_size,
        forks=recipe.forks,
        quantiles=quantile_grid(recipe.levels),
        window=window,
        seed=recipe.training.seed,
    )
    identity = json.dumps([title, trained_on, wiring.to_dict(), window, dataclasses.asdict(recipe)])
    with watching(title, log_dir=log_dir, bar=progress) as on_update:
        history = train(
            module,
            objective,
            recipe.training,
            fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
            checkpoint=checkpoint,
            resume=resume,
            on_update=on_update,
        )
    scaled = forecast_quantiles(module, panel, validation, window)
    forks = panel.forks(validation.series, validation.t, validation.ends)
    factors = calibration_factors(forks.target, scaled, recipe.levels)
    return TrainedForecaster(module, factors, window, history)
