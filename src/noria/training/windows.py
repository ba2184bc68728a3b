"""Training a forecaster: stretches of many series, forecasts from many of their steps.

A stretch longer than `truncation_length` is trained piece by piece, the state carried from each
to the next (truncated back-propagation through time).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noria.features.panel import Panel
from noria.features.running import Window
from noria.modules.distribution import distribution_loss
from noria.modules.forecast import ForecastModule
from noria.modules.horizon import pinball_loss
from noria.network import NetworkState
from noria.training.loop import random_generator

__all__ = ["Origins", "WindowBatch", "WindowObjective", "forecast_quantiles"]

Indices = NDArray[np.int64]

_VALIDATION_SERIES = 256
"""Series that are looked at in a validation during training, at the most."""

_VALIDATION_FORECASTS = 4096
"""Forecasts likewise."""

_SCAN_VALUES = 4_000_000
"""Inputs of one scan at prediction, at the most, unless one series alone is longer."""


@dataclasses.dataclass(frozen=True)
class Origins:
    """Where forecasts are made: the last known step of each, R in all.

    Attributes:
        series: Index of the series, shape (R,).
        t: The last known step, shape (R,).
        ends: Targets from here on are not looked at, shape (R,).
    """

    series: Indices
    t: Indices
    ends: Indices

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, keep: NDArray[np.bool_] | Indices) -> Origins:
        return Origins(self.series[keep], self.t[keep], self.ends[keep])

    @classmethod
    def rolling(cls, firsts: Indices, ends: Indices, horizon: int, stride: int) -> Origins:
        """Every `stride` steps a whole horizon between `firsts` and `ends`, series by series.

        Args:
            firsts: First step to forecast in each series, shape (N,).
            ends: The step after the last to forecast, shape (N,); an empty stretch gives none.
            horizon: K.
            stride: Steps from one origin to the next.
        """
        t = [np.arange(f, e - horizon + 1, stride) - 1 for f, e in zip(firsts, ends, strict=True)]
        series = np.repeat(np.arange(len(t)), [len(part) for part in t])
        joined = np.concatenate(t).astype(np.int64)
        return cls(series, joined, ends[series])


@dataclasses.dataclass(frozen=True)
class WindowBatch:
    """A batch of pieces: what `ForecastModule` takes, the targets (R, K), level, scale (R, 1)."""

    x: Tensor
    lengths: Tensor
    rows: Tensor
    steps: Tensor
    candidates: Tensor
    known: Tensor
    target: Tensor
    level: Tensor
    scale: Tensor

    def run(
        self, module: ForecastModule, state: NetworkState | None
    ) -> tuple[Tensor, NetworkState]:
        """The head's numbers, (R, K, P), and the state after the batch."""
        found: tuple[Tensor, NetworkState] = module(
            self.x, self.lengths, state, self.rows, self.steps, self.candidates, self.known
        )
        return found


