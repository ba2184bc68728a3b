"""The plain recurrent cell."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from noria.cells.base import Cell, State
from noria.errors import WiringError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RNN"]


@dataclasses.dataclass(frozen=True)
class RNN(Cell):
    """Plain recurrent cell.

        h' = tanh(x + r)    or    h' = relu(x + r)

    Attributes:
        hidden_size: H, number of neurons.
        layer_norm: Normalise its pre-activations over the layer's neurons, and learn their gains.
        nonlinearity: "tanh" or "relu".

    Raises:
        WiringError: if the nonlinearity is another.

    Source: Elman 1990.
    """

    nonlinearity: Literal["tanh", "relu"] = "tanh"

    gates: ClassVar[tuple[str, ...]] = ("a",)

    def __post_init__(self) -> None:
        if self.nonlinearity not in ("tanh", "relu"):
            raise WiringError(f"nonlinearity is {self.nonlinearity!r}, expected 'tanh' or 'relu'")

    @property
    def name(self) -> str:
        return f"rnn_{self.nonlinearity}"

    def step(self, x: Tensor, r: Tensor, state: State) -> State:
        a = x + r
        return (a.tanh() if self.nonlinearity == "tanh" else a.relu(),)
