"""The contract of a cell: names, sizes, and one readable step on tensors.

A cell receives two pre-activations, because the GRU treats them apart: `x`, what comes from the
layer below (W · x + b_ih), and `r`, what comes back from the step before (Σ R · h + b_hh). Both
have one block of H columns a gate. The step here is the oracle; the native kernel is tested
against it, and nothing else knows the cell's equations.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from noria.equations import Equations

__all__ = ["Cell", "State"]

State = tuple["Tensor", ...]
"""A layer's states in the order of `Cell.states`, each (B, H)."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a given size; a layer of a network is one of these.

    Attributes:
        hidden_size: H, number of neurons.
        layer_norm: Normalise every pre-activation that the cell reads over the layer's neurons.
    """

    hidden_size: int
    layer_norm: bool = dataclasses.field(default=False, kw_only=True)

    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]] = ("h",)
    parameters: ClassVar[tuple[str, ...]] = ()
    equations: ClassVar[str] = ""
    meaning: ClassVar[Equations | None] = None

    @property
    def name(self) -> str:
        """Its name in a wiring, a model file and the native core."""
        return type(self).__name__.lower()

    @property
    def slots(self) -> tuple[str, ...]:
        """The pre-activations that it reads, in the native core's order.

        Its gates; of a gate n whose parts it treats apart, `x_n` and `r_n`.
        """
        return self.gates

    @property
    def normalised(self) -> tuple[str, ...]:
        """Those of its slots that are normalised: all with `layer_norm`, else none."""
        return self.slots if self.layer_norm else ()

    def step(self, x: Tensor, r: Tensor, state: State) -> State:
        """Advance by one time step.

        Args:
            x: Pre-activation from below, W · x(t) + b_ih, shape (B, G·H).
            r: Pre-activation from the step before, Σ R · h(t−1) + b_hh, shape (B, G·H).
            state: The cell's own previous states, each (B, H).

        Returns:
            The new states, each (B, H); the first is the output h.
        """
        raise NotImplementedError
