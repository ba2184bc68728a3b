from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noria.errors import DataError
from noria.features.series import Columns, SeriesTable
from noria.features.table import read_table

NAN = float("nan")


def assert_same(one: SeriesTable, other: SeriesTable) -> None:
    assert one.freq == other.freq
    assert one.columns == other.columns
    assert one.categories == other.categories
    assert one.past_names == other.past_names
    assert one.future_names == other.future_names
    assert one.static_names == other.static_names
    assert one.month_end == other.month_end
    assert len(one.series) == len(other.series)
    for a, b in zip(one.series, other.series, strict=True):
        assert (a.id, a.start) == (b.id, b.start)
        for name in ("y", "past", "future", "static"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_two_series_of_unequal_length_in_any_order(csv: Any) -> None:
    table = read_table(
        csv(
            "unique_id,ds,y\n"
            "b,2024-01-01 02:00,30\n"
            "a,2024-01-01 05:00,6\n"
            "b,2024-01-01 00:00,10\n"
            "a,2024-01-01 04:00,5\n"
            "b,2024-01-01 01:00,20\n"
        )
    )
    assert table.freq == "1h"
    assert table.columns == Columns(id="unique_id")
    assert [series.id for series in table.series] == ["a", "b"]
    assert [series.y.tolist() for series in table.series] == [[5, 6], [10, 20, 30]]
    assert table.series[0].start == np.datetime64("2024-01-01T04:00")
    assert table.n_rows == 5
    assert table.series[1].past.shape == (3, 0)
    assert table.series[1].future.shape == (3, 0)
    assert table.series[1].static.shape == (0,)
    np.testing.assert_array_equal(
        table.timestamps(table.series[0], 2, 1), np.array(["2024-01-01T06"], "datetime64[us]")
    )


def test_covariates_of_every_kind(csv: Any) -> None:
    table = read_table(
        csv(
            "shop,day,sales,rain,sky,holiday,size,town\n"
            "s1,2024-01-01,1,0.5,grey,0,10,Rome\n"
            "s1,2024-01-02,2,NA,blue,1,10,Rome\n"
            "s1,2024-01-04,,,null,0,,Rome\n"
            "s1,2024-01-05,,,,1,10,Rome\n"
            "s2,2024-01-01,7,1.5,blue,0,20,Bari\n"
        ),
        Columns(
            time="day", target="sales", id="shop",
            past=("rain", "sky"), future=("holiday",), static=("size", "town"),
        ),
    )  # fmt: skip
    one, two = table.series
    assert table.past_names == ("rain", "sky=blue", "sky=grey")
    assert table.future_names == ("holiday",)
    assert table.static_names == ("size", "town=Bari", "town=Rome")
    assert table.categories == {"sky": ("blue", "grey"), "town": ("Bari", "Rome")}
    assert one.y.tolist() == [1, 2]
    np.testing.assert_array_equal(one.past, [[0.5, 0, 1], [NAN, 1, 0]])
    np.testing.assert_array_equal(one.future, [[0], [1], [NAN], [0], [1]])
    assert one.static.tolist() == [10, 0, 1]
    assert two.past.tolist() == [[1.5, 1, 0]]
    assert two.future.tolist() == [[0]]
    assert two.static.tolist() == [20, 1, 0]


def test_categories_of_a_model_are_kept(csv: Any) -> None:
    path = csv("ds,y,sky\n1,1,blue\n2,2,green\n3,3,\n4,4,grey\n")
    categories = {"sky": ("grey", "blue")}
    table = read_table(path, Columns(past=("sky",)), categories=categories)
    assert table.categories == categories
    assert table.past_names == ("sky=grey", "sky=blue")
    np.testing.assert_array_equal(table.series[0].past, [[0, 1], [0, 0], [NAN, NAN], [1, 0]])
    with pytest.raises(DataError, match="row 2, column 'sky': 'blue' is not a number"):
        read_table(path, Columns(past=("sky",)), categories={})


@pytest.mark.parametrize("word", ["", "NA", "NaN", "nan", "null", "None", " ", "N/A", "#N/A"])
def test_a_missing_target(csv: Any, word: str) -> None:
    table = read_table(csv(f"ds,y\n1,1\n2,{word}\n3,3\n"))
    np.testing.assert_array_equal(table.series[0].y, [1, NAN, 3])


def test_a_gap_is_filled_and_weekends_are_missing(csv: Any) -> None:
    # Thursday, Friday, Monday, Tuesday
    table = read_table(csv("ds,y\n2024-01-04,1\n2024-01-05,2\n2024-01-08,3\n2024-01-09,4\n"))
    assert table.freq == "1d"
    np.testing.assert_array_equal(table.series[0].y, [1, 2, NAN, NAN, 3, 4])


def test_a_leading_gap_stays(csv: Any) -> None:
    table = read_table(csv("ds,y\n1,\n2,2\n"))
    np.testing.assert_array_equal(table.series[0].y, [NAN, 2])
    assert table.series[0].start == 1


@pytest.mark.parametrize(
    ("times", "freq"),
    [
        (["1", "2", "4"], "1"),
        (["10", "20", "30", "50"], "10"),
        (["2010", "2011", "2012"], "1"),
        (["2024-01-01 00:00", "2024-01-01 00:30", "2024-01-01 01:00"], "30m"),
        (["2024-01-01 00:00:00", "2024-01-01 00:00:10"], "10s"),
        (["2024-01-01", "2024-01-08", "2024-01-15"], "1w"),
        (["2024-01-31", "2024-02-29", "2024-03-31"], "1mo"),
        (["2024-01-31", "2024-02-29", "2024-03-31", "2024-05-31"], "1mo"),
        (["2023-01-15", "2023-02-15", "2023-03-15"], "1mo"),
        (["2023-01-30", "2023-02-28", "2023-03-30"], "1mo"),
        (["2023-01-01", "2023-04-01", "2023-07-01"], "1q"),
        (["2023Q1", "2023Q2", "2023Q4"], "1q"),
        (["2020-02-29", "2021-02-28", "2022-02-28"], "1y"),
        (["2023-01-01", "2023-01-29", "2023-02-26", "2023-03-26"], "4w"),
    ],
)
def test_the_frequency_is_inferred(csv: Any, times: list[str], freq: str) -> None:
    rows = "".join(f"{time},{number}\n" for number, time in enumerate(times))
    table = read_table(csv("ds,y\n" + rows))
    assert table.freq == freq
    y = table.series[0].y
    assert y[~np.isnan(y)].tolist() == list(range(len(times)))
    count = len(y)
    grid = table.timestamps(table.series[0], 0, count)[~np.isnan(y)]
    if grid.dtype.kind == "M" and "Q" not in times[0]:
        np.testing.assert_array_equal(grid, np.array(times, "datetime64[us]"))


def test_the_ends_of_months_stay_ends(csv: Any) -> None:
    table = read_table(csv("ds,y\n2023-02-28,1\n2023-03-31,2\n2023-04-30,3\n"))
    assert table.month_end
    np.testing.assert_array_equal(
        table.timestamps(table.series[0], 3, 2), np.array(["2023-05-31", "2023-06-30"], "M8[us]")
    )


def test_freq_overrides(csv: Any) -> None:
    path = csv("ds,y\n2024-01-01,1\n2024-01-03,3\n")
    assert read_table(path).freq == "2d"
    table = read_table(path, freq="1d")
    assert table.freq == "1d"
    np.testing.assert_array_equal(table.series[0].y, [1, NAN, 3])


def test_a_date_in_several_columns(csv: Any) -> None:
    path = csv("year,month,day,hour,y\n2024,2,28,23,1\n2024,2,29,0,2\n")
    table = read_table(path, Columns(time="year,month,day,hour"))
    assert table.series[0].start == np.datetime64("2024-02-28T23")
    assert table.freq == "1h"
    path = csv("date,time,y\n31.1.2024,23:30,1\n1.2.2024,00:00,2\n")
    assert read_table(path, Columns(time="date, time")).freq == "30m"


def test_time_zones_become_utc(csv: Any) -> None:
    table = read_table(
        csv("ds,y\n2024-03-31T01:00+01:00,1\n2024-03-31T03:00+02:00,2\n2024-03-31T02:00Z,3\n")
    )
    assert table.freq == "1h"
    assert table.series[0].start == np.datetime64("2024-03-31T00:00")
    assert (table.zone, table.wall) == ("UTC", False)
    assert read_table(csv("ds,y\n2024-03-31T01:00,1\n2024-03-31T02:00,2\n")).zone is None


def test_midnights_of_a_zone_are_days() -> None:
    """The day on which the clocks go forward has 23 hours."""
    days = ["2024-03-30", "2024-03-31", "2024-04-01"]
    aware = pl.Series(days).str.to_datetime().dt.replace_time_zone("Europe/Rome")
    for frame in (
        pl.DataFrame({"ds": aware, "y": [1.0] * 3}),
        pd.DataFrame({"ds": pd.to_datetime(days).tz_localize("Europe/Rome"), "y": [1.0] * 3}),
    ):
        table = read_table(frame)
        assert (table.freq, table.zone, table.wall) == ("1d", "Europe/Rome", True)
        assert table.series[0].start == np.datetime64("2024-03-30")


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz", "t.parquet", "T.CSV"])
def test_files_of_every_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    frame = pl.DataFrame({"ds": [1, 2], "y": [1.5, None], "sky": ["a,b", 'c "d"\ne']})
    if name.endswith("parquet"):
        frame.write_parquet(path)
    else:
        text = frame.write_csv(separator="\t" if "tsv" in name else ",").encode()
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    columns = Columns(future=("sky",))
    table = read_table(path, columns)
    assert table.categories == {"sky": ("a,b", 'c "d"\ne')}
    assert table.series[0].y.tolist() == [1.5]
    assert_same(table, read_table(frame, columns))


def test_a_file_of_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "european.csv"
    path.write_bytes("\ufeffds;y;x\r\n31.12.2023;1,5;2\r\n\r\n01.01.2024;-2,5;3\r\n;;\r\n".encode())
    table = read_table(path, Columns(past=("x",)))
    assert table.series[0].y.tolist() == [1.5, -2.5]
    assert table.freq == "1d"


FRAME = {
    "id": ["a", "a", "b", "b"],
    "ds": [datetime(2024, 1, 1), datetime(2024, 1, 2), datetime(2024, 1, 1), datetime(2024, 1, 3)],  # noqa: DTZ001
    "y": [1.0, None, 3.0, 4.0],
    "n": [1, None, 3, 4],
    "sky": ["blue", None, "grey", "blue"],
    "open": [True, False, True, False],
}


def in_rome(frame: pd.DataFrame) -> Any:
    return frame["ds"].dt.tz_localize("UTC").dt.tz_convert("Europe/Rome")


COLUMNS = Columns(id="id", past=("n", "sky"), future=("open",))


@pytest.mark.parametrize(
    "build",
    [
        pl.DataFrame,
        pl.LazyFrame,
        pa.table,
        pd.DataFrame,
        lambda data: pd.DataFrame(data).convert_dtypes(),
        lambda data: pd.DataFrame(data).astype({"sky": "category", "id": "category"}),
        lambda data: pd.DataFrame(data).assign(ds=lambda f: f["ds"].dt.date),
        lambda data: pd.DataFrame(data).assign(ds=in_rome),
        lambda data: pl.DataFrame(data).with_columns(pl.col("ds").cast(pl.Datetime("ns", "UTC"))),
        lambda data: pl.DataFrame(data).with_columns(
            pl.col("ds").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Rome")
        ),
        lambda data: pl.DataFrame(data).with_columns(pl.col("ds").cast(pl.Date)),
        lambda data: pl.DataFrame(data).with_columns(pl.col("ds").cast(pl.String)),
        lambda data: pl.DataFrame(data).with_columns(pl.col("sky").cast(pl.Categorical)),
    ],
)  # fmt: skip
def test_any_data_frame(csv: Any, build: Any) -> None:
    text = pl.DataFrame(FRAME).write_csv().replace("true", "1").replace("false", "0")
    assert_same(read_table(build(FRAME), COLUMNS), read_table(csv(text), COLUMNS))


def test_the_default_id_is_left_to_a_covariate(csv: Any) -> None:
    table = read_table(csv("unique_id,ds,y\n5,1,1\n5,2,2\n"), Columns(static=("unique_id",)))
    assert table.series[0].id == "y"
    assert table.columns.id is None
    assert table.series[0].static.tolist() == [5]


ROWS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.integers(0, 30), st.one_of(st.none(), st.floats(-9, 9)),
        st.one_of(st.none(), st.sampled_from(["red", "blue"])),
    ),
    min_size=2, max_size=30, unique_by=lambda row: row[:2],
)  # fmt: skip


