"""The leaky integrator."""

from __future__ import annotations

from noria.cells.equation import EquationCell

__all__ = ["LeakyRNN"]


class LeakyRNN(EquationCell):
    """Plain cell whose neurons each learn how fast they change, σ(p): from fast units to contexts.

    Attributes:
        hidden_size: H, number of neurons.

    Source: Mozer 1992; Jaeger et al. 2007; the slow units of Mikolov et al. 2015 are its linear,
    fixed case.
    """

    gates = ("a",)
    parameters = ("p",)
    equations = """
        rate = sigmoid(p)
        h' = (1 - rate)*h + rate*tanh(a)
    """
