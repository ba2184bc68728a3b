from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.errors import UsageError
from noria.features.series import Columns, Frequency, Series, SeriesTable, season_lengths


def table_of(start: str | int, freq: str, month_end: bool = False) -> tuple[SeriesTable, Series]:
    origin = start if isinstance(start, int) else np.datetime64(start, "us")
    series = Series("a", origin, np.ones(3), np.empty((3, 0)), np.empty((5, 0)), np.empty(0))
    return SeriesTable((series,), Columns(), freq, {}, (), (), (), month_end), series


@pytest.mark.parametrize(
    ("start", "freq", "month_end", "first", "expected"),
    [
        ("2024-01-31", "1mo", False, 0, ["2024-01-31", "2024-02-29", "2024-03-31"]),
        ("2023-02-28", "1mo", True, 0, ["2023-02-28", "2023-03-31", "2023-04-30"]),
        ("2023-02-28", "1mo", False, 0, ["2023-02-28", "2023-03-28", "2023-04-28"]),
        ("2023-11-15T06", "1q", False, -1, ["2023-08-15T06", "2023-11-15T06", "2024-02-15T06"]),
        ("2024-02-29", "1y", False, 1, ["2025-02-28", "2026-02-28", "2027-02-28"]),
        ("1960-03-31", "1mo", True, -1, ["1960-02-29", "1960-03-31", "1960-04-30"]),
        ("2024-12-30", "1w", False, 1, ["2025-01-06", "2025-01-13", "2025-01-20"]),
        (
            "2024-12-31T23:30",
            "30m",
            False,
            0,
            ["2024-12-31T23:30", "2025-01-01", "2025-01-01T00:30"],
        ),
    ],
)
def test_timestamps_of_a_calendar(
    start: str, freq: str, month_end: bool, first: int, expected: list[str]
) -> None:
    table, series = table_of(start, freq, month_end)
    times = table.timestamps(series, first, 3)
    assert times.dtype == np.dtype("datetime64[us]")
    np.testing.assert_array_equal(times, np.array(expected, "datetime64[us]"))


def test_timestamps_of_integer_time() -> None:
    table, series = table_of(10, "5")
    assert table.timestamps(series, 3, 2).tolist() == [25, 30]
    assert table.n_rows == 3


@given(
    start=st.datetimes().filter(lambda t: 1700 < t.year < 2200),
    months=st.sampled_from(["1mo", "2mo", "1q", "1y"]),
    positions=st.lists(st.integers(0, 400), min_size=1, max_size=20),
)
def test_positions_invert_at(start: object, months: str, positions: list[int]) -> None:
    frequency = Frequency.parse(months)
    origins = np.full(len(positions), np.datetime64(start, "us").astype(np.int64))
    steps = np.array(positions)
    found, fits = frequency.positions(frequency.at(origins, steps), origins)
    np.testing.assert_array_equal(found, steps)
    assert fits.all()


def test_a_timestamp_off_the_grid_does_not_fit() -> None:
    times = np.array(["2024-01-01", "2024-02-02"], "datetime64[us]").astype(np.int64)
    assert Frequency.parse("1mo").positions(times, times[[0, 0]])[1].tolist() == [True, False]
    assert Frequency.parse("1d").positions(times, times[[0, 0]])[0].tolist() == [0, 32]


@pytest.mark.parametrize(
    ("freq", "seasons"),
    [
        ("1s", (3600,)),
        ("1m", (1440,)),
        ("5m", (288, 2016)),
        ("10m", (144, 1008)),
        ("15m", (96, 672)),
        ("30m", (48, 336)),
        ("1h", (24, 168)),
        ("7h", (24,)),
        ("1d", (7,)),
        ("2d", ()),
        ("1w", (52,)),
        ("7d", (52,)),
        ("1mo", (12,)),
        ("1q", (4,)),
        ("3mo", (4,)),
        ("1y", ()),
        ("1", ()),
    ],
)
def test_season_lengths(freq: str, seasons: tuple[int, ...]) -> None:
    assert season_lengths(freq) == seasons


@pytest.mark.parametrize("freq", ["", "h", "0h", "1H", "-1d", "1.5h", "hourly"])
def test_a_text_that_is_no_frequency(freq: str) -> None:
    with pytest.raises(UsageError, match="is not a whole number and one of us, ms, s, m"):
        Frequency.parse(freq)


@pytest.mark.parametrize(
    "freq", ["1us", "3ms", "90s", "1m", "2h", "1d", "3w", "1mo", "1q", "5mo", "2y", "7"]
)
def test_a_frequency_reads_what_it_writes(freq: str) -> None:
    assert str(Frequency.parse(freq)) == freq


def test_a_column_is_named_once() -> None:
    with pytest.raises(UsageError, match="column 'a' is named twice: as past and as future"):
        Columns(past=("a",), future=("b", "a"))
    with pytest.raises(UsageError, match="column 'y' is named twice: as time and as target"):
        Columns(time="y")
    with pytest.raises(UsageError, match="past takes a tuple of names, not 'load'"):
        Columns(past="load")  # type: ignore[arg-type]
    assert Columns(past=["a"], static=["s"]).covariates == ("a", "s")  # type: ignore[arg-type]
