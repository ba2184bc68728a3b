"""Training a network that expects the next event, and keeping what it takes to use it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noria.cells import RNN, Cell
from noria.errors import DataError
from noria.feedback import Feedback
from noria.network import Network, NetworkState
from noria.runtime import NetworkStepper
from noria.runtime.expectation import LEAST_SPREAD, WARM_UP, Channels, Grid, expectations
from noria.runtime.judge import Expectations
from noria.training.loop import History, TrainingConfig, random_generator, train
from noria.training.progress import watching
from noria.wiring import Wiring

__all__ = [
    "DetectRecipe",
    "TrainedDetector",
    "feed_forward_wiring",
    "network_wiring",
    "train_detector",
]

_DEGREES = 4.0
"""Of freedom of Student's t: errors are heavier in the tails than a normal law."""

_LARGEST_RIVAL = 4096


@dataclasses.dataclass(frozen=True)
class DetectRecipe:
    """How a network is trained to expect.

    Attributes:
        context_length: Steps of a training stretch.
        batch_size: Stretches in a batch.
        dropout: From the last recurrent layer to the output.
        recurrent_dropout: On the recurrence.
        training: For the loop.
    """

    context_length: int
    batch_size: int
    dropout: float
    recurrent_dropout: float
    training: TrainingConfig


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedDetector:
    """A trained network.

    Attributes:
        wiring: Its wiring, the output layer included: centre and spread of each channel.
        parameters: Weights under the names of the wiring.
        window: Earlier values that a feed-forward network sees; 0 for one that remembers.
        history: The course of the training.
    """

    wiring: Wiring
    parameters: Mapping[str, NDArray[Any]]
    window: int
    history: History

    @property
    def parameter_count(self) -> int:
        """Number of weights."""
        return self.wiring.parameter_count()

    def expect(self, grid: Grid, channels: Channels) -> Expectations:
        """The events with what the network expected of each one step before it."""
        stepper = NetworkStepper(self.wiring, self.parameters)
        x = _inputs(grid, channels, self.window)[None]
        y, _ = stepper.scan(x, stepper.zero_state(1))
        return expectations(grid, *channels.expected(y[0], grid.filled))

    def document(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        return {
            "wiring": self.wiring.to_dict(),
            "window": self.window,
            "history": dataclasses.asdict(self.history),
        }

    def weights(self) -> dict[str, NDArray[Any]]:
        """Weights by name."""
        return dict(self.parameters)

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]
    ) -> TrainedDetector:
        """Read what `document` and `weights` gave.

        Raises:
            ModelFileError: if they do not fit together.
        """
        wiring = Wiring.from_dict(document["wiring"])
        NetworkStepper(wiring, weights)
        return cls(wiring, weights, document["window"], History(**document["history"]))


def network_wiring(channels: Channels, cells: Sequence[Cell], feedback: Feedback) -> Wiring:
    """The wiring of a network that expects the next event."""
    return Wiring.build(channels.input_size, cells, feedback, 2 * len(channels.names))


def feed_forward_wiring(
    channels: Channels, num_layers: int, window: int, parameters: int
) -> Wiring:
    """The wiring of a feed-forward network with as near as possible so many weights.

    Its layers are plain ReLU neurons: gates without a memory to guard would only spend its share
    of the weights.

    Args:
        channels: For the sizes.
        num_layers: Layers.
        window: Earlier values that it sees of each channel.
        parameters: Weights of the recurrent network.
    """

    def build(hidden_size: int) -> Wiring:
        cells = [RNN(hidden_size, "relu")] * num_layers
        size = channels.input_size + window * len(channels.names)
        return Wiring.build(size, cells, "none", 2 * len(channels.names))

    def excess(hidden_size: int) -> int:
        return abs(build(hidden_size).parameter_count() - parameters)

    size = 1
    while size < _LARGEST_RIVAL and excess(size + 1) < excess(size):
        size += 1
    return build(size)


def _inputs(grid: Grid, channels: Channels, window: int) -> NDArray[np.float32]:
    """What a network sees, shape (S, I + window · C), the values before this one at the end."""
    values = grid.filled.astype(np.float32)
    earlier = np.concatenate([np.zeros((window, values.shape[1]), np.float32), values])
    columns = [earlier[window - back :][: len(values)] for back in range(1, window + 1)]
    return np.concatenate([channels.inputs(grid), *columns], axis=1)


