"""Columns of texts from CSV, TSV, JSON lines, Parquet or a data frame."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw

from noria.errors import DataError, MissingExtraError, UsageError
from noria.features.frames import no_column
from noria.features.text import has_half, read_text

__all__ = ["TextTable", "read_text_table"]

_ENDINGS = ".csv, .tsv, .jsonl, .ndjson (all also .gz) or .parquet"
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True)
class TextTable:
    """Columns of texts; rows without any value are left out.

    Attributes:
        name: What messages call the table.
        columns: By name, each N texts; "" where there is none.
        rows: What the user calls each row: the line of a file, or the row from 0.
    """

    name: str
    columns: dict[str, list[str]]
    rows: list[int]

    def error(self, index: int, column: str, reason: str) -> DataError:
        """Say what is wrong in a row, for raising."""
        return DataError(f"{self.name}, row {self.rows[index]}, column {column!r}: {reason}")


def read_text_table(source: Any, columns: Sequence[str], encoding: str = "utf-8") -> TextTable:
    """Read columns of texts.

    Args:
        source: Path of a .csv, .tsv, .jsonl or .ndjson (all also .gz) or .parquet file, or a data
            frame that narwhals accepts. A .csv file with semicolons and no comma in its first line
            is taken at its word. Quotes in .csv are those of RFC 4180; in .tsv they are characters
            like others, but for those around a whole field.
        columns: Their names.
        encoding: Of a file of text, by Python's names.

    Raises:
        DataError: if the file cannot be read or lacks a column.
        UsageError: if source is neither path nor data frame, or a column is named twice.
        MissingExtraError: if polars is not installed and Parquet is to be read.
    """
    if len(set(columns)) < len(columns):
        raise UsageError(f"a column is named twice: {', '.join(columns)}")
    if not isinstance(source, str | os.PathLike):
        return _frame("the data frame", source, columns)
    path = Path(source)
    name = path.name.lower().removesuffix(".gz")
    if not name.endswith((".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")) and path.is_file():
        raise DataError(
            f"{path}: cannot tell what the file holds; give one that ends in {_ENDINGS}"
        )
    if name.endswith(".parquet") and path.is_file():
        return _frame(str(path), _read_parquet(path), columns)
    text = read_text(path, encoding)
    if name.endswith((".jsonl", ".ndjson")):
        return _collect(str(path), columns, _json_rows(path, text, columns))
    separator = "\t" if name.endswith(".tsv") else _separator(text)
    return _collect(str(path), columns, _csv_rows(path, text, columns, separator))


def _collect(name: str, columns: Sequence[str], rows: Iterator[tuple[int, list[str]]]) -> TextTable:
    kept = [(number, row) for number, row in rows if any(text.strip() for text in row)]
    if not kept:
        raise DataError(f"{name}: holds no rows")
    values = {column: [row[i] for _, row in kept] for i, column in enumerate(columns)}
    table = TextTable(name, values, [number for number, _ in kept])
    for column, texts in values.items():
        for index, text in enumerate(texts):
            if has_half(text):
                raise table.error(index, column, "holds half a surrogate pair, no character")
    return table


def _separator(text: str) -> str:
    first = text.split("\n", maxsplit=1)[0]
    return ";" if ";" in first and "," not in first else ","


def _csv_rows(
    path: Path, text: str, columns: Sequence[str], separator: str
) -> Iterator[tuple[int, list[str]]]:
    records = _tab_records(path, text) if separator == "\t" else _records(path, text, separator)
    _, header = next(records)
    for column in columns:
        if column not in header:
            raise no_column(str(path), column, header)
        if header.count(column) > 1:
            raise DataError(f"{path}: {header.count(column)} columns are named {column!r}")
    indices = [header.index(column) for column in columns]
    for line, record in records:
        if len(record) != len(header):
            raise DataError(
                f"{path}, row {line}: the number of fields is {len(record)},"
                f" not {len(header)} as in the header"
            )
        yield line, [record[index] for index in indices]


def _records(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record begins, and its fields, by RFC 4180."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        reason = f"cannot be read: {error}, on line {reader.line_num}"
        if "unexpected end" in str(error):
            reason = "a quote opens a field and is never closed; write two for one in a text"
        raise DataError(f"{path}, row {line}: {reason}") from None


def _tab_records(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The same of fields between tabs, where a quote is a character like others.

    Quotes around a field are taken off if those within are doubled. A field goes over several
    lines only where lines do not fit the header and quotes explain all of them.
    """
    lines = ((n, line.rstrip("\r\n")) for n, line in enumerate(io.StringIO(text, newline=""), 1))
    plain = [(n, [_unquoted(field) for field in line.split("\t")]) for n, line in lines if line]
    if _even(plain):
        return iter(plain)
    try:
        quoted = list(_records(path, text, "\t"))
    except DataError:
        return iter(plain)
    return iter(quoted if _even(quoted) else plain)


def _even(records: Sequence[tuple[int, list[str]]]) -> bool:
    return len({len(record) for _, record in records}) == 1


def _unquoted(field: str) -> str:
    return field[1:-1].replace('""', '"') if _QUOTED.fullmatch(field) else field


def _json_rows(path: Path, text: str, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, row {number}: is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number}: is no JSON object with names and values")
        for column in columns:
            if column not in row:
                raise no_column(f"{path}, row {number}", column, list(row))
        yield number, [_text(f"{path}, row {number}", column, row[column]) for column in columns]


def _read_parquet(path: Path) -> Any:
    try:
        import polars as pl
        from polars.exceptions import PolarsError
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("polars"):
            raise
        raise MissingExtraError(
            "reading Parquet needs polars: pip install 'noria[text]'"
        ) from error
    try:
        return pl.read_parquet(path)
    except (PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as Parquet: {reason}") from None


def _frame(name: str, source: Any, columns: Sequence[str]) -> TextTable:
    try:
        frame: Any = nw.from_native(source)
    except TypeError:
        raise UsageError(
            f"a table is a path or a data frame, not {type(source).__name__}"
        ) from None
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    for column in columns:
        if column not in frame.columns:
            raise no_column(name, column, frame.columns)
    parts = [
        [
            "" if null else _text(f"{name}, row {row}", column, value)
            for row, (value, null) in enumerate(zip(part.to_list(), part.is_null(), strict=True))
        ]
        for column, part in ((column, frame[column]) for column in columns)
    ]
    return _collect(
        name, columns, ((i, list(row)) for i, row in enumerate(zip(*parts, strict=True)))
    )


def _text(place: str, column: str, value: Any) -> str:
    if isinstance(value, Iterable) and not isinstance(value, str):
        raise DataError(f"{place}, column {column!r}: is no text or number")
    if value is None or value != value:  # not a number: none is there
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
