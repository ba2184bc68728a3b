from __future__ import annotations

import gzip
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from noria.errors import DataError, MissingExtraError, UsageError
from noria.features.series import Columns
from noria.features.table import read_table

NAN = float("nan")


def test_a_date_in_several_columns_that_is_none(csv: Any) -> None:
    columns = Columns(time="year,month,day")
    path = csv("year,month,day,y\n2024,2,28,1\n2024,2,30,2\n")
    with pytest.raises(
        DataError, match="row 3, column 'year,month,day': '2024-02-30 00:00:00' is not a timestamp"
    ):
        read_table(path, columns)
    with pytest.raises(DataError, match="row 2, column 'month': 'May' is not a number"):
        read_table(csv("year,month,day,y\n2024,May,28,1\n"), columns)
    with pytest.raises(DataError, match=r"row 2, column 'day': '1\.5' is no day"):
        read_table(csv("year,month,day,y\n2024,2,1.5,1\n"), columns)
    with pytest.raises(DataError, match="row 3, column 'month': the timestamp is missing"):
        read_table(csv("year,month,day,y\n2024,2,1,1\n2024,NA,2,1\n"), columns)


def test_blank_lines_do_not_shift_the_rows_of_messages(csv: Any) -> None:
    with pytest.raises(DataError, match=r"power\.csv, row 7, column 'y': 'x' is not a number"):
        read_table(csv('ds,y,z\n1,1,1\n\n\n2,2,"two\nlines"\n3,x,3\n'))


def test_integer_time_with_an_absent_row_in_pandas() -> None:
    frame = pd.DataFrame({"ds": [1.0, 2.0, NAN], "y": [1.0, 2.0, 3.0]})
    with pytest.raises(DataError, match=r"^the data frame, row 2, column 'ds': the timestamp is"):
        read_table(frame)
    assert read_table(frame.iloc[:2]).series[0].start == 1


def test_mixed_time_zones_in_a_data_frame() -> None:
    times = [datetime(2024, 1, 1), datetime(2024, 1, 2, tzinfo=UTC)]  # noqa: DTZ001
    frame = pd.DataFrame({"ds": pd.Series(times, dtype=object), "y": [1, 2]})
    with pytest.raises(DataError, match=r"the data frame, row 1, column 'ds': .* mixes time zones"):
        read_table(frame)


