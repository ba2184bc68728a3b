"""Features as a series goes on: any stretches give the bits of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from noria.features.running import Past, Stretch, observe

NAN = float("nan")
SEASONS = [(), (2,), (3,), (2, 5), (7, 9, 30)]

values = st.floats(-1e6, 1e6) | st.just(NAN) | st.just(0.0)


@st.composite
def cut_series(draw: st.DrawFn) -> tuple[NDArray[np.float64], list[int]]:
    y = [draw(values.filter(np.isfinite)), *draw(st.lists(values, max_size=120))]
    return np.array(y), sorted(draw(st.lists(st.integers(1, len(y)), max_size=12)))


def bits(stretch: Stretch) -> list[bytes]:
    return [part.tobytes() for part in (stretch.last, stretch.level, stretch.scale, stretch.inputs)]


def held(past: Past) -> list[bytes]:
    numbers = np.array([past.first, past.last, past.moved, past.seasonal, past.spread])
    return [part.tobytes() for part in (numbers, past.y, past.level, *past.filled)]


@given(cut_series(), st.sampled_from(SEASONS))
@settings(max_examples=200, deadline=None)
def test_any_stretches_are_the_whole(
    series: tuple[NDArray[np.float64], list[int]], seasons: tuple[int, ...]
) -> None:
    y, cuts = series
    whole = observe(Past.empty(seasons), y, seasons)
    past, parts = Past.empty(seasons), []
    for piece in np.split(y, cuts):
        if len(piece):
            stretch = observe(past, piece, seasons)
            past = stretch.past
            parts.append(bits(stretch))
            sizes = (len(past.y), len(past.level), *(len(part) for part in past.filled))
            assert sizes == Past.sizes(past.steps, seasons)
    assert [b"".join(column) for column in zip(*parts, strict=True)] == bits(whole)
    assert past.steps == whole.past.steps == len(y)
    assert held(past) == held(whole.past)


@given(cut_series(), st.sampled_from(SEASONS))
@settings(max_examples=100, deadline=None)
def test_the_level_is_the_mean_of_the_last_season(
    series: tuple[NDArray[np.float64], list[int]], seasons: tuple[int, ...]
) -> None:
    y, _ = series
    window = seasons[0] if seasons else 8
    level = observe(Past.empty(seasons), y, seasons).level
    for t in range(len(y)):
        seen = y[max(0, t - window + 1) : t + 1]
        seen = seen[np.isfinite(seen)]
        if len(seen):
            np.testing.assert_allclose(level[t], seen.mean(), rtol=1e-9, atol=1e-8)


def test_what_is_held_stops_growing() -> None:
    seasons = (4, 12)
    past = Past.empty(seasons)
    sizes = []
    for step in range(200):
        past = observe(past, np.array([float(step % 7)]), seasons).past
        sizes.append(sum(len(part) for part in (past.y, past.level, *past.filled)))
    assert max(sizes) <= 2 * 4 + 12 + 3 * 4 + 3 * 12
    assert max(sizes[100:]) == max(sizes)


def test_the_level_of_a_long_series_does_not_drift() -> None:
    """Far from the first value it is still the mean of the last four, to the bit."""
    y = np.full(200_000, 1e6) + np.arange(200_000) % 4
    y[0] = 0.0
    stretch = observe(Past.empty((4,)), y, (4,))
    assert (stretch.level[4:] == 1e6 + 1.5).all()


def test_what_is_held_cannot_be_written() -> None:
    past = observe(Past.empty((2,)), np.arange(9.0), (2,)).past
    for array in (past.y, past.level, *past.filled):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
