"""Arithmetic and functions on vectors as LLVM instructions.

exp, sigmoid and tanh are the operations of native/src/vector_math.h in their order, so that a cell
of one's own gives the bits of a built-in one; a test holds the two together. Nothing here allows
LLVM to reorder or fuse: the bits are the same on AVX2, AVX-512 and NEON.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
import struct
from typing import Any

from llvmlite import ir

__all__ = ["VectorMath"]


@dataclasses.dataclass(frozen=True)
class _Constants:
    """Of exp(x) = 2ⁿ·(1 + r + r²·q(r)) and log(x) = n·ln 2 + 2·atanh(s)."""

    mantissa_bits: int
    lowest: float
    highest: float
    log2_e: float
    ln2_high: float
    ln2_low: float
    rounder: float  # adding it rounds to an integer
    q: tuple[float, ...]
    atanh_terms: int


_FLOAT = _Constants(
    mantissa_bits=23,
    lowest=-87.0,
    highest=88.0,
    log2_e=1.44269504,
    ln2_high=0.693359375,
    ln2_low=-2.12194440e-4,
    rounder=1.5 * 2.0**23,
    q=(1.39263256e-3, 8.36329275e-3, 4.16665538e-2, 1.66665763e-1, 0.5),
    atanh_terms=5,
)
_DOUBLE = _Constants(
    mantissa_bits=52,
    lowest=-708.0,
    highest=709.0,
    log2_e=1.4426950408889634074,
    ln2_high=float.fromhex("0x1.62e42fefa3800p-1"),
    ln2_low=5.4979230187083711747e-14,
    rounder=1.5 * 2.0**52,
    q=(
        2.51005692758136826e-8,
        2.76203274282682382e-7,
        2.75572680728900983e-6,
        2.48015207925726928e-5,
        1.98412698633032233e-4,
        1.38888889175382958e-3,
        8.33333333333001176e-3,
        4.16666666666234768e-2,
        1.66666666666666675e-1,
        0.500000000000000104,
    ),
    atanh_terms=11,
)


class VectorMath:
    """Writes instructions on vectors of one type at a builder's place.

    Args:
        builder: Where the instructions go.
        dtype: "float32" or "float64".
        width: Elements of a vector.
        fuses: Whether the target has a fused multiply-add.
    """

    def __init__(self, builder: ir.IRBuilder, dtype: str, width: int, *, fuses: bool) -> None:
        self.builder = builder
        self.constants = _FLOAT if dtype == "float32" else _DOUBLE
        self.scalar = ir.FloatType() if dtype == "float32" else ir.DoubleType()
        self.bits = 32 if dtype == "float32" else 64
        self.vector = ir.VectorType(self.scalar, width)
        self.integers = ir.VectorType(ir.IntType(self.bits), width)
        self.width = width
        self.fuses = fuses

    def apply(self, name: str, *values: Any) -> Any:
        """A function or operator of `noria.equations`, by its name."""
        found = _DIRECT.get(name)
        if found is not None:
            return getattr(self.builder, found)(*values)
        return getattr(self, f"_{name}")(*values)

    def number(self, value: float) -> ir.Constant:
        """A vector of one number."""
        if self.bits == 32:
            value = ctypes.c_float(value).value  # infinite where it is too large
        return ir.Constant(self.vector, [ir.Constant(self.scalar, value)] * self.width)

    def _fma(self, a: Any, b: Any, c: Any) -> Any:
        if not self.fuses:  # as the baseline of the native core, which rounds twice
            return self.builder.fadd(self.builder.fmul(a, b), c)
        return self._intrinsic("fma", a, b, c)

    def _intrinsic(self, name: str, *values: Any) -> Any:
        module, whole = self.builder.module, f"llvm.{name}.v{self.width}f{self.bits}"
        function = module.globals.get(whole)
        if function is None:
            kind = ir.FunctionType(self.vector, [self.vector] * len(values))
            function = ir.Function(module, kind, whole)
        return self.builder.call(function, values)

    def _less(self, a: Any, b: Any) -> Any:
        return self.builder.fcmp_ordered("<", a, b)

    def _less_equal(self, a: Any, b: Any) -> Any:
        return self.builder.fcmp_ordered("<=", a, b)

    def _where(self, chosen: Any, a: Any, b: Any) -> Any:
        return self.builder.select(chosen, a, b)

    def _isnan(self, a: Any) -> Any:
        return self.builder.fcmp_unordered("uno", a, a)

    def _max(self, a: Any, b: Any) -> Any:
        larger = self._where(self._less(b, a), a, b)
        return self._where(self._isnan(a), a, larger)

    def _min(self, a: Any, b: Any) -> Any:
        smaller = self._where(self._less(a, b), a, b)
        return self._where(self._isnan(a), a, smaller)

    def _relu(self, a: Any) -> Any:
        zero = self.number(0.0)
        return self._where(self._less_equal(a, zero), zero, a)

    def _as_integers(self, a: Any) -> Any:
        return self.builder.bitcast(a, self.integers)

    def _as_floats(self, a: Any) -> Any:
        return self.builder.bitcast(a, self.vector)

    def _integer(self, value: int) -> ir.Constant:
        one = ir.Constant(ir.IntType(self.bits), value)
        return ir.Constant(self.integers, [one] * self.width)

    def _abs(self, a: Any) -> Any:
        all_but_sign = self._integer((1 << (self.bits - 1)) - 1)
        return self._as_floats(self.builder.and_(self._as_integers(a), all_but_sign))

    def _power_and_excess(self, x: Any) -> tuple[Any, Any]:
        """2ⁿ and exp(r) − 1 of x = n·ln 2 + r, held within what neither overflows nor vanishes."""
        builder, c, number = self.builder, self.constants, self.number
        x = self._where(self._less(x, number(c.lowest)), number(c.lowest), x)
        x = self._where(builder.fcmp_ordered(">", x, number(c.highest)), number(c.highest), x)
        rounded = self._fma(x, number(c.log2_e), number(c.rounder))
        n = builder.fsub(rounded, number(c.rounder))
        r = self._fma(n, number(-c.ln2_high), x)
        r = self._fma(n, number(-c.ln2_low), r)
        square = builder.fmul(r, r)
        excess = self._fma(square, self._remainder(r, square), r)
        shifted = builder.shl(self._as_integers(rounded), self._integer(c.mantissa_bits))
        power = builder.add(shifted, self._as_integers(number(1.0)))
        return self._as_floats(power), excess

    def _remainder(self, r: Any, square: Any) -> Any:
        """(exp(r) − 1 − r)/r², in float32 in few dependent steps."""
        q = [self.number(coefficient) for coefficient in self.constants.q]
        if self.bits == 32:
            high, low = self._fma(q[0], r, q[1]), self._fma(q[2], r, q[3])
            return self._fma(self._fma(high, square, low), r, q[4])
        found: Any = q[0]
        for coefficient in q[1:]:
            found = self._fma(found, r, coefficient)
        return found

    def _held_exp(self, x: Any) -> Any:
        """exp within the bounds, whose value it keeps beyond them: neither 0 nor infinite."""
        power, excess = self._power_and_excess(x)
        return self._fma(power, excess, power)

    def _exp(self, x: Any) -> Any:
        """exp(x ∓ 1)·e^±1 near and beyond the bounds, which overflows and vanishes as it should."""
        builder, c, number = self.builder, self.constants, self.number
        above = builder.fcmp_ordered(">", x, number(c.highest))
        below = self._less(x, number(c.lowest + 1))
        step = self._where(above, number(-1.0), self._where(below, number(1.0), number(0.0)))
        back = self._where(
            above, number(math.e), self._where(below, number(1 / math.e), number(1.0))
        )
        return builder.fmul(self._held_exp(builder.fadd(x, step)), back)

    def _sigmoid(self, x: Any) -> Any:
        one = self.number(1.0)
        below = self.builder.fadd(one, self._held_exp(self.builder.fneg(x)))
        return self.builder.fdiv(one, below)

    def _tanh(self, x: Any) -> Any:
        builder, number = self.builder, self.number
        sign_bit = self._integer(1 << (self.bits - 1))
        sign = builder.and_(self._as_integers(x), sign_bit)
        power, excess = self._power_and_excess(builder.fmul(number(-2.0), self._abs(x)))
        m = self._fma(power, excess, builder.fsub(power, number(1.0)))
        ratio = self._as_integers(self._abs(builder.fdiv(m, builder.fadd(m, number(2.0)))))
        return self._as_floats(builder.or_(ratio, sign))

    def _log(self, x: Any) -> Any:
        """n·ln 2 + 2·atanh(s) with x = 2ⁿ·m, m in [√½, √2) and s = (m − 1)/(m + 1)."""
        builder, c, number = self.builder, self.constants, self.number
        bits = self._as_integers(x)
        root = struct.unpack("I" if self.bits == 32 else "Q", self._half_root())[0]
        # n is what the exponent exceeds that of √½ by
        above = builder.sub(bits, self._integer(root))
        n = builder.ashr(above, self._integer(c.mantissa_bits))
        m = self._as_floats(builder.sub(bits, builder.shl(n, self._integer(c.mantissa_bits))))
        exponent = builder.sitofp(n, self.vector)
        less = builder.fsub(m, number(1.0))
        s = builder.fdiv(less, builder.fadd(m, number(1.0)))
        square = builder.fmul(s, s)
        series: Any = number(2.0 / (2 * c.atanh_terms + 1))
        for term in range(c.atanh_terms - 1, 0, -1):
            series = self._fma(series, square, number(2.0 / (2 * term + 1)))
        # 2·atanh(s) = 2·s + s³·series
        tail = builder.fmul(builder.fmul(s, square), series)
        small = self._fma(exponent, number(c.ln2_low), tail)
        small = self._fma(number(2.0), s, small)
        found = self._fma(exponent, number(c.ln2_high), small)
        infinite = number(float("inf"))
        found = self._where(builder.fcmp_ordered("==", x, infinite), x, found)
        least = number(2.0 ** (-126 if self.bits == 32 else -1022))
        found = self._where(self._less(x, least), number(float("-inf")), found)
        found = self._where(self._less(x, number(0.0)), number(float("nan")), found)
        return self._where(self._isnan(x), x, found)

    def _half_root(self) -> bytes:
        return struct.pack("f" if self.bits == 32 else "d", 0.5**0.5)

    def _sqrt(self, x: Any) -> Any:
        return self._intrinsic("sqrt", x)

    def _softplus(self, x: Any) -> Any:
        """max(x, 0) + log(1 + exp(−|x|)), which neither overflows nor loses a large x."""
        small = self._held_exp(self.builder.fneg(self._abs(x)))
        above = self._log(self.builder.fadd(self.number(1.0), small))
        return self.builder.fadd(self._relu(x), above)


_DIRECT = {
    "add": "fadd",
    "subtract": "fsub",
    "multiply": "fmul",
    "divide": "fdiv",
    "negate": "fneg",
}
