"""The gated recurrent unit."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from noria.cells.base import Cell, State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GRU"]


@dataclasses.dataclass(frozen=True)
class GRU(Cell):
    """Gated recurrent unit, the reset gate after the product, as cuDNN and PyTorch have it.

        r = σ(x_r + r_r)    z = σ(x_z + r_z)    n = tanh(x_n + r·r_n)
        h' = (1 − z)·n + z·h

    Attributes:
        hidden_size: H, number of neurons.
        layer_norm: Normalise its pre-activations over the layer's neurons, and learn their gains.

    Source: Cho et al. 2014.
    """

    gates: ClassVar[tuple[str, ...]] = ("r", "z", "n")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("x_n", "r", "z", "r_n")

    def step(self, x: Tensor, r: Tensor, state: State) -> State:
        (h,) = state
        x_reset, x_update, x_new = x.chunk(3, dim=-1)
        r_reset, r_update, r_new = r.chunk(3, dim=-1)
        reset = (x_reset + r_reset).sigmoid()
        update = (x_update + r_update).sigmoid()
        new = (x_new + reset * r_new).tanh()
        return ((1 - update) * new + update * h,)
