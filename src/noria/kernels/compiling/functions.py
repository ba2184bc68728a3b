"""A cell's step and its way back as LLVM functions on tiles.

They take one argument, a pointer to `OwnForward` or `OwnBackward` of native/include/noria.h, whose
fields of 8 bytes are read by their places. A tile is some rows, and some panels of W neurons each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from llvmlite import ir

from noria.equations import MOST_STATES, Equations, Operation, evaluate
from noria.kernels.compiling.derive import Derivatives
from noria.kernels.compiling.vector_math import VectorMath

__all__ = ["kept_size", "write_module"]

_INDEX = ir.IntType(64)
_POINTER = ir.PointerType()

# places of the fields
_ROWS, _PANELS = 0, 1
_GATES, _GATES_ROW, _PARAMETERS, _STATE_ROW, _BEFORE, _AFTER = 2, 3, 4, 5, 6, 6 + MOST_STATES
_KEPT, _KEPT_ROW, _OLD = 2, 3, 5
_OLD_ROW, _OLD_PANEL, _D_STATE = (_OLD + count * MOST_STATES for count in (1, 2, 3))
_D_STATE_ROW = _D_STATE + MOST_STATES
_D_A, _D_A_ROW, _D_A_SLOT, _D_PARAMETERS, _D_PARAMETERS_ROW, _D_PARAMETERS_SLOT = range(
    _D_STATE_ROW + 1, _D_STATE_ROW + 7
)


def kept_size(meaning: Equations, derivatives: Derivatives | None) -> int:
    """How many vectors a step needs for pre-activations and for what it keeps."""
    if derivatives is None:
        return len(meaning.slots)
    return max(len(meaning.slots), len(derivatives.kept) + len(meaning.states) - 1)


def write_module(
    meaning: Equations, derivatives: Derivatives | None, dtype: str, width: int, *, fuses: bool
) -> str:
    """The cell's functions as LLVM's text: `forward`, and with derivatives `backward`.

    Args:
        meaning: The equations.
        derivatives: Theirs, if the step is to keep what the way back needs; None if not.
        dtype: "float32" or "float64".
        width: W.
        fuses: Whether the target has a fused multiply-add.
    """
    module = ir.Module(name=meaning.name)
    tile = _Tile(module, "forward", dtype, width, fuses=fuses)
    with tile.vectors():
        _write_forward(tile, meaning, derivatives)
    if derivatives is not None:
        tile = _Tile(module, "backward", dtype, width, fuses=fuses)
        with tile.vectors():
            _write_backward(tile, meaning, derivatives)
    return str(module)


class _Tile:
    """A function's body: one vector of neurons after the other, row by row."""

    def __init__(
        self, module: ir.Module, name: str, dtype: str, width: int, *, fuses: bool
    ) -> None:
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_POINTER]), name)
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.math = VectorMath(self.builder, dtype, width, fuses=fuses)
        self.width = width
        self.fields: dict[int, Any] = {}

    @contextlib.contextmanager
    def vectors(self) -> Iterator[None]:
        """What is written inside runs for every row and panel of the tile."""
        start = self.function.append_basic_block("start")
        with self.builder.goto_block(start):
            rows, panels = self.number(_ROWS), self.number(_PANELS)
            with self._loop(rows) as self.row, self._loop(panels) as self.panel:
                yield
            self.builder.ret_void()
        self.builder.branch(start)

    @contextlib.contextmanager
    def _loop(self, count: Any) -> Iterator[Any]:
        """A loop of at least one round."""
        builder = self.builder
        before, body = builder.block, builder.append_basic_block("body")
        after = builder.append_basic_block("after")
        builder.branch(body)
        builder.position_at_end(body)
        index = builder.phi(_INDEX)
        index.add_incoming(_INDEX(0), before)
        yield index
        following = builder.add(index, _INDEX(1))
        index.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, count), body, after)
        builder.position_at_end(after)

    def number(self, field: int) -> Any:
        """A field that is a number; fields are read once, before the loops."""
        return self._field(field, _INDEX)

    def _field(self, field: int, kind: Any) -> Any:
        if field not in self.fields:
            builder = self.builder
            with builder.goto_block(self.function.entry_basic_block):
                place = builder.gep(self.function.args[0], [_INDEX(field)], source_etype=_INDEX)
                self.fields[field] = builder.load(place, typ=kind)
        return self.fields[field]

    def at(self, field: int, row: Any, panel: Any, more: Any = None) -> Any:
        """A vector's address in the array of a field: row · row stride + panel · panel stride."""
        builder = self.builder
        offset = builder.add(builder.mul(self.row, row), builder.mul(self.panel, panel))
        if more is not None:
            offset = builder.add(offset, more)
        base = self._field(field, _POINTER)
        return builder.gep(base, [offset], source_etype=self.math.scalar)

    def vectors_of(self, count: int) -> Any:
        return _INDEX(count * self.width)

    def load(self, place: Any) -> Any:
        return self.builder.load(place, align=self.math.bits // 8, typ=self.math.vector)

    def store(self, value: Any, place: Any) -> None:
        self.builder.store(value, place, align=self.math.bits // 8)


def _write_forward(tile: _Tile, meaning: Equations, derivatives: Derivatives | None) -> None:
    size = kept_size(meaning, derivatives)

    def gate(index: int) -> Any:
        panel, more = tile.vectors_of(size), tile.vectors_of(index)
        return tile.at(_GATES, tile.number(_GATES_ROW), panel, more)

    def state(first: int, index: int) -> Any:
        return tile.at(first + index, tile.number(_STATE_ROW), tile.vectors_of(1))

    values = {name: tile.load(gate(index)) for index, name in enumerate(meaning.slots)}
    values |= {name: tile.load(state(_BEFORE, index)) for index, name in enumerate(meaning.states)}
    values |= {
        name: tile.load(_parameter(tile, meaning, index))
        for index, name in enumerate(meaning.parameters)
    }
    program, math = meaning.program, tile.math
    found = evaluate(program.operations, values.__getitem__, math.number, math.apply)
    new = [found[place] for place in program.after]
    for index, value in enumerate(new):
        tile.store(value, state(_AFTER, index))
    if derivatives is None:
        return
    for index, place in enumerate(derivatives.kept):
        tile.store(found[place], gate(index))
    for index, value in enumerate(new[1:]):
        tile.store(value, gate(size - len(new) + 1 + index))


def _write_backward(tile: _Tile, meaning: Equations, derivatives: Derivatives) -> None:
    size, states = kept_size(meaning, derivatives), len(meaning.states)

    def kept(index: int) -> Any:
        panel, more = tile.vectors_of(size), tile.vectors_of(index)
        return tile.at(_KEPT, tile.number(_KEPT_ROW), panel, more)

    def old(index: int) -> Any:
        return tile.at(_OLD + index, tile.number(_OLD_ROW + index), tile.number(_OLD_PANEL + index))

    def d_state(index: int) -> Any:
        return tile.at(_D_STATE + index, tile.number(_D_STATE_ROW), tile.vectors_of(1))

    def gradient(first: int, index: int) -> Any:
        more = tile.builder.mul(tile.number(first + 2), _INDEX(index))
        return tile.at(first, tile.number(first + 1), tile.vectors_of(1), more)

    inputs = {
        "kept": kept,
        "after": lambda index: kept(size - states + index),
        "before": old,
        "parameter": lambda index: _parameter(tile, meaning, index),
        "gradient": d_state,
    }
    operations = [
        ("input", operation) if operation[0] in inputs else operation
        for operation in derivatives.operations
    ]

    def load(operation: Operation) -> Any:
        return tile.load(inputs[operation[0]](operation[1]))

    found = evaluate(operations, load, tile.math.number, tile.math.apply)
    for index, place in enumerate(derivatives.slots):
        tile.store(found[place], gradient(_D_A, index))
    for index, place in enumerate(derivatives.states):
        tile.store(found[place], d_state(index))
    for index, place in enumerate(derivatives.parameters):
        tile.store(found[place], gradient(_D_PARAMETERS, index))


def _parameter(tile: _Tile, meaning: Equations, index: int) -> Any:
    panel = tile.vectors_of(len(meaning.parameters))
    return tile.at(_PARAMETERS, _INDEX(0), panel, tile.vectors_of(index))
