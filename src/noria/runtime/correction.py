"""An expectation that goes on learning: what a network expects, put right by what then came.

A network is trained once; what it watches drifts. So its expectation of each channel is one of a
few things that the next value is a sum of, and the weights of the sum follow the stream by
recursive least squares, in constant time.

Letters: C channels, F = 4 terms of the sum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Correction", "corrected", "follow"]

Floats = NDArray[np.float64]

_TERMS = 4
"""What the network expects, how far the latest value is from that, its last error, and one."""

_KEPT = 0.9995
"""How much of what it knows is kept from step to step."""

_DOUBT, _MOST_DOUBT = 0.05, 4.0
"""Variance of the weights to begin with, and of all together at the most."""

_OUTLYING = 3.0
"""Usual errors beyond which an event counts the less: an anomaly is no lesson."""

_SCALE_RATE = 0.005


class Correction(NamedTuple):
    """What has been learned of one stream; a value that nothing changes.

    Attributes:
        weights: Of the terms, shape (C, F).
        doubt: Their covariance, shape (C, F, F).
        error: The network's last error, shape (C,).
        scale: Usual size of the errors that remain, in spreads, shape (C,).
    """

    weights: Floats
    doubt: Floats
    error: Floats
    scale: Floats

    @classmethod
    def start(cls, channels: int) -> Correction:
        """The network is believed as it is."""
        weights = np.zeros((channels, _TERMS))
        weights[:, 0] = 1.0
        doubt = np.tile(_DOUBT * np.eye(_TERMS), (channels, 1, 1))
        return cls(weights, doubt, np.zeros(channels), np.ones(channels))

    def to_numbers(self) -> Floats:
        """All of it as one row of numbers."""
        return np.concatenate([part.ravel() for part in self])

    @classmethod
    def from_numbers(cls, numbers: Floats, channels: int) -> Correction:
        """Read what `to_numbers` wrote.

        Raises:
            ValueError: if there are not as many numbers as that takes.
        """
        shapes = [(channels, _TERMS), (channels, _TERMS, _TERMS), (channels,), (channels,)]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        if len(numbers) != ends[-1]:
            raise ValueError(f"a correction has {ends[-1]} numbers, not {len(numbers)}")
        parts = np.split(numbers, ends[:-1])
        return cls(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))


def corrected(correction: Correction, middle: Floats, latest: Floats) -> tuple[Floats, Floats]:
    """What is expected of the next values.

    Args:
        correction: What was learned so far.
        middle: What the network expects, shape (C,).
        latest: The latest values, shape (C,).

    Returns:
        The expectation, shape (C,), and the terms that make it up, (C, F).
    """
    terms = np.stack([middle, latest - middle, correction.error, np.ones_like(middle)], axis=1)
    return (correction.weights * terms).sum(axis=1), terms


def follow(
    correction: Correction, terms: Floats, spread: Floats, error: Floats, own_error: Floats
) -> Correction:
    """Learn from the values that came.

    Args:
        correction: What was learned before.
        terms: Those of `corrected`.
        spread: How exact the network's expectation was, shape (C,).
        error: Values less the corrected expectation, shape (C,); NaN where missing.
        own_error: Values less the network's own expectation, likewise.
    """
    known = np.isfinite(error)
    relative = np.where(known, error, 0.0) / spread
    limit = _OUTLYING * correction.scale
    weight = limit / np.maximum(limit, np.abs(relative))
    scaled = terms / spread[:, None]
    direction = (correction.doubt @ scaled[:, :, None])[:, :, 0]
    certain = _KEPT + weight * (scaled * direction).sum(axis=1)
    gain = direction * (weight / certain)[:, None]
    doubt = (correction.doubt - gain[:, :, None] * direction[:, None, :]) / _KEPT
    total = np.trace(doubt, axis1=1, axis2=2)
    doubt = doubt * np.minimum(1.0, _MOST_DOUBT / total)[:, None, None]
    size = 1.25 * np.minimum(np.abs(relative), (_OUTLYING + 1) * correction.scale)
    scale = correction.scale + _SCALE_RATE * (size - correction.scale)
    return Correction(
        np.where(known[:, None], correction.weights + gain * relative[:, None], correction.weights),
        np.where(known[:, None, None], doubt, correction.doubt),
        np.where(known, own_error, correction.error),
        np.where(known, scale, correction.scale),
    )
