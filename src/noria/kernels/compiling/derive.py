"""The derivatives of a cell's equations, by sympy.

Every function, every name and whatever is used more than once or is long gets a symbol; what stands
between them is arithmetic, which sympy derives. The chain rule goes from the new states back to the
gates, the old states and the parameters, and what the formulas have in common is computed once.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import sympy

from noria.equations import Equations, Operation, Program

__all__ = ["Derivatives", "derive"]

_LONGEST = 16
"""Operations that sympy derives at once: its time grows with their square."""


@dataclasses.dataclass(frozen=True)
class Derivatives:
    """How the gradients of a step are computed.

    Attributes:
        kept: Places in the program of what the step keeps for the way back, new states apart.
        operations: As a program's. Inputs are ("kept", index), ("after", state), ("before", state),
            ("parameter", index) and ("gradient", state), the gradient of a new state.
        slots: Places of the gradients of the slots.
        states: Places of the gradients of the old states.
        parameters: Places of the gradients of the parameters.
    """

    kept: tuple[int, ...]
    operations: tuple[Operation, ...]
    slots: tuple[int, ...]
    states: tuple[int, ...]
    parameters: tuple[int, ...]


def _function(name: str, *slopes: Callable[..., Any]) -> Any:
    """A function to sympy: its name, and its slope for each argument, from value and arguments."""

    def fdiff(self: Any, index: int = 1) -> Any:
        return sympy.sympify(slopes[index - 1](self, *self.args))

    return type(name, (sympy.Function,), {"nargs": len(slopes), "fdiff": fdiff})


def _where(chosen: Any, a: Any, b: Any) -> Any:
    return _FUNCTIONS["where"](chosen, a, b)


def _less(a: Any, b: Any) -> Any:
    return _FUNCTIONS["less"](a, b)


_FUNCTIONS: dict[str, Any] = {
    "less": _function("less", lambda v, a, b: 0, lambda v, a, b: 0),
    "less_equal": _function("less_equal", lambda v, a, b: 0, lambda v, a, b: 0),
    "where": _function(
        "where",
        lambda v, chosen, a, b: 0,
        lambda v, chosen, a, b: _where(chosen, 1, 0),
        lambda v, chosen, a, b: _where(chosen, 0, 1),
    ),
    "tanh": _function("tanh", lambda v, a: 1 - v**2),
    "sigmoid": _function("sigmoid", lambda v, a: v * (1 - v)),
    "exp": _function("exp", lambda v, a: v),
    "log": _function("log", lambda v, a: 1 / a),
    "sqrt": _function("sqrt", lambda v, a: 1 / (2 * v)),
    "abs": _function("abs", lambda v, a: _where(_less(a, 0), -1, _where(_less(0, a), 1, 0))),
    "relu": _function("relu", lambda v, a: _where(_less(0, a), 1, 0)),
    "softplus": _function("softplus", lambda v, a: _FUNCTIONS["sigmoid"](a)),
    "max": _function(
        "max",
        lambda v, a, b: _where(_less(b, a), 1, 0),
        lambda v, a, b: _where(_less(b, a), 0, 1),
    ),
    "min": _function(
        "min",
        lambda v, a, b: _where(_less(a, b), 1, 0),
        lambda v, a, b: _where(_less(a, b), 0, 1),
    ),
    # not sympy's own quotient: the square of a small divisor would vanish
    "divide": _function("divide", lambda v, a, b: 1 / b, lambda v, a, b: -v / b),
}
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "negate": lambda a: -a,
}


def derive(meaning: Equations) -> Derivatives:
    """Derive a cell's equations."""
    program = meaning.program
    symbols, definitions = _symbols(program)
    gradients = [sympy.Symbol(f"g{k}") for k in range(len(meaning.states))]
    reached: dict[int, Any] = collections.defaultdict(lambda: sympy.Integer(0))
    for place, gradient in zip(program.after, gradients, strict=True):
        reached[place] += gradient
    chain: dict[Any, Any] = {}
    places = {symbol: place for place, symbol in symbols.items()}
    for place in sorted(definitions, reverse=True):
        if place not in reached:
            continue
        gradient = reached[place]
        if not gradient.is_Symbol:
            gradient = sympy.Symbol(f"d{place:04}")
            chain[gradient] = reached[place]
        value = definitions[place]
        for symbol in sorted(value.free_symbols, key=str):
            slope = value.diff(symbol).xreplace({value: symbols[place]})
            reached[places[symbol]] += gradient * slope

    inputs = {
        name: place for place, (kind, name, *_) in enumerate(program.operations) if kind == "input"
    }

    def gradient_of(name: str) -> Any:
        return reached[inputs[name]] if name in inputs else sympy.Integer(0)

    groups = [meaning.slots, meaning.states, meaning.parameters]
    wanted = [gradient_of(name) for group in groups for name in group]
    common, formulas = sympy.cse(
        [*chain.values(), *wanted], symbols=sympy.numbered_symbols("s"), order="canonical"
    )
    known = {**dict(zip(chain, formulas, strict=False)), **dict(common)}
    lowering = _Lowering(meaning, places, definitions, gradients, known)
    found = [lowering.place(formula) for formula in formulas[len(chain) :]]
    first, second = len(meaning.slots), len(meaning.slots) + len(meaning.states)
    return Derivatives(
        tuple(lowering.kept),
        tuple(lowering.operations),
        tuple(found[:first]),
        tuple(found[first:second]),
        tuple(found[second:]),
    )


