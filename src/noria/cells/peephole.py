"""The long short-term memory with peepholes."""

from __future__ import annotations

from noria.cells.equation import EquationCell

__all__ = ["PeepholeLSTM"]


class PeepholeLSTM(EquationCell):
    """Long short-term memory whose gates see the neuron's own c.

    Attributes:
        hidden_size: H, number of neurons.

    Source: Gers & Schmidhuber 2000.
    """

    gates = ("i", "f", "g", "o")
    states = ("h", "c")
    parameters = ("p_i", "p_f", "p_o")
    equations = """
        c' = sigmoid(f + p_f*c)*c + sigmoid(i + p_i*c)*tanh(g)
        h' = sigmoid(o + p_o*c')*tanh(c')
    """