def frame_of(rows: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["unique_id", "ds", "y", "x"], orient="row").cast(
        {"y": pl.Float64, "x": pl.String, "ds": pl.Int64, "unique_id": pl.String}
    )


def usable(rows: list[Any]) -> list[Any]:
    """Give each series an observed target at its last row."""
    last = {name: max(row[1] for row in rows if row[0] == name) for name in {r[0] for r in rows}}
    return [
        (name, time, 1.0 if time == last[name] and y is None else y, x) for name, time, y, x in rows
    ]


@given(rows=ROWS, data=st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_order_of_rows_does_not_matter(rows: list[Any], data: st.DataObject) -> None:
    rows = usable(rows)
    columns = Columns(past=("x",), future=("x2",))
    frame = frame_of(rows).with_columns(x2=pl.col("x").is_null())
    order = data.draw(st.permutations(range(len(rows))))
    assert_same(
        read_table(frame, columns, freq="1"), read_table(frame[list(order)], columns, freq="1")
    )


@given(rows=ROWS)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_gap_is_a_row_of_missing_values(rows: list[Any]) -> None:
    rows = usable(rows)
    there = {row[:2] for row in rows}
    filled = list(rows)
    for name in "ab":
        times = [row[1] for row in rows if row[0] == name]
        absent = set(range(min(times), max(times))) - set(times) if times else set()
        filled += [(name, time, None, None) for time in sorted(absent) if (name, time) not in there]
    columns = Columns(past=("x",))
    assert_same(
        read_table(frame_of(rows), columns, freq="1"),
        read_table(frame_of(filled), columns, freq="1"),
    )


def test_the_beijing_file_as_it_is(shared_data: Path) -> None:
    table = read_table(
        shared_data / "series" / "beijing-pm25.csv",
        Columns(time="year,month,day,hour", target="pm2.5", past=("TEMP", "cbwd")),
    )
    (series,) = table.series
    assert table.freq == "1h"
    assert series.start == np.datetime64("2010-01-01T00:00")
    assert len(series.y) == 43_824
    assert np.isnan(series.y).sum() == 2_067
    assert table.past_names == ("TEMP", "cbwd=NE", "cbwd=NW", "cbwd=SE", "cbwd=cv")
    assert series.past[0].tolist() == [-11, 0, 1, 0, 0]
    assert series.past.shape == (43_824, 5)


def test_a_daily_index_lacks_its_weekends(shared_data: Path) -> None:
    table = read_table(
        shared_data / "series" / "sp500-2000.csv", Columns(time="date", target="close")
    )
    assert table.freq == "1d"
    assert table.series[0].y[:6].tolist()[:5] == [
        1455.219971,
        1399.420044,
        1402.109985,
        1403.449951,
        1441.469971,
    ]
    assert np.isnan(table.series[0].y[5:7]).all()
