"""Cells: one file each, the oracle of its recurrence."""

from dataclasses import replace

from noria.cells.base import Cell, State
from noria.cells.gru import GRU
from noria.cells.linear import Linear
from noria.cells.lstm import LSTM
from noria.cells.rnn import RNN
from noria.errors import WiringError

__all__ = ["GRU", "LSTM", "RNN", "Cell", "Linear", "State", "make_cell"]

_CELLS: dict[str, Cell] = {
    cell.name: cell for cell in (LSTM(1), GRU(1), RNN(1), RNN(1, "relu"), Linear(1))
}


def make_cell(name: str, hidden_size: int) -> Cell:
    """The cell that a wiring names.

    Args:
        name: "lstm", "gru", "rnn_tanh", "rnn_relu" or "linear".
        hidden_size: H.

    Raises:
        WiringError: if no cell has that name.

    >>> make_cell("rnn_relu", 3)
    RNN(hidden_size=3, nonlinearity='relu')
    """
    if name not in _CELLS:
        raise WiringError(f"cell {name!r} is unknown, expected one of {', '.join(_CELLS)}")
    return replace(_CELLS[name], hidden_size=hidden_size)