class _Objective:
    """Student's t of the next values, given all before."""

    def __init__(
        self,
        network: Network,
        channels: Channels,
        grid: Grid,
        train_end: int,
        recipe: DetectRecipe,
        window: int,
    ) -> None:
        self._network = network
        self._channels = channels
        self._grid = grid
        self._train_end = train_end
        self._recipe = recipe
        self._window = window
        self._length = min(recipe.context_length, train_end - 1)
        self._target = torch.tensor(channels.targets(grid), dtype=torch.float32)
        learned, validated = self._target.tensor_split([train_end - 1])
        for what, target in (("learn from", learned), ("validate by", validated)):
            if not target.isfinite().any():
                raise DataError(
                    f"no channel has a value in the {len(target)} steps to {what}: fill the gap,"
                    " give more data or another validation_share"
                )
        self._whole = torch.from_numpy(_inputs(grid, channels, window)[None, :-1])

    def batch(self, step: int) -> tuple[tuple[Tensor, Tensor], bool]:
        """Stretches of the training part."""
        random = random_generator(self._recipe.training.seed, step)
        starts = random.integers(0, self._train_end - self._length, self._recipe.batch_size)
        steps = torch.from_numpy(starts[:, None] + np.arange(self._length))
        return (self._whole[0, steps], self._target[steps]), False

    def loss(
        self, batch: tuple[Tensor, Tensor], state: NetworkState | None
    ) -> tuple[Tensor, NetworkState | None]:
        x, target = batch
        y, state = self._network(x)
        # the first steps of a stretch have no past yet; a short stretch keeps its second half
        cold = min(WARM_UP // 2, self._length // 2)
        return _student_loss(y[:, cold:], target[:, cold:]), state

    def validate(self) -> float:
        y, _ = self._network(self._whole)
        first = self._train_end - 1
        return float(_student_loss(y[0, first:], self._target[first:]))


def _student_loss(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean negative log-likelihood up to a constant; missing targets (NaN) do not count."""
    middle, spread = outputs.chunk(2, dim=-1)
    spread = LEAST_SPREAD + torch.nn.functional.softplus(spread)
    observed = torch.isfinite(target)
    error = (torch.where(observed, target, 0.0) - middle) / spread
    loss = (_DEGREES + 1) / 2 * torch.log1p(error**2 / _DEGREES) + spread.log()
    return (loss * observed).sum() / observed.sum().clamp(min=1)


def train_detector(
    wiring: Wiring,
    channels: Channels,
    grid: Grid,
    train_end: int,
    recipe: DetectRecipe,
    *,
    title: str,
    window: int = 0,
    trained_on: str = "",
    checkpoint: Path | None = None,
    resume: bool = False,
    log_dir: Path | None = None,
    progress: bool = False,
) -> TrainedDetector:
    """Train a network to expect the next event.

    Args:
        wiring: Of the network; see `network_wiring`.
        channels: Scale and calendar.
        grid: What to learn from, the validation part at its end.
        train_end: First step of the validation part.
        recipe: How to train.
        title: For the progress bar; part of the checkpoint's identity.
        window: Earlier values that a feed-forward network sees; 0 for one that remembers.
        trained_on: Hash of the data; part of the checkpoint's identity.
        checkpoint: Where to keep the state of the training; None for none.
        resume: Go on from the checkpoint, if there is one.
        log_dir: Folder for TensorBoard's event files.
        progress: Draw a bar on standard error where that is a terminal.
    """
    torch.manual_seed(recipe.training.seed)
    network = Network.from_wiring(
        wiring, dropout=recipe.dropout, recurrent_dropout=recipe.recurrent_dropout
    )
    objective = _Objective(network, channels, grid, train_end, recipe, window)
    identity = json.dumps([title, trained_on, wiring.to_dict(), window, dataclasses.asdict(recipe)])
    with watching(title, log_dir=log_dir, bar=progress) as on_update:
        history = train(
            network,
            objective,
            recipe.training,
            fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
            checkpoint=checkpoint,
            resume=resume,
            on_update=on_update,
        )
    parameters = {name: p.detach().numpy() for name, p in network.named_parameters()}
    return TrainedDetector(wiring, parameters, window, history)
