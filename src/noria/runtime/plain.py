"""A plain network as a stream: rows of numbers in, rows of numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError, StateError
from noria.runtime.model_file import ModelFile
from noria.runtime.stepper import NetworkStepper

__all__ = ["PlainStream"]


class PlainStream:
    """Events {"x": [...]} and answers {"y": [...]}; it remembers nothing besides the network.

    Args:
        model: A model file that `noria.Network.save` wrote.
    """

    def __init__(self, model: ModelFile, *, int8: bool = False) -> None:
        self.stepper = NetworkStepper(model.wiring, model.weights, int8=int8)

    def start(self) -> None:
        """Nothing to remember."""

    def read(self, memory: None, events: Sequence[Any]) -> _Rows:
        """Events as inputs, a step each.

        Raises:
            DataError: if an event is not an object with a finite row of numbers.
        """
        rows = [self._row(event) for event in events]
        # one event at a time is what a server mostly gets, and np.stack would be half of its cost
        given = rows[0][None] if len(rows) == 1 else np.stack(rows, dtype=np.float64)
        with np.errstate(over="ignore"):
            x = given.astype(self.stepper.dtype)
        if not np.isfinite(x).all():
            row, worst = (int(index[0]) for index in np.nonzero(~np.isfinite(x)))
            raise DataError(
                f"x[{worst}] is {given[row, worst]}: a number must be finite as {x.dtype}"
            )
        return _Rows(x, np.arange(len(events)))

    def _row(self, event: Any) -> NDArray[Any]:
        size = self.stepper.wiring.input_size
        if not isinstance(event, dict) or "x" not in event:
            raise DataError(f'an event is an object such as {{"x": [...]}} with {size} numbers')
        try:
            row = np.asarray(event["x"])
        except ValueError:
            row = np.empty(0, object)
        if row.dtype.kind not in "iuf" or row.shape != (size,):
            raise DataError(f"x is not a list of {size} numbers")
        return row

    def answer(
        self, readings: Sequence[_Rows], outputs: Sequence[NDArray[Any]]
    ) -> list[tuple[None, list[dict[str, Any]]]]:
        """The network's outputs, as they are."""
        return [(None, [{"y": row} for row in rows.tolist()]) for rows in outputs]

    def memory_to_bytes(self, memory: None) -> bytes:
        """Nothing."""
        return b""

    def memory_from_bytes(self, data: bytes) -> None:
        """Nothing, and nothing more."""
        if data:
            raise StateError("the saved state is damaged: it is too long for its model")

    def describe(self) -> dict[str, Any]:
        """JSON schemas of an event and an answer."""
        wiring = self.stepper.wiring
        sizes = (("event", "x", wiring.input_size), ("answer", "y", wiring.output_size))
        return {
            role: {
                "type": "object",
                "required": [name],
                "properties": {
                    name: {
                        "type": "array",
                        "items": {"type": "number"},
                        "minItems": size,
                        "maxItems": size,
                    }
                },
            }
            for role, name, size in sizes
        }


class _Rows(NamedTuple):
    x: NDArray[Any]
    last: NDArray[np.int64]
