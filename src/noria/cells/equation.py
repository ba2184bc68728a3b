"""Cells that are written as equations."""

from __future__ import annotations

import functools
import textwrap
from typing import TYPE_CHECKING, Any, ClassVar

from noria.cells.base import Cell, State
from noria.equations import Equations, evaluate
from noria.errors import WiringError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EquationCell", "cell_from_equations"]


class EquationCell(Cell):
    """A cell of one's own: subclass it and give the equations of one neuron.

    From them come the oracle, the derivatives and the native code; `noria.equations` tells how they
    are written. Gates, states and parameters are named in the class; the first state is h, the
    output.

    Attributes:
        hidden_size: H, number of neurons.
        layer_norm: Normalise its pre-activations over the layer's neurons, and learn their gains.
        gates: Names of the gates, one block of H rows in W and R each.
        states: Names of the states, all zero before the first step.
        parameters: Names of what every neuron learns for itself, zero at first.
        equations: A line for each new state, and for what they have in common.

    Raises:
        WiringError: where the class is defined, if the equations cannot be meant.

    >>> class Leaky(EquationCell):
    ...     gates = ("a",)
    ...     equations = "h' = 0.9*h + 0.1*tanh(a)"
    >>> Leaky(hidden_size=4)
    Leaky(hidden_size=4, layer_norm=False)
    """

    meaning: ClassVar[Equations]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "equations" not in cls.__dict__ or "gates" not in cls.__dict__:
            raise WiringError(f"cell {cls.__name__}: it needs gates and equations of its own")
        cls.gates, cls.states = tuple(cls.gates), tuple(cls.states)
        cls.parameters = tuple(cls.parameters)
        cls.equations = textwrap.dedent(cls.equations).strip()
        cls.meaning = Equations(
            cls.__name__.lower(), cls.gates, cls.states, cls.parameters, cls.equations
        )
        _ = cls.meaning.program

    @property
    def slots(self) -> tuple[str, ...]:
        return self.meaning.slots

    def step(self, x: Tensor, r: Tensor, state: State, parameters: Tensor | None = None) -> State:
        gates = [part.chunk(len(self.gates), dim=-1) for part in (x, r)]
        values: dict[str, Tensor] = dict(zip(self.states, state, strict=True))
        for name, x_gate, r_gate in zip(self.gates, *gates, strict=True):
            values |= {name: x_gate + r_gate, f"x_{name}": x_gate, f"r_{name}": r_gate}
        if parameters is not None:
            values |= dict(zip(self.parameters, parameters, strict=True))
        program = self.meaning.program
        found = evaluate(program.operations, values.__getitem__, x.new_tensor, _apply)
        return tuple(found[place].expand_as(state[0]) for place in program.after)


@functools.cache
def cell_from_equations(meaning: Equations) -> type[EquationCell]:
    """The class of a cell that a wiring gives by its equations.

    Raises:
        WiringError: if the equations cannot be meant.
    """
    parts: dict[str, Any] = {
        "gates": meaning.gates,
        "states": meaning.states,
        "parameters": meaning.parameters,
        "equations": meaning.text,
    }
    parts |= {"__doc__": meaning.text, "__reduce__": _reduce}
    return type(meaning.name, (EquationCell,), parts)


def _reduce(cell: EquationCell) -> tuple[Any, ...]:
    """To pickle a cell whose class stands in no module: its equations make it again."""
    return _again, (cell.meaning, cell.hidden_size, cell.layer_norm)


def _again(meaning: Equations, hidden_size: int, layer_norm: bool) -> EquationCell:
    return cell_from_equations(meaning)(hidden_size, layer_norm=layer_norm)


def _apply(function: str, *arguments: Tensor) -> Any:
    return _FUNCTIONS[function](*arguments)


def _max(a: Tensor, b: Tensor) -> Tensor:
    return a.where((a > b) | a.isnan(), b)


def _min(a: Tensor, b: Tensor) -> Tensor:
    return a.where((a < b) | a.isnan(), b)


_FUNCTIONS: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negate": lambda a: -a,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "tanh": lambda a: a.tanh(),
    "sigmoid": lambda a: a.sigmoid(),
    "exp": lambda a: a.exp(),
    "log": lambda a: a.log(),
    "sqrt": lambda a: a.sqrt(),
    "abs": lambda a: a.abs(),
    "relu": lambda a: a.relu(),
    "softplus": lambda a: a.logaddexp(a.new_zeros(())),
    "max": _max,
    "min": _min,
    "where": lambda chosen, a, b: a.where(chosen, b),
}
