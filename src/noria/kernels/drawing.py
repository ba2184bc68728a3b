"""The next of some outcomes, drawn from their unnormalised log-probabilities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from noria.errors import KernelError, ShapeError, UsageError
from noria.kernels import _native
from noria.kernels.scan import Array, dtype_name

__all__ = ["Draw", "check_draw", "checked", "checked_recent", "draw"]

_DRAW = {"float32": _native.draw_float32, "float64": _native.draw_float64}


class Draw(NamedTuple):
    """How an outcome is drawn: the penalty first, then top_k, the temperature and top_p.

    Attributes:
        temperature: Divides the log-probabilities; 0 takes the likeliest, the first of equal ones.
        top_k: Leaves so many of the likeliest, and what is as likely as the last; 0 leaves all.
        top_p: Leaves the likeliest that together reach this probability.
        repetition_penalty: Multiplies the log-probabilities of recent outcomes; 1 leaves them.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0


def draw(how: Draw, logits: Array, uniforms: Array, recent: Array | None = None) -> Array:
    """Draw one outcome of each row; it depends on no other row.

    The weights of the outcomes are summed in their order, in double precision; what comes is the
    first whose sum passes `uniforms` times the last.

    Args:
        how: How.
        logits: Unnormalised log-probabilities, shape (B, V); −∞ for what must not come.
        uniforms: Random numbers from 0 up to 1, float64, shape (B,).
        recent: Outcomes to penalise, int64, shape (B, R); −1 for none.

    Returns:
        int64, shape (B,).

    Raises:
        ShapeError: if a shape or an outcome disagrees.
        KernelError: if a dtype does, a logit is NaN or +∞, or nothing is possible.
        UsageError: if `how` cannot be meant.

    >>> import numpy as np
    >>> logits = np.log([[0.5, 0.3, 0.2]] * 3)
    >>> draw(Draw(), logits, np.array([0.4, 0.7, 0.9])).tolist()
    [0, 1, 2]
    """
    check_draw(how)
    if logits.ndim != 2 or not logits.shape[1]:
        raise ShapeError(f"logits has shape {logits.shape}, expected (B, V) with V of 1 or more")
    if dtype_name(logits.dtype) not in _DRAW:
        raise KernelError(f"The native core draws from float32 or float64, not {logits.dtype}.")
    batch, outcomes = logits.shape
    uniforms = checked("uniforms", uniforms, np.float64, (batch,))
    if recent is not None:
        recent = checked_recent(recent, batch, outcomes)
    return _DRAW[dtype_name(logits.dtype)](how, np.ascontiguousarray(logits), uniforms, recent)


def check_draw(how: Draw) -> None:
    """Raises UsageError unless it can be meant."""
    for name, value, fits in [
        ("temperature", how.temperature, 0 <= how.temperature < np.inf),
        ("top_k", how.top_k, how.top_k >= 0),
        ("top_p", how.top_p, 0 < how.top_p <= 1),
        ("repetition_penalty", how.repetition_penalty, 0 < how.repetition_penalty < np.inf),
    ]:
        if not fits:
            raise UsageError(f"{name} is {value}, which no draw can be made with")


def checked(name: str, array: Array, dtype: DTypeLike, shape: tuple[int, ...]) -> Array:
    """The array in C order, once its shape and dtype are found right."""
    if array.shape != shape:
        raise ShapeError(f"{name} has shape {array.shape}, expected {shape}")
    if array.dtype != dtype:
        raise KernelError(f"{name} is {array.dtype}, expected {np.dtype(dtype)}")
    return np.ascontiguousarray(array)


def checked_recent(recent: Array, batch: int, outcomes: int) -> Array:
    """Recent outcomes in C order, once each is -1 or below V and there is room for one."""
    if recent.ndim != 2 or not recent.shape[1]:
        raise ShapeError(f"recent has shape {recent.shape}, expected ({batch}, R), R at least 1")
    recent = checked("recent", recent, np.int64, (batch, recent.shape[1]))
    if recent.size and not -1 <= recent.min() <= recent.max() < outcomes:
        raise ShapeError(
            f"recent holds {recent.min()} to {recent.max()}, expected -1..{outcomes - 1}"
        )
    return recent
