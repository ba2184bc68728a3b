"""A CSV or Parquet file, or a data frame, into columns of one length."""

from __future__ import annotations

import csv
import gzip
import os
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import narwhals as nw
import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from noria.errors import DataError, UsageError
from noria.features.frames import no_column
from noria.features.series import CLOCK, LARGEST, MISSING
from noria.features.timestamps import ParsedTimes, TimestampError, parse_timestamps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from noria.features.series import Columns

__all__ = ["Source", "open_source"]

_DEFAULT_ID = "unique_id"


@dataclass(frozen=True)
class Source:
    """The columns of a table that were asked for, as they were written.

    Attributes:
        name: What messages call the table.
        frame: The columns; those of a CSV file are texts. Rows without any value are left out.
        rows: Index in the table of each row, shape (N,).
        columns: The columns asked for, with the id column that was found.
        time: The columns that make up the timestamp.
        decimal_comma: Numbers are written with a decimal comma.
        path: The CSV file, whose rows are counted by line; None if rows are counted from 0.
    """

    name: str
    frame: pl.DataFrame
    rows: NDArray[np.int64]
    columns: Columns
    time: tuple[str, ...]
    decimal_comma: bool = False
    path: Path | None = None

    def row(self, index: int) -> int:
        """Number of a row as the user counts: the line of a CSV file, or the row from 0."""
        row = int(self.rows[index])
        return row if self.path is None else _line(self.path, row)

    def error(self, index: int, column: str, reason: str) -> DataError:
        """Say what is wrong in a row, for raising."""
        return DataError(f"{self.name}, row {self.row(index)}, column {column!r}: {reason}")

    def is_text(self, column: str) -> bool:
        """Whether a column holds anything that is not a number."""
        if self.frame[column].dtype not in (pl.String, pl.Categorical, pl.Enum):
            return False
        texts = self.texts(column)
        return self._read(texts).null_count() > texts.null_count()

    def texts(self, column: str) -> pl.Series:
        """A column as texts without blanks around them, null where missing."""
        texts = self.frame[column].cast(pl.String).str.strip_chars()
        missing = texts.str.to_lowercase().is_in(MISSING)
        return texts.to_frame().select(pl.when(~missing).then(pl.first())).to_series()

    def _read(self, texts: pl.Series) -> pl.Series:
        if self.decimal_comma:
            texts = texts.str.replace(",", ".", literal=True)
        return texts.cast(pl.Float64, strict=False)

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column as numbers, shape (N,), NaN where missing.

        Raises:
            DataError: naming the first row that holds a text, a date, or a number that is infinite
                or of a size above 1e100.
        """
        raw = self.frame[column]
        if raw.dtype.is_numeric() or raw.dtype == pl.Boolean:
            numbers = raw.cast(pl.Float64)
        elif raw.dtype.is_temporal() or raw.dtype.is_nested():
            raise DataError(f"{self.name}, column {column!r}: holds {raw.dtype}, not numbers")
        else:
            texts = self.texts(column)
            numbers = self._read(texts)
            faults = numbers.is_null() & texts.is_not_null()
            if faults.any():
                index = _first(faults)
                raise self.error(
                    index, column, f"{texts[index]!r} is not a number; correct it or leave it empty"
                )
        infinite = numbers.is_infinite().fill_null(value=False)
        if infinite.any():
            raise self.error(
                _first(infinite), column, "the number is infinite; correct it or leave it empty"
            )
        values: NDArray[np.float64] = numbers.to_numpy().astype(np.float64)
        large = np.abs(values) > LARGEST
        if large.any():
            index = int(np.argmax(large))
            raise self.error(
                index, column,
                f"{values[index]:g} is too large a number, above {LARGEST:g}; correct it or leave"
                " it empty",
            )  # fmt: skip
        return values

    def ids(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Tell the series apart.

        Returns:
            Number of each row's series, shape (N,), and the series' ids, sorted as texts.

        Raises:
            DataError: naming the first row without an id.
        """
        column = self.columns.id
        if column is None:
            return np.zeros(len(self.rows), np.int64), (self.columns.target,)
        texts = self.frame[column].cast(pl.String).str.strip_chars()
        missing = texts.is_null() | (texts == "")
        if missing.any():
            raise self.error(_first(missing), column, "the series' id is missing; fill it in")
        names = texts.unique().sort()
        codes = texts.cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
        return codes, tuple(names.to_list())

    def times(self) -> ParsedTimes:
        """Read the timestamps.

        Raises:
            DataError: naming the first row whose timestamp is missing or cannot be read.
        """
        for column in self.time:
            raw = self.frame[column]
            missing = raw.is_null()
            if raw.dtype == pl.String:
                missing |= raw.str.strip_chars().str.to_lowercase().is_in(MISSING)
            elif raw.dtype.is_float():
                missing |= raw.is_nan().fill_null(value=False)
            if missing.any():
                raise self.error(_first(missing), column, "the timestamp is missing; fill it in")
        if len(self.time) > 1:
            return self._parse(self._joined())
        raw = self.frame[self.time[0]]
        if raw.dtype == pl.Date or isinstance(raw.dtype, pl.Datetime):
            zone = raw.dtype.time_zone if isinstance(raw.dtype, pl.Datetime) else None
            shown = raw.dt.replace_time_zone(None) if zone else raw
            wall = zone is not None and bool((shown.dt.time() == time(0)).all())
            if zone and not wall:
                shown = raw.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            values = shown.cast(pl.Datetime("us")).to_physical().to_numpy().astype(np.int64)
            return ParsedTimes(values, integer=False, zone=zone, wall=wall)
        if raw.dtype.is_float() and (raw == raw.floor()).all():
            raw = raw.cast(pl.Int64)
        return self._parse(raw.cast(pl.String).str.strip_chars())

    def _parse(self, texts: pl.Series) -> ParsedTimes:
        try:
            return parse_timestamps(texts)
        except TimestampError as error:
            raise self.error(error.row, ",".join(self.time), error.reason) from None

    def _joined(self) -> pl.Series:
        """Write the parts of the timestamp as one text."""
        if not {column.lower() for column in self.time} <= set(CLOCK):
            texts = [self.frame[column].cast(pl.String).str.strip_chars() for column in self.time]
            return self.frame.select(pl.concat_str(texts, separator=" ")).to_series()
        columns = {column.lower(): column for column in self.time}
        parts = []
        for name in CLOCK:
            if name not in columns:
                parts.append(pl.lit("01" if name in ("month", "day") else "00"))
                continue
            column = columns[name]
            numbers = self.numbers(column)
            faults = pl.Series((numbers != np.floor(numbers)) | (numbers < 0) | (numbers > 9999))
            if faults.any():
                index = _first(faults)
                raise self.error(index, column, f"{self.frame[column][index]!r} is no {name}")
            parts.append(pl.lit(pl.Series(numbers.astype(np.int64)).cast(pl.String).str.zfill(2)))
        return self.frame.select(pl.format("{}-{}-{} {}:{}:{}", *parts)).to_series()