def _symbols(program: Program) -> tuple[dict[int, Any], dict[int, Any]]:
    """The symbols by their places, and what those that are no inputs stand for."""
    uses = collections.Counter(
        place
        for kind, *arguments in program.operations
        if kind not in ("input", "number")
        for place in arguments
    )
    symbols: dict[int, Any] = {}
    definitions: dict[int, Any] = {}
    values: list[Any] = []
    sizes: list[int] = []  # operations since the last symbols
    for place, (kind, *arguments) in enumerate(program.operations):
        if kind == "number":
            values.append(sympy.Rational(*arguments[0].as_integer_ratio()))
            sizes.append(0)
            continue
        if kind != "input":
            function = _ARITHMETIC.get(kind) or _FUNCTIONS[kind]
            value = function(*(values[argument] for argument in arguments))
            size = 1 + sum(sizes[argument] for argument in arguments)
            named = place in program.named.values() or size > _LONGEST
            if kind in _ARITHMETIC and uses[place] < 2 and not named:
                values.append(value)
                sizes.append(size)
                continue
            definitions[place] = value
        symbols[place] = sympy.Symbol(f"v{place:04}")
        values.append(symbols[place])
        sizes.append(0)
    return symbols, definitions


class _Lowering:
    """Turns sympy's formulas into operations, each different one once."""

    def __init__(
        self,
        meaning: Equations,
        places: dict[Any, int],
        definitions: dict[int, Any],
        gradients: list[Any],
        known: dict[Any, Any],
    ) -> None:
        self.meaning = meaning
        self.symbols = places
        self.definitions = definitions
        self.gradients = gradients
        self.known = known
        self.kept: list[int] = []
        self.operations: list[Operation] = []
        self.places: dict[Operation, int] = {}

    def place(self, formula: Any) -> int:
        """The place of a formula's value."""
        if formula.is_Symbol:
            return self._symbol(formula)
        if formula.is_Rational:
            return self._number(formula)
        if formula.is_Add:
            return self._sum(formula)
        if formula.is_Mul or formula.is_Pow:
            return self._product(formula)
        arguments = [self.place(argument) for argument in formula.args]
        return self._add((type(formula).__name__, *arguments))

    def _add(self, operation: Operation) -> int:
        if operation not in self.places:
            self.places[operation] = len(self.operations)
            self.operations.append(operation)
        return self.places[operation]

    def _number(self, number: Any) -> int:
        try:
            value = int(number.p) / int(number.q)
        except OverflowError:
            value = math.inf if number > 0 else -math.inf
        return self._add(("number", value))

    def _symbol(self, symbol: Any) -> int:
        if symbol in self.known:
            return self.place(self.known[symbol])
        if symbol in self.gradients:
            return self._add(("gradient", self.gradients.index(symbol)))
        place = self.symbols[symbol]
        meaning = self.meaning
        kind, name, *_ = meaning.program.operations[place]
        if kind == "input" and name in meaning.states:
            return self._add(("before", meaning.states.index(name)))
        if kind == "input" and name in meaning.parameters:
            return self._add(("parameter", meaning.parameters.index(name)))
        if kind in ("less", "less_equal"):  # a bit is made again rather than kept
            return self.place(self.definitions[place])
        if place in meaning.program.after[1:]:
            return self._add(("after", meaning.program.after.index(place, 1)))
        if place not in self.kept:
            self.kept.append(place)
        return self._add(("kept", self.kept.index(place)))

    def _sum(self, formula: Any) -> int:
        """The sum of the terms in sympy's order, those to be subtracted last."""
        plus = [term for term in formula.args if not term.could_extract_minus_sign()]
        minus = [-term for term in formula.args if term.could_extract_minus_sign()]
        if plus:
            total = self.place(plus[0])
            for term in plus[1:]:
                total = self._add(("add", total, self.place(term)))
        else:
            total = self._add(("negate", self.place(minus.pop(0))))
        for term in minus:
            total = self._add(("subtract", total, self.place(term)))
        return total

    def _product(self, formula: Any) -> int:
        """The product of the factors in sympy's order, divided by those below the line in turn.

        A factor that is 1 or 0 chooses between the others' product and 0, so that what was not
        chosen has no say even where it is infinite.
        """
        chosen: list[Any] = []
        over: list[Any] = []
        under: list[Any] = []
        number = sympy.Integer(1)
        for factor in formula.args if formula.is_Mul else [formula]:
            base, power = factor.as_base_exp()
            if factor.is_Rational:
                number *= factor
            elif base.is_Rational or not power.is_Integer:
                raise AssertionError(f"{factor} is no power that equations have")
            elif (choice := self._choice(base)) is not None:
                chosen.append(choice)
            else:
                (over if power > 0 else under).extend([base] * abs(int(power)))
        factors = [self.place(factor) for factor in over]
        if abs(number) != 1 or not factors:
            factors.insert(0, self._number(abs(number)))
        product = factors[0]
        for factor in factors[1:]:
            product = self._add(("multiply", product, factor))
        for factor in under:
            product = self._add(("divide", product, self.place(factor)))
        if number < 0:
            product = self._add(("negate", product))
        zero = self._number(sympy.Integer(0)) if chosen else product
        for bit, is_one in chosen:
            pair = (product, zero) if is_one else (zero, product)
            product = self._add(("where", self.place(bit), *pair))
        return product

    def _choice(self, factor: Any) -> tuple[Any, bool] | None:
        """The bit of a factor where(bit, 1, 0) or where(bit, 0, 1), and which; None of others."""
        while factor.is_Symbol and factor in self.known:
            factor = self.known[factor]
        if not isinstance(factor, _FUNCTIONS["where"]):
            return None
        bit, *pair = factor.args
        return (bit, pair == [1, 0]) if pair in ([1, 0], [0, 1]) else None