FAULTS = [
    ("ds,y\n1,1\n2,abc\n", {}, "row 3, column 'y': 'abc' is not a number"),
    ("ds,y\n1,inf\n2,1\n", {}, "row 2, column 'y': the number is infinite"),
    ("ds,y\n1,1\n2,1e300\n", {}, "row 3, column 'y': 1e.300 is too large a number"),
    ("ds,y,x\n1,1,1\n2,1,-inf\n", {"past": ("x",)}, "row 3, column 'x': the number is infinite"),
    ("ds,y\n2024-01-01,1\n2024-13-01,1\n", {}, "row 3, column 'ds': '2024-13-01' is not a time"),
    ("ds,y\n1,1\n,2\n", {}, "row 3, column 'ds': the timestamp is missing"),
    ("ds,y\n1,1\nNaN,2\n", {}, "row 3, column 'ds': the timestamp is missing"),
    ("unique_id,ds,y\na,1,1\n,2,2\n", {}, "row 3, column 'unique_id': the series' id is missing"),
    (
        "unique_id,ds,y\na,1,1\nb,1,2\nb,2,2\nb,1,3\n", {},
        "rows 3 and 5, column 'ds': both are 1 of series 'b'; keep one of them",
    ),
    (
        "ds,y\n2024-01-01,1\n2024-01-01,2\n", {},
        "both are 2024-01-01T00:00:00 of series 'y'; keep one, or name the column that tells the",
    ),
    (
        "unique_id,ds,y\nb,2024-01-01 02:17,1\nb,2024-01-01 01:00,3\nb,2024-01-01 00:00,3\n", {},
        "row 2, column 'ds': 2024-01-01T02:17:00 comes 77m after the row before it in series 'b'",
    ),
    (
        "ds,y\n2024-01-01,1\n2024-02-01,2\n2024-03-01,3\n2024-04-02,4\n", {},
        "in series 'y', which does not fit a step of 1mo; correct it, resample the table or",
    ),
    (
        "ds,y\n2020-01-01 00:00,1\n2020-01-01 01:00,1\n9020-01-01 02:00,1\n", {},
        "row 4, column 'ds': 9020-01-01T02:00:00 comes 61,360,729 steps of 1h after the row before",
    ),
    ("ds,y\n1,1\n2,2\n4,4\n5,5\n", {"freq": "2"}, "row 3, column 'ds': 2 comes 1 after the row"),
    ("ds,y\n1,1\n", {}, "no series has two rows, so the step"),
    ("ds,y\n1,\n2,NA\n", {}, "series 'y' has no observed target"),
    (
        "unique_id,ds,y,s\na,1,1,5\na,2,1,\na,3,1,6\n", {"static": ("s",)},
        "row 4, column 's': the static covariate changes within series 'a'",
    ),
    (
        "unique_id,ds,y,s\nb,2,1,x\na,1,1,y\nb,1,1,z\n", {"static": ("s",)},
        "column 's': the static covariate changes within series 'b'",
    ),
    ("ds,load\n1,1\n", {}, "there is no column 'y'; the columns are ds, load"),
    ("ds,load\n1,1\n", {"target": "laod"}, r"'laod' \(did you mean 'load'\?\); the columns "),
    ("ds,y,y\n1,1,2\n", {}, "2 columns are named 'y'"),
    ("ds,y\n1,1\n2\n3,3\n", {}, "row 3: the number of fields is 1, not 2 as in the header"),
    ("ds,y\n1,1\n2,2,2\n3,3\n", {}, "row 3: the number of fields is 3, not 2 as in the header"),
    ("ds,y\n", {}, "holds no rows"),
    ("\n", {}, "the first line, which names the columns, is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "arguments", "message"), FAULTS)
def test_what_is_wrong_in_a_file_is_named(
    csv: Any, text: str, arguments: dict[str, Any], message: str
) -> None:
    path = csv(text)
    freq = arguments.get("freq")
    columns = Columns(**{key: value for key, value in arguments.items() if key != "freq"})
    with pytest.raises(DataError, match=message) as caught:
        read_table(path, columns, freq=freq)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_covariate_of_too_many_texts(csv: Any) -> None:
    rows = "".join(f"{i},1,word{i % 51}\n" for i in range(60))
    with pytest.raises(DataError, match="column 'x': has 51 different texts, more than the 50"):
        read_table(csv("ds,y,x\n" + rows), Columns(past=("x",)))
    rows = rows.replace("word50", "word49")
    table = read_table(csv("ds,y,x\n" + rows), Columns(past=("x",)))
    assert len(table.past_names) == 50


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    def refuse(name: str, content: bytes | None, message: str) -> None:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            read_table(path)
        assert re.match(re.escape(str(path)), str(caught.value))
        assert "\n" not in str(caught.value)

    refuse("absent.csv", None, "there is no such file")
    refuse("", None, "is a directory")
    refuse("empty.csv", b"", "the file is empty")
    refuse("empty.csv.gz", gzip.compress(b""), "the first line, which names the columns, is empty")
    refuse("table.xlsx", b"PK", r"give one that ends in \.csv, \.tsv, \.csv\.gz")
    refuse("latin.csv", "ds,y\n1,caf\u00e9\n".encode("latin-1"), "is not UTF-8 text")
    refuse("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is not UTF-8 text")
    refuse("cut.csv.gz", gzip.compress(b"ds,y\n" + b"1,1\n" * 9999)[:-20], "cannot be read")
    refuse("plain.csv.gz", b"ds,y\n1,1\n", "cannot be read")
    refuse("foreign.parquet", b"ds,y\n1,1\n", "cannot be read as Parquet")


def test_rows_of_parquet_are_counted_from_0(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"ds": [1, 2], "y": ["1", "x"]}).write_parquet(path)
    with pytest.raises(DataError, match=r"t\.parquet, row 1, column 'y': 'x' is not a number"):
        read_table(path)


def test_columns_of_a_data_frame_that_are_no_numbers() -> None:
    frame = pl.DataFrame({"ds": [1, 2], "y": [datetime(2024, 1, 1)] * 2})  # noqa: DTZ001
    with pytest.raises(DataError, match=r"the data frame, column 'y': holds Datetime.*not numbers"):
        read_table(frame)


def test_arguments_that_contradict_each_other(csv: Any) -> None:
    path = csv("ds,year,y\n1,2024,1\n2,2025,2\n")
    with pytest.raises(
        UsageError, match="freq='1h' does not go with column 'ds', which holds step"
    ):
        read_table(path, freq="1h")
    with pytest.raises(UsageError, match="freq='1' does not go with column 'year', which holds da"):
        read_table(csv("year,y\n2024-01-01,1\n"), Columns(time="year"), freq="1")
    with pytest.raises(UsageError, match="a column of time='ds,year' is named twice"):
        read_table(csv("ds,year,y\n"), Columns(time="ds,year", past=("year",)))
    with pytest.raises(UsageError, match="a table is a path or a data frame, not list"):
        read_table([1, 2])


def test_polars_is_needed(csv: Any) -> None:
    program = (
        "import sys; sys.modules['polars'] = None\n"
        "from noria.errors import MissingExtraError\n"
        "from noria.features.table import read_table\n"
        "try: read_table('t.csv')\n"
        "except MissingExtraError as error: print(error)\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "reading tables needs polars: pip install 'noria[series]'", "False",
    ]  # fmt: skip
    assert issubclass(MissingExtraError, UsageError)
