"""A cell's equations as text, and what they mean.

The equations are written for one neuron, one a line, in any order that defines a name before it is
used:

    c' = sigmoid(f)*c + sigmoid(i)*tanh(g)
    h' = sigmoid(o)*tanh(c')

A gate's name stands for its pre-activation, x + r; `x_n` and `r_n` are the parts of gate n that
come from below and from the step before. A state's name is its value before the step, with a prime
that after it. Parameters have one value a neuron. Whatever else stands left of a = is a name for
later lines.

The text is data: it stands in model files, and reading it runs nothing. It is parsed by Python's
own grammar, of which only arithmetic and the functions below are let through, into a list of
operations without branches or loops (`Program`), which the oracle and the native core read.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import itertools
import keyword
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from noria.errors import WiringError

__all__ = [
    "FUNCTIONS",
    "MOST_GATES",
    "MOST_STATES",
    "Equations",
    "Operation",
    "Program",
    "evaluate",
]

MOST_GATES = 8
MOST_STATES = 6
_MOST_PARAMETERS = 16
_MOST_CHARACTERS = 10_000
_MOST_OPERATIONS = 1_000
_HIGHEST_POWER = 8
_BUILT_IN = ("lstm", "gru", "rnn_tanh", "rnn_relu", "linear")

FUNCTIONS = {
    "tanh": 1,
    "sigmoid": 1,
    "exp": 1,
    "log": 1,
    "sqrt": 1,
    "abs": 1,
    "relu": 1,
    "softplus": 1,
    "max": 2,
    "min": 2,
    "where": 3,
}
"""What an equation may call, and with how many arguments; where(a < b, x, y) chooses."""

_ARITHMETIC = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
_COMPARISONS = {
    ast.Lt: ("less", False),
    ast.LtE: ("less_equal", False),
    ast.Gt: ("less", True),
    ast.GtE: ("less_equal", True),
}
_ALLOWED = "+ - * /, ** with a small whole number, numbers, " + ", ".join(FUNCTIONS)
_PRIME = "__after"

Operation = tuple[Any, ...]
"""("input", name), ("number", value), or a function's or operator's name and the places of what it
is of in the list of operations."""


@dataclasses.dataclass(frozen=True)
class Program:
    """Equations as a list of operations, each of earlier ones.

    Attributes:
        operations: Each different one once.
        named: Places of what the equations give names to, primes included, in their order.
        after: Places of the new states, in the order of the states.
        separate: The gates whose parts x and r are used apart.
    """

    operations: tuple[Operation, ...]
    named: dict[str, int]
    after: tuple[int, ...]
    separate: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Equations:
    """A cell given by its equations.

    Attributes:
        name: The cell's name in a wiring.
        gates: Names of the gates, in the order of their weights' rows.
        states: Names of the states; the first is h.
        parameters: Names of the values that every neuron has for itself.
        text: The equations.

    Raises:
        WiringError: from `program`, if they cannot be meant; says in which line.

    >>> leaky = Equations("leaky", ("a",), ("h",), (), "h' = 0.9*h + 0.1*tanh(a)")
    >>> leaky.program.operations[:3]
    (('number', 0.9), ('input', 'h'), ('multiply', 0, 1))
    """

    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    text: str

    @functools.cached_property
    def program(self) -> Program:
        """What the text means."""
        return _Reader(self).read()

    @functools.cached_property
    def slots(self) -> tuple[str, ...]:
        """The pre-activations that the cell reads, in the native core's order.

        First those from below, of gates whose parts are used apart (`x_n`); then the sums (`f`);
        then those from the step before (`r_n`).
        """
        separate = self.program.separate
        return (
            *(f"x_{gate}" for gate in separate),
            *(gate for gate in self.gates if gate not in separate),
            *(f"r_{gate}" for gate in separate),
        )

    @property
    def slot_gates(self) -> tuple[int, ...]:
        """For every slot the index of its gate."""
        separate = self.program.separate
        apart = [self.gates.index(gate) for gate in separate]
        joint = [index for index, gate in enumerate(self.gates) if gate not in separate]
        return (*apart, *joint, *apart)


class _Reader:
    """Turns a text into a program."""

    def __init__(self, equations: Equations) -> None:
        self.equations = equations
        self.operations: list[Operation] = []
        self.places: dict[Operation, int] = {}
        self.named: dict[str, int] = {}
        self.used: set[str] = set()
        self.lines: dict[str, int] = {}

    def read(self) -> Program:
        self._check_names()
        text = textwrap.dedent(self.equations.text).strip("\n")
        if len(text) > _MOST_CHARACTERS:
            raise self._error(None, f"the equations are longer than {_MOST_CHARACTERS} characters")
        source = re.sub(r"\b([^\W\d]\w*)'", rf"\1{_PRIME}", text)
        try:
            lines = ast.parse(source).body
            self._find_separate(lines)
            for line in lines:
                self._assign(line)
        except SyntaxError as error:
            raise self._error(error.lineno, f"this is no equation: {error.msg}") from error
        except (RecursionError, MemoryError, ValueError) as error:
            if isinstance(error, WiringError):
                raise
            raise self._error(None, "the equations are nested too deeply") from error
        return self._finish()

    def _check_names(self) -> None:
        equations = self.equations
        if equations.name in _BUILT_IN:
            raise self._error(None, "a built-in cell has this name: rename the class")
        groups = {
            "gates": (equations.gates, MOST_GATES),
            "states": (equations.states, MOST_STATES),
            "parameters": (equations.parameters, _MOST_PARAMETERS),
        }
        for what, (names, most) in groups.items():
            least = 0 if what == "parameters" else 1
            if not least <= len(names) <= most:
                raise self._error(None, f"it has {len(names)} {what}, expected {least} to {most}")
        if equations.states[0] != "h":
            raise self._error(None, f"its first state is {equations.states[0]!r}, expected 'h'")
        taken: dict[str, str] = dict.fromkeys(FUNCTIONS, "a function")
        for what, (names, _) in groups.items():
            for name in names:
                if not _is_name(name):
                    raise self._error(None, f"{name!r} among its {what} is no name")
                self._take(taken, name, f"one of its {what}")
        for gate, part in itertools.product(equations.gates, "xr"):
            self._take(taken, f"{part}_{gate}", f"a part of gate {gate}")
        self.taken = taken

    def _take(self, taken: dict[str, str], name: str, what: str) -> None:
        if name in taken:
            raise self._error(None, f"the name {name!r} is {taken[name]} and {what}: rename one")
        taken[name] = what

    def _find_separate(self, lines: list[ast.stmt]) -> None:
        names = {node.id for line in lines for node in ast.walk(line) if isinstance(node, ast.Name)}
        gates = self.equations.gates
        self.separate = tuple(gate for gate in gates if {f"x_{gate}", f"r_{gate}"} & names)

    def _assign(self, line: ast.stmt) -> None:
        match line:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case _:
                raise self._error(line.lineno, "each line is one equation, such as h' = tanh(a)")
        shown = _shown(name)
        if name.endswith(_PRIME):
            if shown[:-1] not in self.equations.states:
                raise self._error(line.lineno, f"{shown[:-1]} is no state, so {shown} is nothing")
        elif name in self.taken:
            hint = " (its new value has a prime)" if name in self.equations.states else ""
            raise self._error(line.lineno, f"the name {shown!r} is {self.taken[name]}{hint}")
        elif not _is_name(name):
            raise self._error(line.lineno, f"{shown!r} is no name: it may not hold two underscores")
        if shown in self.named:
            raise self._error(line.lineno, f"{shown} has an equation already")
        place = self._value(value)
        if self.operations[place][0].startswith("less"):
            raise self._error(line.lineno, "a comparison stands in where(a < b, x, y) only")
        self.named[shown] = place
        self.lines[shown] = line.lineno

    def _value(self, node: ast.expr) -> int:
        """The place of an expression's value."""
        match node:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() | float() as value):
                if not abs(value) < 1e30:
                    raise self._error(node.lineno, f"the number {value} is too large")
                return self._number(float(value))
            case ast.Name(id=name):
                return self._name(name, node.lineno)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._apply("negate", self._value(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._value(operand)
            case ast.BinOp(left=left, op=ast.Pow(), right=power):
                return self._power(left, power)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                name = _ARITHMETIC[type(op)]
                return self._apply(name, self._value(left), self._value(right))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments, node.lineno)
            case ast.Compare():
                raise self._error(node.lineno, "a comparison stands in where(a < b, x, y) only")
        found = _restored(ast.unparse(node))
        raise self._error(
            node.lineno, f"{found!r} is not element-wise arithmetic; there are {_ALLOWED}"
        )

    def _call(self, name: str, arguments: list[ast.expr], line: int) -> int:
        if name not in FUNCTIONS:
            raise self._error(line, f"there is no function {name!r}; there are {_ALLOWED}")
        if len(arguments) != FUNCTIONS[name]:
            raise self._error(
                line, f"{name} takes {FUNCTIONS[name]} arguments, not {len(arguments)}"
            )
        if name != "where":
            return self._apply(name, *map(self._value, arguments))
        match arguments[0]:
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
                comparison, turned = _COMPARISONS[type(op)]
                sides = [self._value(left), self._value(right)]
                chosen = self._apply(comparison, *(sides[::-1] if turned else sides))
            case _:
                raise self._error(
                    line, "where begins with one comparison by <, <=, > or >=: where(a < b, x, y)"
                )
        return self._apply("where", chosen, *map(self._value, arguments[1:]))

    def _power(self, base: ast.expr, power: ast.expr) -> int:
        sign = 1
        if isinstance(power, ast.UnaryOp) and isinstance(power.op, ast.USub):
            sign, power = -1, power.operand
        match power:
            case ast.Constant(value=int() as exponent) if 1 <= exponent <= _HIGHEST_POWER:
                pass
            case _:
                raise self._error(
                    base.lineno,
                    f"a power is a whole number from 1 to {_HIGHEST_POWER}, or minus it",
                )
        value = self._value(base)
        result = value
        for _ in range(exponent - 1):
            result = self._apply("multiply", result, value)
        return result if sign > 0 else self._apply("divide", self._number(1.0), result)

    def _name(self, name: str, line: int) -> int:
        shown = _shown(name)
        if shown in self.named:
            self.used.add(shown)
            return self.named[shown]
        if name in self.separate:
            self.used.add(name)
            return self._apply("add", self._input(f"x_{name}"), self._input(f"r_{name}"))
        if self.taken.get(name, "a function") != "a function":
            return self._input(name)
        if name.endswith(_PRIME) and shown[:-1] in self.equations.states:
            raise self._error(line, f"{shown} is used before its equation")
        known = [name for name, what in self.taken.items() if what != "a function"]
        raise self._error(line, f"the name {shown!r} is unknown; there are {', '.join(known)}")

    def _number(self, value: float) -> int:
        return self._add(("number", value))

    def _input(self, name: str) -> int:
        self.used.add(name)
        return self._add(("input", name))

    def _apply(self, function: str, *arguments: int) -> int:
        return self._add((function, *arguments))

    def _add(self, operation: Operation) -> int:
        if operation not in self.places:
            if len(self.operations) == _MOST_OPERATIONS:
                raise self._error(None, f"it takes more than {_MOST_OPERATIONS} operations")
            self.places[operation] = len(self.operations)
            self.operations.append(operation)
        return self.places[operation]

    def _finish(self) -> Program:
        equations = self.equations
        missing = [name for name in equations.states if f"{name}'" not in self.named]
        if missing:
            raise self._error(
                None, f"the state {missing[0]} has no equation: write {missing[0]}' ="
            )
        for gate in equations.gates:
            if not self.used & {gate, f"x_{gate}", f"r_{gate}"}:
                raise self._error(None, f"the gate {gate} is not used: drop it or use it")
        for name in equations.parameters:
            if name not in self.used:
                raise self._error(None, f"the parameter {name} is not used: drop it or use it")
        for name, line in self.lines.items():
            if name not in self.used and not name.endswith("'"):
                raise self._error(line, f"{name} is not used: drop it or use it")
        return Program(
            tuple(self.operations),
            self.named,
            tuple(self.named[f"{name}'"] for name in equations.states),
            self.separate,
        )

    def _error(self, line: int | None, message: str) -> WiringError:
        where = "" if line is None else f", line {line}"
        return WiringError(f"cell {self.equations.name}{where}: {_restored(message)}")


def _is_name(name: Any) -> bool:
    if not isinstance(name, str):
        return False
    return name.isidentifier() and "__" not in name and not keyword.iskeyword(name)


def _shown(name: str) -> str:
    """A name as it was written."""
    return f"{name.removesuffix(_PRIME)}'" if name.endswith(_PRIME) else name


def _restored(text: str) -> str:
    return text.replace(_PRIME, "'")


def evaluate(
    operations: Sequence[Operation],
    inputs: Callable[[Any], Any],
    number: Callable[[float], Any],
    apply: Callable[..., Any],
) -> list[Any]:
    """The value of every operation, on whatever stands for numbers.

    Args:
        operations: What to compute.
        inputs: The value of an input by its name.
        number: The value of a constant.
        apply: The value of a function or operator, given by its name, of values.
    """
    values: list[Any] = []
    for name, *arguments in operations:
        if name == "input":
            values.append(inputs(arguments[0]))
        elif name == "number":
            values.append(number(arguments[0]))
        else:
            values.append(apply(name, *(values[place] for place in arguments)))
    return values
