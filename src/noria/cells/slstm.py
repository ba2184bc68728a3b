"""The scalar LSTM of the xLSTM."""

from __future__ import annotations

from noria.cells.equation import EquationCell

__all__ = ["SLSTM"]


class SLSTM(EquationCell):
    """Long short-term memory with an exponential input gate, a normaliser n and a stabiliser m.

    c and n are both held times exp(−m), so that neither overflows; their quotient does not change.
    log σ(f) is −softplus(−f). At the first step, where n is zero, m is the input gate's.

    Attributes:
        hidden_size: H, number of neurons.

    Source: Beck et al. 2024.
    """

    gates = ("i", "f", "z", "o")
    states = ("h", "c", "n", "m")
    equations = """
        keep = m - softplus(-f)
        m' = where(n > 0, max(keep, i), i)
        old = exp(keep - m')
        new = exp(i - m')
        c' = old*c + new*tanh(z)
        n' = old*n + new
        h' = sigmoid(o)*c'/n'
    """
