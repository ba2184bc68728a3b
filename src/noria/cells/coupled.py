"""The long short-term memory with coupled gates."""

from __future__ import annotations

from noria.cells.equation import EquationCell

__all__ = ["CoupledLSTM"]


class CoupledLSTM(EquationCell):
    """Long short-term memory that takes in what it forgets: three gates in place of four.

    Attributes:
        hidden_size: H, number of neurons.

    Source: Greff et al. 2017 (CIFG).
    """

    gates = ("f", "g", "o")
    states = ("h", "c")
    equations = """
        keep = sigmoid(f)
        c' = keep*c + (1 - keep)*tanh(g)
        h' = sigmoid(o)*tanh(c')
    """
