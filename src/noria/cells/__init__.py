"""Cells: one file each, the oracle of its recurrence."""

from dataclasses import replace

from noria.cells.base import Cell, State
from noria.cells.coupled import CoupledLSTM
from noria.cells.equation import EquationCell, cell_from_equations
from noria.cells.gru import GRU
from noria.cells.leaky import LeakyRNN
from noria.cells.linear import Linear
from noria.cells.lstm import LSTM
from noria.cells.mgu import MGU
from noria.cells.peephole import PeepholeLSTM
from noria.cells.rnn import RNN
from noria.cells.slstm import SLSTM
from noria.equations import Equations
from noria.errors import WiringError

__all__ = [
    "GRU",
    "LSTM",
    "MGU",
    "RNN",
    "SLSTM",
    "Cell",
    "CoupledLSTM",
    "EquationCell",
    "LeakyRNN",
    "Linear",
    "PeepholeLSTM",
    "State",
    "cell_from_equations",
    "make_cell",
]

_CELLS: dict[str, Cell] = {
    cell.name: cell
    for cell in (
        LSTM(1),
        GRU(1),
        RNN(1),
        RNN(1, "relu"),
        Linear(1),
        PeepholeLSTM(1),
        CoupledLSTM(1),
        MGU(1),
        LeakyRNN(1),
        SLSTM(1),
    )
}


def make_cell(
    name: str, hidden_size: int, meaning: Equations | None = None, *, layer_norm: bool = False
) -> Cell:
    """The cell that a wiring names.

    Args:
        name: "lstm", "gru", "rnn_tanh", "rnn_relu", "linear", "peepholelstm", "coupledlstm",
            "mgu", "leakyrnn" or "slstm"; any other where the wiring has its equations.
        hidden_size: H.
        meaning: The equations in the wiring, if there are some.
        layer_norm: Whether its pre-activations are normalised.

    Raises:
        WiringError: if no cell has that name.

    >>> make_cell("rnn_relu", 3)
    RNN(hidden_size=3, layer_norm=False, nonlinearity='relu')
    """
    if meaning is not None:
        known = _CELLS.get(name)
        if isinstance(known, EquationCell) and known.meaning == meaning:
            return replace(known, hidden_size=hidden_size, layer_norm=layer_norm)
        return cell_from_equations(meaning)(hidden_size, layer_norm=layer_norm)
    if name not in _CELLS:
        raise WiringError(f"cell {name!r} is unknown, expected one of {', '.join(_CELLS)}")
    return replace(_CELLS[name], hidden_size=hidden_size, layer_norm=layer_norm)