class WindowObjective:
    """Loss of a forecaster on random stretches of the training part.

    Args:
        module: The forecaster.
        panel: The series.
        train_ends: For each series the first step that is not for training, shape (N,).
        validation: Where to forecast in validations.
        context_length: Steps of a stretch.
        truncation_length: Steps of a piece of it.
        batch_size: Stretches in a batch, B.
        forks: Forecasts made from each piece.
        window: What a network sees that starts afresh at every forecast; None for one that goes
            on from step to step.
        seed: Of the random choices.
    """

    def __init__(
        self,
        module: ForecastModule,
        panel: Panel,
        train_ends: Indices,
        validation: Origins,
        *,
        context_length: int,
        truncation_length: int,
        batch_size: int,
        forks: int,
        window: Window | None,
        seed: int,
    ) -> None:
        self.module = module
        self.panel = panel
        self.train_ends = train_ends
        self.context_length = context_length
        self.piece = context_length if window else min(truncation_length, context_length)
        self.batch_size = batch_size
        self.fork_count = forks
        self.window = window
        self.seed = seed
        usable = np.maximum(train_ends - 2, 0)
        self.weights = usable / usable.sum()
        chosen = random_generator(seed).permutation(np.unique(validation.series))
        kept = np.isin(validation.series, chosen[:_VALIDATION_SERIES])
        every = -(-int(kept.sum()) // _VALIDATION_FORECASTS)
        self.validation = validation[np.flatnonzero(kept)[::every]]

    def batch(self, step: int) -> tuple[WindowBatch, bool]:
        """Pieces of random stretches; see `noria.training.loop.Objective`."""
        pieces = -(-self.context_length // self.piece)
        number, piece = divmod(step, pieces)
        random = random_generator(self.seed, 1, number)
        series = random.choice(len(self.weights), self.batch_size, p=self.weights)
        ends = self.train_ends[series]
        shortest = np.minimum(ends, self.context_length)
        last = random.integers(shortest, ends + 1)
        starts = last - shortest + piece * self.piece
        lengths = np.clip(last - starts, 0, self.piece)
        # the first quarter of a stretch only fills the state (a piece that lies in it altogether
        # forecasts from its last step); a forecast needs a step after it
        warm = shortest // 4 - piece * self.piece
        low = np.clip(warm, 0, np.maximum(lengths - 1, 0))
        high = np.maximum(np.minimum(lengths, ends - 1 - starts), low + 1)
        shape = (self.batch_size, self.fork_count)
        draws = random_generator(self.seed, 2, step).random(shape)
        steps = (low[:, None] + draws * (high - low)[:, None]).astype(np.int64)
        rows = np.repeat(np.arange(self.batch_size), self.fork_count)
        t = (starts[:, None] + steps).reshape(-1)
        alive = (lengths[rows] > 0) & (t < ends[rows] - 1)
        rows, t, steps = rows[alive], t[alive], steps.reshape(-1)[alive]
        origins = Origins(series[rows], t, ends[rows])
        if self.window:
            return _batch(self.panel, *_fixed(self.panel, origins, self.window), origins), False
        x = self.panel.inputs(series, starts, self.piece)
        return _batch(self.panel, x, lengths, rows, steps, origins), piece > 0

    def loss(
        self, batch: WindowBatch, state: NetworkState | None
    ) -> tuple[Tensor, NetworkState | None]:
        """Loss of the batch; see `noria.training.loop.Objective`."""
        numbers, state = batch.run(self.module, state)
        distribution = self.module.head.distribution
        loss = distribution_loss(distribution, batch.target, numbers, batch.level, batch.scale)
        return loss, state

    def validate(self) -> float:
        """Pinball loss on the validation part."""
        quantiles = forecast_quantiles(self.module, self.panel, self.validation, self.window)
        forks = self.panel.forks(self.validation.series, self.validation.t, self.validation.ends)
        target = torch.from_numpy(forks.target)
        probabilities = torch.tensor(self.module.head.distribution.probabilities)
        return float(pinball_loss(target, torch.from_numpy(quantiles), probabilities))


def _batch(
    panel: Panel,
    x: NDArray[np.float32],
    lengths: Indices,
    rows: Indices,
    steps: Indices,
    origins: Origins,
) -> WindowBatch:
    forks = panel.forks(origins.series, origins.t, origins.ends)
    arrays = (x, lengths, rows, steps, *(getattr(forks, f.name) for f in dataclasses.fields(forks)))
    return WindowBatch(*(torch.from_numpy(array) for array in arrays))


def _fixed(
    panel: Panel, origins: Origins, window: Window
) -> tuple[NDArray[np.float32], Indices, Indices, Indices]:
    """Each forecast's own window as a sequence of its own: x, lengths, rows, steps."""
    x = panel.recent(origins.series, origins.t, window)
    count, segments = x.shape[:2]
    return x, np.full(count, segments), np.arange(count), np.full(count, segments - 1)


@torch.no_grad()
def forecast_quantiles(
    module: ForecastModule, panel: Panel, origins: Origins, window: Window | None
) -> NDArray[np.float32]:
    """Forecast from given steps, each series scanned from its beginning or each window afresh.

    Args:
        module: The forecaster, in evaluation mode.
        panel: The series.
        origins: Where to forecast, R.
        window: See `WindowObjective`.

    Returns:
        Quantiles in units of the scale relative to the level, ascending, shape (R, K, Q).
    """
    parts: list[tuple[Indices, NDArray[np.float32]]] = []
    for chosen in _groups(panel, origins, window):
        part = origins[chosen]
        if window:
            batch = _batch(panel, *_fixed(panel, part, window), part)
        else:
            series, rows = np.unique(part.series, return_inverse=True)
            lengths = np.zeros(len(series), dtype=np.int64)
            np.maximum.at(lengths, rows, part.t + 1)
            x = panel.inputs(series, np.zeros(len(series), np.int64), int(lengths.max()))
            batch = _batch(panel, x, lengths, rows, part.t, part)
        numbers = batch.run(module, None)[0].numpy()
        level, scale = panel.level_and_scale(part.series, part.t)
        parts.append((chosen, module.head.distribution.quantiles(numbers, level, scale)))
    shape = parts[0][1].shape
    result = np.empty((len(origins), *shape[1:]), dtype=np.float32)
    for chosen, values in parts:
        result[chosen] = values
    return result


def _groups(panel: Panel, origins: Origins, window: Window | None) -> list[Indices]:
    """Forecasts that are run together: a bounded amount, of series of like length at a scan."""
    head = panel.horizon * 64
    if window:
        each = head + window.length // window.segment * (window.segment + panel.input_size)
        return np.array_split(np.arange(len(origins)), -(-len(origins) * each // _SCAN_VALUES))
    steps = np.zeros(len(panel.lengths), dtype=np.int64)
    np.maximum.at(steps, origins.series, origins.t + 1)
    cost = steps * panel.input_size
    np.add.at(cost, origins.series, head)
    order = np.argsort(steps, kind="stable")
    group_of = np.zeros(len(steps), dtype=np.int64)
    group_of[order] = np.cumsum(cost[order]) // _SCAN_VALUES
    groups = group_of[origins.series]
    return [np.flatnonzero(groups == group) for group in np.unique(groups)]
