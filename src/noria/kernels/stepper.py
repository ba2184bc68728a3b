"""One step a call, in constant memory: what a session does forever."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from noria.errors import KernelError, ShapeError
from noria.kernels import _native
from noria.kernels.drawing import Draw, check_draw, checked, checked_recent
from noria.kernels.scan import Array
from noria.kernels.stack import PackedStack, arguments, checked_states, lists, tuples

__all__ = ["Stepper"]

_STEPPER = {"float32": _native.Stepper_float32, "float64": _native.Stepper_float64}


class Stepper:
    """B streams that advance together, one step a call, to the bits of `scan_stack`.

    Everything but the arithmetic is done here once: a step checks its arrays and computes. The
    state stands inside, zero at first. One thread at a time may use a stepper; several steppers may
    share packed weights.

    Attributes:
        step: `step(x, out=None)` takes x, shape (B, I), and returns h of the last layer, shape
            (B, H); `out`, if given, is where it is written. Arrays are dense and of the weights'
            dtype.
        step_index: `step_index(index, out=None)` is `step` with x of zeros and a one at index[b] in
            row b, to the same bits; it reads that column of W alone. index: int64, shape (B,).

    Both raise ShapeError if a shape or an index disagrees with the weights, KernelError if an array
    is of another dtype or not dense, or while another thread steps.

    >>> import numpy as np
    >>> from noria import kernels
    >>> one, zero = np.ones((1, 1), "float32"), np.zeros(1, "float32")
    >>> layer = kernels.StackLayer("linear", one, zero, None, {0: one})
    >>> counter = kernels.Stepper(kernels.pack_stack([layer]))
    >>> [counter.step(one).item() for _ in range(3)]
    [1.0, 2.0, 3.0]
    """

    __slots__ = ("_native", "_packed", "batch_size", "step", "step_index")

    step: Callable[..., Array]
    step_index: Callable[..., Array]

    def __init__(self, packed: PackedStack, batch_size: int = 1):
        """Make room for the states of B streams.

        Args:
            packed: From `pack_stack`.
            batch_size: B, at least 1.

        Raises:
            ShapeError: if batch_size is below 1.
        """
        if batch_size < 1:
            raise ShapeError(f"batch_size is {batch_size}, expected at least 1")
        self.batch_size = batch_size
        self._packed = packed
        self._native = _STEPPER[packed.weights.dtype.name](
            arguments(packed.layers), packed.weights, packed.int8, batch_size
        )
        # the bound methods themselves: a call through Python would cost as much as a small step
        self.step = self._native.step
        self.step_index = self._native.step_index

    def write(
        self,
        how: Draw,
        logits: Array,
        uniforms: Array,
        *,
        barred: Array | None = None,
        recent: Array | None = None,
        written: int = 0,
    ) -> Array:
        """Draw N outcomes of each row one after the other and step on with each: one native call.

        They are those of `draw` and `step_index` by turns, to the same bits. The last layer is as
        wide as the input: what it foretells is what it reads.

        Args:
            how: How to draw.
            logits: What the first is drawn from, shape (B, V), dense; overwritten with what comes
                after the last.
            uniforms: Random numbers from 0 up to 1, float64, shape (N, B).
            barred: Is added to the logits before each draw, shape (V,); None for zeros.
            recent: Outcomes to penalise, int64, shape (B, R), dense, −1 for none; column
                `written` modulo R gets the first drawn, and so on round. None for no penalty.
            written: See `recent`.

        Returns:
            int64, shape (N, B).

        Raises:
            ShapeError: if a shape or an outcome disagrees with the weights.
            KernelError: if a dtype does, a logit is NaN or +∞, or nothing is possible; the state
                and the logits then stand where this was met.
            UsageError: if `how` cannot be meant.
        """
        check_draw(how)
        dtype = self._packed.weights.dtype
        first, last = self._packed.layers[0], self._packed.layers[-1]
        outcomes = first.weight_ih.shape[1]
        if last.hidden_size != outcomes:
            raise ShapeError(
                f"the stack has {last.hidden_size} outputs and {outcomes} inputs: to write, it must"
                " read what it foretells"
            )
        if written < 0:
            raise ShapeError(f"written is {written}, expected 0 or more")
        if recent is None:
            recent, how = np.full((self.batch_size, 1), -1), how._replace(repetition_penalty=1.0)
        if barred is None:
            barred = np.zeros(outcomes, dtype)
        if not (logits.flags.carray and recent.flags.carray):
            raise KernelError("logits and recent are written to: give dense arrays in C order")
        return self._native.write(
            how,
            checked("logits", logits, dtype, (self.batch_size, outcomes)),
            checked("barred", barred, dtype, (outcomes,)),
            checked("uniforms", uniforms, np.float64, (len(uniforms), self.batch_size)),
            checked_recent(recent, self.batch_size, outcomes),
            written,
        )

    @property
    def state(self) -> tuple[tuple[Array, ...], ...]:
        """State of every layer, (h, c) of an LSTM and (h,) of the others, each (B, H): copies.

        Setting it raises ShapeError if a shape disagrees, KernelError if a dtype does.
        """
        return tuples(self._native.state())

    @state.setter
    def state(self, state: Sequence[Sequence[Array]]) -> None:
        dtype = self._packed.weights.dtype
        self._native.set_state(
            lists(checked_states("state", self._packed.layers, state, dtype, self.batch_size))
        )
