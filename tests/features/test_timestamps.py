from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from noria.features.timestamps import TimestampError, parse_timestamps


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-01-31", "2024-02-01"], ["2024-01-31", "2024-02-01"]),
        (["2024-01-31 05", "2024-01-31T05:06"], ["2024-01-31T05", "2024-01-31T05:06"]),
        (["2024-01-31 05:06:07.25"], ["2024-01-31T05:06:07.250"]),
        (["2024-01-31 05:06:07.123456789"], ["2024-01-31T05:06:07.123457"]),
        (["2024/1/31 5:06"], ["2024-01-31T05:06"]),
        (["20240131", "20240201"], ["2024-01-31", "2024-02-01"]),
        (["2024-01", "2024-02"], ["2024-01-01", "2024-02-01"]),
        (["2024Q1", "2024-Q4"], ["2024-01-01", "2024-10-01"]),
        (["31.1.2024 23:59:59"], ["2024-01-31T23:59:59"]),
        (["01/02/2024", "31/01/2024"], ["2024-02-01", "2024-01-31"]),
        (["01/02/2024", "01/31/2024"], ["2024-01-02", "2024-01-31"]),
        (["1/31/2024 5:06 PM", "1/31/2024 12:06 AM"], ["2024-01-31T17:06", "2024-01-31T00:06"]),
        (["January 31, 2024"], ["2024-01-31"]),
        (["31 Jan 2024"], ["2024-01-31"]),
        (["31-Jan-2024"], ["2024-01-31"]),
        (["Jan 2024"], ["2024-01-01"]),
        (["1969-12-31 23:00"], ["1969-12-31T23"]),
        (
            ["2024-03-31T01:30:00+01:00", "2024-03-31T03:30:00+0200", "2024-03-31 00:30Z"],
            ["2024-03-31T00:30", "2024-03-31T01:30", "2024-03-31T00:30"],
        ),
        (["2024-01-01 00:00 -05:30", "2024-01-01 00:00 UTC"], ["2024-01-01T05:30", "2024-01-01"]),
    ],
)
def test_dates(texts: list[str], expected: list[str]) -> None:
    parsed = parse_timestamps(pl.Series(texts))
    assert not parsed.integer
    np.testing.assert_array_equal(
        parsed.values.astype("datetime64[us]"), np.array(expected, "datetime64[us]")
    )


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(["1", "+2", "-3"], [1, 2, -3]), (["1.0", "2."], [1, 2]), (["20241301"], [20241301])],
)
def test_step_numbers(texts: list[str], expected: list[int]) -> None:
    parsed = parse_timestamps(pl.Series(texts))
    assert parsed.integer
    assert parsed.values.tolist() == expected


@pytest.mark.parametrize(
    ("texts", "row", "reason"),
    [
        (["2024-01-01", "2024-02-30"], 1, "'2024-02-30' is not a timestamp, or not written as"),
        (["2024-01-01", "yesterday"], 1, "'yesterday' is not a timestamp, or not written as"),
        (["1/2/24"], 0, "'1/2/24' is not a timestamp"),
        (["1", "2", "three"], 2, "'three' is not a step number, as the others are"),
        (["1", "2", "9" * 20], 2, "is not a step number"),
        (["2024-01-01 24:00"], 0, "has an hour, minute or second that no clock shows"),
        (["2024-01-01 1:60"], 0, "has an hour, minute or second that no clock shows"),
        (["2024-01-01 13:00 PM"], 0, "has an hour, minute or second that no clock shows"),
        (["01/02/2024", "02/02/2024"], 0, "'01/02/2024' can be read day first or month first"),
        (
            ["2024-01-01 00:00", "2024-01-01 01:00Z"], 1,
            "'2024-01-01 01:00Z' mixes time zones: it has one and '2024-01-01 00:00' has none",
        ),
    ],
)  # fmt: skip
def test_texts_that_cannot_be_read(texts: list[str], row: int, reason: str) -> None:
    with pytest.raises(TimestampError) as caught:
        parse_timestamps(pl.Series(texts))
    assert caught.value.row == row
    assert reason in caught.value.reason
