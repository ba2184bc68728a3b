"""The long short-term memory."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from noria.cells.base import Cell, State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LSTM"]


@dataclasses.dataclass(frozen=True)
class LSTM(Cell):
    """Long short-term memory with forget gate.

        i, f, g, o = x + r
        c' = σ(f)·c + σ(i)·tanh(g)
        h' = σ(o)·tanh(c')

    Attributes:
        hidden_size: H, number of neurons.
        layer_norm: Normalise its pre-activations over the layer's neurons, and learn their gains.

    Source: Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000.
    """

    gates: ClassVar[tuple[str, ...]] = ("i", "f", "g", "o")
    states: ClassVar[tuple[str, ...]] = ("h", "c")

    def step(self, x: Tensor, r: Tensor, state: State) -> State:
        _, c = state
        i, f, g, o = (x + r).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