def open_source(source: Any, columns: Columns) -> Source:
    """Read the columns of a file or a data frame.

    Args:
        source: Path of a .csv, .tsv (both also .gz) or .parquet file, or a data frame that
            narwhals accepts.
        columns: The columns to read.

    Raises:
        DataError: if the file cannot be read or lacks a column.
        UsageError: if source is neither path nor data frame.
    """
    if not isinstance(source, str | os.PathLike):
        return _open_frame(source, columns)
    path = Path(source)
    endings = ".csv, .tsv, .csv.gz, .tsv.gz or .parquet"
    name = path.name.lower()
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    if path.is_dir():
        raise DataError(f"{path}: is a directory; give a file that ends in {endings}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    if name.endswith(".parquet"):
        return _open_parquet(path, columns)
    if name.endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz")):
        return _open_csv(path, columns)
    raise DataError(f"{path}: cannot tell what the file holds; give one that ends in {endings}")


def _open_csv(path: Path, columns: Columns) -> Source:
    with _records(path) as records:
        header: list[str] = next(records, [])
    if not header:
        raise DataError(f"{path}: the first line, which names the columns, is empty")
    found, time = _find(str(path), header, columns)
    needed = _needed(found, time)
    for column in needed:
        if header.count(column) > 1:
            raise DataError(f"{path}: {header.count(column)} columns are named {column!r}")
    separator = _separator(path)
    indices = [header.index(column) for column in needed]
    # The last column shows by its nulls whether a line is too short.
    read = sorted({*indices, len(header) - 1})
    try:
        frame = pl.read_csv(path, separator=separator, infer_schema=False, columns=read)
    except (PolarsError, OSError, zlib.error) as error:
        _refuse_ragged(path, len(header))
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as a table of texts: {reason}") from None
    frame.columns = [str(index) for index in read]
    if frame[str(len(header) - 1)].null_count() > 0:
        _refuse_ragged(path, len(header))
    frame = frame.select(
        pl.col(str(index)).alias(column) for index, column in zip(indices, needed, strict=True)
    )
    source = _without_blank_rows(str(path), frame, found, time)
    return replace(source, decimal_comma=separator == ";", path=path)


def _open_parquet(path: Path, columns: Columns) -> Source:
    try:
        frame = pl.scan_parquet(path)
        found, time = _find(str(path), frame.collect_schema().names(), columns)
        read = frame.select(_needed(found, time)).collect()
    except (PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as Parquet: {reason}") from None
    return _without_blank_rows(str(path), read, found, time)


def _open_frame(source: Any, columns: Columns) -> Source:
    name = "the data frame"
    try:
        frame: Any = nw.from_native(source)
    except TypeError:
        raise UsageError(
            f"a table is a path or a data frame, not {type(source).__name__}"
        ) from None
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    found, time = _find(name, frame.columns, columns)
    read = pl.DataFrame(
        [_frame_column(frame[column]).alias(column) for column in _needed(found, time)]
    )
    return _without_blank_rows(name, read, found, time)


def _frame_column(column: Any) -> pl.Series:
    """Copy a column of any data frame, without pyarrow if it can be helped."""
    native = column.to_native()
    if isinstance(native, pl.Series):
        return native
    if column.dtype.is_numeric() and not column.is_null().any():
        return pl.Series(column.to_numpy())
    if isinstance(column.dtype, nw.Datetime):
        zone = column.dtype.time_zone
        if zone is None:
            return pl.Series(column.to_numpy())
        utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
        known = zone if zone in available_timezones() else "UTC"
        return pl.Series(utc).dt.replace_time_zone("UTC").dt.convert_time_zone(known)
    missing = column.is_null().to_list()
    values = [
        None if null else value for value, null in zip(column.to_list(), missing, strict=True)
    ]
    if column.dtype == nw.Boolean:
        return pl.Series(values, dtype=pl.Boolean)
    if column.dtype.is_numeric():
        return pl.Series(
            [None if value is None else float(value) for value in values], dtype=pl.Float64
        )
    return pl.Series([_text(value) for value in values], dtype=pl.String)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, date) else str(value)


def _without_blank_rows(
    name: str, frame: pl.DataFrame, columns: Columns, time: tuple[str, ...]
) -> Source:
    filled = frame.select(
        pl.any_horizontal(
            pl.col(column).is_not_null()
            & (pl.col(column) != "" if dtype == pl.String else pl.lit(value=True))
            for column, dtype in frame.schema.items()
        )
    ).to_series()
    frame = frame.filter(filled)
    if len(frame) == 0:
        raise DataError(f"{name}: holds no rows")
    return Source(name, frame, np.flatnonzero(filled.to_numpy()), columns, time)


def _find(name: str, header: Sequence[str], columns: Columns) -> tuple[Columns, tuple[str, ...]]:
    """Look the columns up in the header.

    Returns:
        The columns with the id that was found, and the columns of the timestamp.
    """
    others = (columns.target, *columns.covariates)
    if columns.id is None and _DEFAULT_ID in header and _DEFAULT_ID not in others:
        columns = replace(columns, id=_DEFAULT_ID)
    time: tuple[str, ...] = (columns.time,)
    if columns.time not in header and "," in columns.time:
        time = tuple(part.strip() for part in columns.time.split(","))
    for column in _needed(columns, time):
        if column not in header:
            raise no_column(name, column, header)
    if len(set(time)) < len(time) or set(time) & {columns.target, columns.id, *columns.covariates}:
        raise UsageError(f"a column of time={columns.time!r} is named twice")
    return columns, time


def _needed(columns: Columns, time: tuple[str, ...]) -> list[str]:
    ids = () if columns.id is None else (columns.id,)
    return [*time, columns.target, *ids, *columns.covariates]


def _first(faults: pl.Series) -> int:
    return int(np.argmax(faults.to_numpy()))


def _separator(path: Path) -> str:
    if ".tsv" in path.name.lower():
        return "\t"
    with _lines(path) as lines:
        first = next(iter(lines), "")
    return ";" if ";" in first and "," not in first else ","


@contextmanager
def _lines(path: Path) -> Iterator[Any]:
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8") from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


@contextmanager
def _records(path: Path) -> Iterator[Any]:
    separator = _separator(path)
    with _lines(path) as lines:
        yield csv.reader(lines, delimiter=separator)


def _line(path: Path, row: int) -> int:
    """Line of a CSV file on which a row begins; the header is line 1."""
    with _records(path) as records:
        for _ in range(row + 1):
            next(records)
        return int(records.line_num) + 1


def _refuse_ragged(path: Path, width: int) -> None:
    with _records(path) as records:
        next(records)
        line = records.line_num + 1
        for record in records:
            if record and len(record) != width:
                fields = f"the number of fields is {len(record)}, not {width} as in the header"
                raise DataError(f"{path}, row {line}: {fields}")
            line = records.line_num + 1
