"""Equations as text: what they mean, and what is said where they mean nothing."""

from __future__ import annotations

import pytest

from noria.equations import FUNCTIONS, Equations, evaluate
from noria.errors import WiringError

ONE = (("a",), ("h",), ())


def meaning(text: str, parts: tuple[tuple[str, ...], ...] = ONE, name: str = "mine") -> Equations:
    return Equations(name, *parts, text)


def value(text: str, **inputs: float) -> float:
    program = meaning(text, (("a",), ("h",), ("p",))).program

    def apply(name: str, *v: float) -> float:
        return {
            "add": lambda: v[0] + v[1],
            "subtract": lambda: v[0] - v[1],
            "multiply": lambda: v[0] * v[1],
            "divide": lambda: v[0] / v[1],
            "negate": lambda: -v[0],
            "less": lambda: v[0] < v[1],
            "less_equal": lambda: v[0] <= v[1],
            "where": lambda: v[1] if v[0] else v[2],
            "max": lambda: max(v),
        }[name]()

    return float(evaluate(program.operations, inputs.__getitem__, float, apply)[program.after[0]])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("h' = a + 2*h - p/4", 3 + 2 * 5 - 7 / 4),
        ("h' = -a**2 + h*p", -9 + 35),
        ("h' = a**-2 + h + p", 1 / 9 + 12),
        ("h' = a - (h - p) - 1", 3 - (5 - 7) - 1),
        ("q = a*h\nh' = q*q + p", 225 + 7),
        ("h' = where(a < h, p, 0.5)", 7),
        ("h' = where(a > h, p, 0.5)", 0.5),
        ("h' = where(a >= 3, p, h)", 7),
        ("h' = where(h <= 3, p, +a)", 3),
        ("h' = max(a, (h\n  + p))  # over two lines", 12),
    ],
)
def test_what_they_mean(text: str, wanted: float) -> None:
    assert value(text, a=3, h=5, p=7) == wanted


def test_what_occurs_twice_is_one_operation() -> None:
    operations = meaning("h' = tanh(a)*h + tanh(a)").program.operations
    assert [name for name, *_ in operations].count("tanh") == 1


def test_a_gate_whose_parts_stand_apart_has_a_slot_for_each() -> None:
    gru = meaning("h' = sigmoid(z)*h + tanh(x_n + sigmoid(r)*r_n)", (("r", "z", "n"), ("h",), ()))
    assert gru.slots == ("x_n", "r", "z", "r_n")
    assert gru.slot_gates == (2, 0, 1, 2)
    whole = meaning("h' = tanh(n)*x_n + h", (("n",), ("h",), ()))
    assert whole.slots == ("x_n", "r_n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h' = tanh(q)", "line 1: the name 'q' is unknown; there are a, h, x_a, r_a"),
        ("c' = a", "line 1: c is no state"),
        ("z = tanh(a)", "the state h has no equation: write h' ="),
        ("h' = h", "the gate a is not used"),
        ("z = a\nh' = a", "line 1: z is not used"),
        ("h = a", r"line 1: the name 'h' is one of its states \(its new value has a prime\)"),
        ("a = h\nh' = a", "line 1: the name 'a' is one of its gates"),
        ("tanh = a\nh' = tanh", "line 1: the name 'tanh' is a function"),
        ("h' = a\nh' = a", "line 2: h' has an equation already"),
        ("h' = tanh(h')*a", "line 1: h' is used before its equation"),
        ("h' = a @ h", "line 1: 'a @ h' is not element-wise"),
        ("h' = a[0]", r"line 1: 'a\[0\]' is not element-wise"),
        ("h' = sum(a)", "line 1: there is no function 'sum'"),
        ("h' = max(a)", "line 1: max takes 2 arguments, not 1"),
        ("h' = a < h", "line 1: a comparison stands in where"),
        ("h' = where(a, a, h)", "line 1: where begins with one comparison"),
        ("h' = where(a < h < 1, a, h)", "line 1: where begins with one comparison"),
        ("h' = a**h", "line 1: a power is a whole number from 1 to 8"),
        ("h' = a**9", "line 1: a power is a whole number from 1 to 8"),
        ("h' = a*1e31", r"line 1: the number 1e\+31 is too large"),
        ("h' = (a", "line 1: this is no equation"),
        ("import os", "line 1: each line is one equation"),
        ("h' = __import__(a)", "line 1: there is no function '__import__'"),
        ("h' = a.real", "line 1: 'a.real' is not element-wise"),
        ("h' = True*a", "line 1: 'True' is not element-wise"),
        ("h' = 'a'*a", "is no equation|not element-wise"),
        ("h' = " + "-" * 5000 + "a", "nested too deeply"),
        ("h' = " + "(" * 500 + "a" + ")" * 500, "line 1: this is no equation"),
        ("h' = a" + " + a" * 4000, "longer than 10000 characters"),
        ("q__ = a\nh' = q__", "may not hold two underscores"),
    ],
)
def test_what_means_nothing(text: str, message: str) -> None:
    with pytest.raises(WiringError, match=f"^cell mine.*({message})"):
        _ = meaning(text).program


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((("a", "x_a"), ("h",), ()), "the name 'x_a' is one of its gates and a part of gate a"),
        ((("exp",), ("h",), ()), "the name 'exp' is a function and one of its gates"),
        ((("h",), ("h",), ()), "the name 'h' is one of its gates and one of its states"),
        ((("a",), ("c",), ()), "its first state is 'c', expected 'h'"),
        ((("a",), ("h",), ("p",)), "the parameter p is not used"),
        (((), ("h",), ()), "it has 0 gates, expected 1 to 8"),
        ((("a",), tuple("hbcdefg"), ()), "it has 7 states, expected 1 to 6"),
        ((("a b",), ("h",), ()), "'a b' among its gates is no name"),
        ((("if",), ("h",), ()), "'if' among its gates is no name"),
        ((("a", 1), ("h",), ()), "1 among its gates is no name"),
    ],
)
def test_names_that_clash(parts: tuple[tuple[str, ...], ...], message: str) -> None:
    with pytest.raises(WiringError, match=message):
        _ = meaning("h' = a", parts).program


def test_a_built_in_cells_name_is_taken() -> None:
    with pytest.raises(WiringError, match="cell gru: a built-in cell has this name"):
        _ = meaning("h' = a", name="gru").program


def test_every_function_may_be_called() -> None:
    for name, count in FUNCTIONS.items():
        arguments = ["a < h" if name == "where" else "a", "h", "a"][:count]
        assert meaning(f"h' = {name}({', '.join(arguments)})").program.after == (
            len(meaning(f"h' = {name}({', '.join(arguments)})").program.operations) - 1,
        )
