"""The axis letters, once, and the check that uses them.

    B batch    T time    I input    H hidden    L layers    G gates    V vocabulary

Public tensors are batch first: (B, T, I).
"""

from __future__ import annotations

from typing import Protocol

from noria.errors import ShapeError

__all__ = ["HasShape", "expect_shape"]


class HasShape(Protocol):
    """Anything with a shape: a numpy array or a torch tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        ...


def expect_shape(name: str, array: HasShape, axes: str, **sizes: int) -> None:
    """Check an array's shape against axis letters.

    Args:
        name: What the caller calls the array, for the message.
        array: The array to check.
        axes: One letter an axis, such as "BTI".
        **sizes: Known sizes by letter; a letter left out may be any size.

    Raises:
        ShapeError: naming the array, the shape wanted and the shape found.

    >>> import numpy as np
    >>> expect_shape("x", np.zeros((2, 5, 3)), "BTI", I=3)
    >>> expect_shape("x", np.zeros((2, 5)), "BTI", I=3)
    Traceback (most recent call last):
    noria.errors.ShapeError: x has shape (2, 5), expected (B, T, I=3)
    """
    found = tuple(array.shape)
    fits = len(found) == len(axes) and all(
        size == sizes.get(axis, size) for axis, size in zip(axes, found, strict=True)
    )
    if not fits:
        wanted = ", ".join(f"{a}={sizes[a]}" if a in sizes else a for a in axes)
        raise ShapeError(f"{name} has shape {found}, expected ({wanted})")
