"""The output layer's cell."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from noria.cells.base import Cell, State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Linear"]


@dataclasses.dataclass(frozen=True)
class Linear(Cell):
    """The linear read-out, h' = x + r; a network's output layer is made of it.

    Attributes:
        hidden_size: Number of outputs.
    """

    gates: ClassVar[tuple[str, ...]] = ("a",)

    def step(self, x: Tensor, r: Tensor, state: State) -> State:
        return (x + r,)
