"""The minimal gated unit."""

from __future__ import annotations

from noria.cells.equation import EquationCell

__all__ = ["MGU"]


class MGU(EquationCell):
    """Minimal gated unit: one gate z both resets and updates (the paper's f).

    The gate stands after the recurrent product, as the GRU's does here.

    Attributes:
        hidden_size: H, number of neurons.

    Source: Zhou et al. 2016.
    """

    gates = ("z", "n")
    equations = """
        update = sigmoid(z)
        new = tanh(x_n + update*r_n)
        h' = (1 - update)*h + update*new
    """
