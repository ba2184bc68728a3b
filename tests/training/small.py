"""A small training: a network that tells the mean of the inputs so far, in pieces of sequences.

As a program it trains until it is done, with a checkpoint, and says every step:

    python -m tests.training.small FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from noria.cells import GRU, LSTM
from noria.network import Network, NetworkState
from noria.training.loop import History, TrainingConfig, Update, random_generator, train

PIECES = 3
CONFIG = TrainingConfig(
    steps=10, learning_rate=0.02, validate_every=2, checkpoint_every=2, seed=3, patience=100
)


class RunningMean:
    """Batches of stretches of a series; the state is carried from piece to piece."""

    def __init__(self, network: Network, *, carries: bool = True) -> None:
        self.network = network
        self.carries = carries
        self.given: list[NetworkState | None] = []
        self.ended: list[NetworkState] = []

    def batch(self, step: int) -> tuple[tuple[Tensor, Tensor], bool]:
        return self._data(step), self.carries and step % PIECES > 0

    def _data(self, step: int) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(random_generator(7, step).standard_normal((4, 5, 2), "float32"))
        return x, x.cumsum(1).mean(-1, keepdim=True)

    def loss(
        self, batch: tuple[Tensor, Tensor], state: NetworkState | None
    ) -> tuple[Tensor, NetworkState]:
        x, target = batch
        y, end = self.network(x, state)
        self.given.append(state)
        self.ended.append(end)
        return functional.mse_loss(y, target), end

    def validate(self) -> float:
        x, target = self._data(10**6)
        return functional.mse_loss(self.network(x)[0], target).item()


def fresh_network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    cells = [LSTM(4), GRU(3)]
    return Network(2, cells, output_size=1, dropout=0.3, recurrent_dropout=0.3)


def weights_of(network: Network) -> dict[str, bytes]:
    return {name: p.detach().numpy().tobytes() for name, p in network.named_parameters()}


def run(folder: Path, config: TrainingConfig) -> History:
    """Train with a checkpoint, going on from it if there is one; keep the weights."""

    def say(update: Update) -> None:
        print(update.step, flush=True)

    network = fresh_network()
    objective = RunningMean(network)
    file = folder / "checkpoint"
    history = train(network, objective, config, checkpoint=file, resume=True, on_update=say)
    save_file(dict(network.named_parameters()), folder / "weights")
    return history


LONG = TrainingConfig(steps=300, validate_every=10, checkpoint_every=1, seed=3, patience=100)

if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), LONG)
