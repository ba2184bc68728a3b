from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.errors import DataError
from noria.features.series import Columns, Series, SeriesTable
from noria.training.split import split_series


def table(*lengths: int) -> SeriesTable:
    def series(number: int, length: int) -> Series:
        empty = np.empty((length, 0))
        return Series(f"s{number}", 0, np.arange(length) * 1.0, empty, empty, np.empty(0))

    every = tuple(series(number, length) for number, length in enumerate(lengths))
    return SeriesTable(every, Columns(), "1", {}, (), (), ())


def test_a_split_by_hand() -> None:
    split = split_series(table(100, 13), 4, (7,), validation_windows=2, test_windows=3)
    # the second series needs 20 steps held out, a horizon and a season: it is all for training
    assert split.train_ends.tolist() == [80, 13]
    assert split.validation_ends.tolist() == [88, 13]
    assert split.test_ends.tolist() == [100, 13]
    assert (split.validation_windows, split.test_windows) == (2, 3)
    test = split.test_origins(4)
    assert test.series.tolist() == [0, 0, 0]
    assert test.t.tolist() == [87, 91, 95]
    assert test.ends.tolist() == [100] * 3
    validation = split.validation_origins(4)
    assert validation.t.tolist() == [79, 80, 81, 82, 83]
    assert validation.ends.tolist() == [88] * 5
    assert set(validation.series.tolist()) == {0}


def test_validation_forecasts_begin_eight_times_a_horizon() -> None:
    split = split_series(table(400), 32, (), validation_windows=2, test_windows=1)
    assert split.validation_origins(32).t.tolist() == list(range(303, 336, 4))


@pytest.mark.parametrize(
    ("length", "horizon", "windows"),
    [(59, 5, 1), (99, 5, 1), (100, 5, 2), (449, 5, 8), (5000, 5, 10), (30, 10, 1)],
)
def test_a_tenth_of_the_data_is_held_out(length: int, horizon: int, windows: int) -> None:
    if length < 3 * horizon + 2:
        length = 3 * horizon + 2
    split = split_series(table(length), horizon, (), None, None)
    assert (split.validation_windows, split.test_windows) == (windows, windows)


def test_nothing_is_held_out_for_a_comparison_if_so_wished() -> None:
    split = split_series(table(50), 5, (), 1, 0)
    assert split.train_ends.tolist() == [45]
    assert len(split.test_origins(5)) == 0


def test_just_long_enough() -> None:
    for seasons, season in [((), 2), ((7, 30), 7)]:
        needed = 5 * 4 + 4 + season
        assert split_series(table(needed), 4, seasons, 2, 3).train_ends.tolist() == [4 + season]
        with pytest.raises(DataError, match=f"needs at least {needed}"):
            split_series(table(needed - 1), 4, seasons, 2, 3)


def test_too_short_series_are_named() -> None:
    with pytest.raises(DataError) as caught:
        split_series(table(9, 12, 11), 4, (7,), 1, 1)
    assert str(caught.value) == (
        "series 's1' has 12 time steps and is the longest; a horizon of 4 with 1 windows for"
        " validation and 1 for the comparison and a season of 7 needs at least 19: give more data"
        " or a shorter horizon or season"
    )
    with pytest.raises(DataError, match=r"^series 's0' has 9 time steps; a horizon of 4"):
        split_series(table(9), 4, (7,), 1, 1)


lengths = st.lists(st.integers(1, 300), min_size=1, max_size=6)


@given(lengths, st.integers(1, 12), st.integers(1, 3), st.integers(0, 3))
def test_the_three_parts_follow_each_other(
    lengths: list[int], horizon: int, validation: int, test: int
) -> None:
    try:
        split = split_series(table(*lengths), horizon, (), validation, test)
    except DataError:
        return
    assert (split.train_ends >= 1).all()
    assert (split.train_ends <= split.validation_ends).all()
    assert (split.validation_ends <= split.test_ends).all()
    assert split.test_ends.tolist() == lengths
    held_out(split, split.validation_origins(horizon), horizon, "validation")
    held_out(split, split.test_origins(horizon), horizon, "test")


def held_out(split: Any, origins: Any, horizon: int, part: str) -> None:
    firsts = split.train_ends if part == "validation" else split.validation_ends
    ends = split.validation_ends if part == "validation" else split.test_ends
    assert (origins.t + 1 >= firsts[origins.series]).all()
    assert (origins.t + horizon < ends[origins.series]).all()
    np.testing.assert_array_equal(origins.ends, ends[origins.series])
    if part == "test":
        assert len(origins) == ((ends - firsts) // horizon).sum()


def test_the_first_half_stops_and_the_second_calibrates() -> None:
    split = split_series(table(100, 13), 4, (7,), validation_windows=13, test_windows=3)
    assert split.train_ends.tolist() == [36, 13]
    early, late = split.halves(split.validation_origins(4), 4)
    assert early.t.tolist() == list(range(35, 56))  # targets from 36 up to, not including, 60
    assert late.t.tolist() == list(range(59, 84))  # targets from 60 on
    few = split_series(table(100), 4, (7,), validation_windows=11, test_windows=3)
    whole = few.validation_origins(4)
    assert few.halves(whole, 4) == (whole, whole)
    many = split_series(table(*[100] * 20), 4, (7,), validation_windows=3, test_windows=3)
    early, late = many.halves(many.validation_origins(4), 4)
    assert early.t.tolist() == [75] * 20
    assert late.t.tolist() == [79, 80, 81, 82, 83] * 20


def test_no_half_is_empty() -> None:
    split = split_series(table(200), 4, (7,), validation_windows=20, test_windows=3)
    whole = split.validation_origins(4)
    middle = int(whole.t.mean())
    for part in (whole[whole.t < middle - 4], whole[whole.t > middle + 4]):
        assert len(part) > 20
        assert split.halves(part, 4) == (part, part)
