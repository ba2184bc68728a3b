from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from noria.errors import DataError, UsageError
from noria.features.channels import ChannelTable, read_channels, require_observed

TEXT = """when,a,b,bad
2024-01-01 02:00,3,,0
2024-01-01 00:00,1,10,1
2024-01-01 01:00,NA,20,1
"""


@pytest.fixture
def table(tmp_path: Path) -> ChannelTable:
    (tmp_path / "t.csv").write_text(TEXT)
    return read_channels(tmp_path / "t.csv", time="when", value=("a", "b"), label="bad")


def test_rows_come_in_order_of_time(table: ChannelTable) -> None:
    assert [str(stamp)[11:16] for stamp in table.times] == ["00:00", "01:00", "02:00"]
    np.testing.assert_array_equal(table.values, [[1, 10], [np.nan, 20], [3, np.nan]])
    assert table.names == ("a", "b")
    assert table.labels is not None
    assert table.labels.tolist() == [True, True, False]
    assert table.first(2).values.tolist()[0] == [1, 10]


def test_events_are_rows_as_a_stream_has_them(table: ChannelTable) -> None:
    assert table.events("when")[1:] == [
        {"when": "2024-01-01T01:00:00.000000", "a": None, "b": 20.0},
        {"when": "2024-01-01T02:00:00.000000", "a": 3.0, "b": None},
    ]


def test_steps_and_equal_times() -> None:
    frame = pl.DataFrame({"t": [5, 1, 5], "x": [1.0, 2.0, 3.0]})
    table = read_channels(frame, time="t", value=("x",))
    assert table.times.tolist() == [1, 5, 5]
    assert table.values[:, 0].tolist() == [2, 1, 3]
    assert table.events("t")[0] == {"t": 1, "x": 2.0}
    other = read_channels(frame.with_columns(x=pl.Series([1.0, 2.0, 4.0])), time="t", value=("x",))
    assert table.sha256() != other.sha256()


def streams(*starts: int) -> pl.DataFrame:
    """Twenty events of a stream each."""
    times = [start + step for start in starts for step in range(20)]
    return pl.DataFrame({"t": times, "x": [float(time) for time in times]})


def test_a_few_equal_times_are_those_of_a_burst() -> None:
    for frame in (streams(0, 11), streams(0)[[*range(20), 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]]):
        table = read_channels(frame, time="t", value=("x",))
        assert len(table) == len(frame)
        assert (np.diff(table.times) >= 0).all()
    one = streams(0).with_columns(unique_id=pl.lit("a"))
    assert len(read_channels(one, time="t", value=("x",))) == 20


def test_rows_of_one_stream_may_stand_in_any_order() -> None:
    frame = streams(0, 20, 40, 60)
    late = list(range(80))
    for row in range(7, 80, 9):
        late.insert(row + 3, late.pop(row))
    swapped = [*range(40, 80), *range(40)]
    for rows in (late, swapped, list(range(80))[::-1], np.random.default_rng(0).permutation(80)):
        table = read_channels(frame[rows], time="t", value=("x",))
        np.testing.assert_array_equal(table.times, np.arange(80))


BAD: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "no channel": (
        lambda: read_channels(pl.DataFrame({"t": [1]}), time="t", value=()),
        UsageError,
        "value names no column",
    ),
    "a channel twice": (
        lambda: read_channels(streams(0), time="t", value=("x", "x")),
        UsageError,
        "column 'x' is named twice: as value and as value",
    ),
    "the time among the channels": (
        lambda: read_channels(streams(0), time="t", value=("x", "t")),
        UsageError,
        "column 't' is named twice: as time and as value",
    ),
    "a channel as label": (
        lambda: read_channels(streams(0), time="t", value=("x",), label="x"),
        UsageError,
        "column 'x' is named twice: as value and as label",
    ),
    "no such column": (
        lambda: read_channels(pl.DataFrame({"t": [1], "x": [1]}), time="t", value=("y",)),
        DataError,
        "no column 'y'",
    ),
    "several streams": (
        lambda: read_channels(streams(0, 0), time="t", value=("x",)),
        DataError,
        "rows 0 and 20, column 't': both are of one time, as most are: is it several streams",
    ),
    "several streams that overlap": (
        lambda: read_channels(streams(0, 5), time="t", value=("x",)),
        DataError,
        "rows 5 and 20, column 't': both are of one time",
    ),
    "several streams whose times never coincide": (
        lambda: read_channels(
            streams(0, 0).with_columns(t=2 * pl.col("t") + pl.int_range(40) // 20),
            time="t",
            value=("x",),
        ),
        DataError,
        "row 20, column 't': begins anew at a time amid the rows before: is it several streams",
    ),
    "several ids": (
        lambda: read_channels(
            streams(0, 50).with_columns(unique_id=pl.int_range(40) // 20), time="t", value=("x",)
        ),
        DataError,
        "column 'unique_id': holds 2 streams, such as '0' and '1'; a detector watches one",
    ),
    "a label of two": (
        lambda: read_channels(
            pl.DataFrame({"t": [1, 2], "x": [1, 1], "l": [0, 2]}), time="t", value=("x",), label="l"
        ),
        DataError,
        "a label is 1 at an anomaly, else 0",
    ),
    "a channel that is empty": (
        lambda: require_observed(
            read_channels(
                pl.DataFrame({"t": [1, 2], "x": [1.0, 1.0], "y": [None, None]}).cast(
                    {"y": pl.Float64}
                ),
                time="t",
                value=("x", "y"),
            )
        ),
        DataError,
        "'y': has no value",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_says_what_is_wrong(case: str) -> None:
    call, error, words = BAD[case]
    with pytest.raises(error, match=words):
        call()
