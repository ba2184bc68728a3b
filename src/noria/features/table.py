"""A long table, of one series or thousands, into series on a regular grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from noria.errors import DataError, MissingExtraError
from noria.features.rows import SortedRows
from noria.features.series import Columns, Series, SeriesTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from noria.features.source import Source

__all__ = ["read_table"]

_MOST_CATEGORIES = 50


def read_table(
    source: Any,
    columns: Columns | None = None,
    *,
    freq: str | None = None,
    categories: Mapping[str, tuple[str, ...]] | None = None,
) -> SeriesTable:
    """Read series from a file or a data frame.

    The table is long: a row for each timestamp of each series, in any order. Texts such as NA,
    NaN, null, None and an empty field mean a missing value, in any case of letters. Timestamps
    with a time zone become UTC, and the table keeps the zone's name; but where a data frame's are
    all midnights of their zone it is the days that count, whose lengths may differ. Rows that the
    grid lacks are filled with missing values, so daily prices without weekends are a daily series
    whose weekends are missing. A series ends at its last observed target; later rows are the known
    future and show in `Series.future` alone.

    A covariate of texts is encoded one-hot over the values it has; missing texts are NaN in each,
    and texts that `categories` lacks are zero in each.

    Args:
        source: Path of a .csv or .tsv file in UTF-8 (also .gz), separated by commas, tabs or
            semicolons (numbers then have a decimal comma), of a .parquet file, or a data frame
            that narwhals accepts: pandas, polars, pyarrow and others.
        columns: Which column is what; ds, y and, if it is there, unique_id by default.
        freq: Step of the grid, such as "1h", "1mo", or "1" for integer time; the most common
            difference of neighbouring timestamps by default.
        categories: Values of the text covariates as a model was fitted on them; a covariate that
            is not named there must be numeric. None finds them in the table.

    Returns:
        The series, sorted by id.

    Raises:
        DataError: if the file cannot be read, a column is not there, a value cannot be read or is
            infinite, a timestamp or id is missing, timestamps repeat or do not fit the grid, a
            series has no target, a static covariate changes, or a text covariate has more than 50
            values. The message names row and column: the line of a CSV file (its header is line
            1), otherwise the row counted from 0.
        UsageError: if columns contradict each other, or freq does not go with the time column.
        MissingExtraError: if polars is not installed.
    """
    try:
        from noria.features.source import open_source
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("polars"):
            raise
        raise MissingExtraError(
            "reading tables needs polars: pip install 'noria[series]'"
        ) from error
    data = open_source(source, columns or Columns())
    columns = data.columns
    rows = SortedRows.sort(data)
    frequency, month_end = rows.frequency(freq)
    slots, offsets = rows.slots(frequency, month_end)

    def on_grid(values: NDArray[np.float64]) -> NDArray[np.float64]:
        grid = np.full(offsets[-1], np.nan)
        grid[slots] = values[rows.order]
        return grid

    y = on_grid(data.numbers(columns.target))
    ends = _ends(y, offsets, rows.ids, data.name)
    found: dict[str, tuple[str, ...]] = {}
    encoded: dict[str, tuple[tuple[str, ...], NDArray[np.float64]]] = {}
    for column in columns.covariates:
        values, levels = _covariate(data, column, categories)
        if levels is not None:
            found[column] = levels
        is_static = column in columns.static
        grid = rows.constant(column, values) if is_static else on_grid(values)
        encoded[column] = _one_hot(column, grid, levels)
    past_names, past = _join(encoded, columns.past, len(y))
    future_names, future = _join(encoded, columns.future, len(y))
    static_names, static = _join(encoded, columns.static, len(rows.ids))
    starts: NDArray[Any] = rows.times[rows.first]
    series = tuple(
        Series(
            id=name,
            start=int(starts[i]) if rows.integer else np.datetime64(int(starts[i]), "us"),
            y=y[offsets[i] : ends[i]],
            past=past[offsets[i] : ends[i]],
            future=future[offsets[i] : offsets[i + 1]],
            static=static[i],
        )
        for i, name in enumerate(rows.ids)
    )
    names = (past_names, future_names, static_names)
    return SeriesTable(
        series, columns, freq or str(frequency), found, *names, month_end, *rows.zone
    )


def _ends(
    y: NDArray[np.float64], offsets: NDArray[np.int64], ids: tuple[str, ...], name: str
) -> NDArray[np.int64]:
    """Give the end of each series' observed targets, shape (S,)."""
    observed = np.where(np.isnan(y), -1, np.arange(len(y)))
    last: NDArray[np.int64] = np.maximum.reduceat(observed, offsets[:-1])
    if (last < 0).any():
        empty = ids[int(np.argmax(last < 0))]
        raise DataError(
            f"{name}: series {empty!r} has no observed target; fill it in or leave it out"
        )
    return last + 1


def _covariate(
    data: Source, column: str, categories: Mapping[str, tuple[str, ...]] | None
) -> tuple[NDArray[np.float64], tuple[str, ...] | None]:
    """Read a covariate as numbers, or as the numbers of its categories, -1 if unknown.

    Returns:
        Values, shape (N,), NaN where missing, and the categories of a text covariate.
    """
    is_text = data.is_text(column) if categories is None else column in categories
    if not is_text:
        return data.numbers(column), None
    texts = data.texts(column)
    if categories is None:
        levels = tuple(texts.drop_nulls().unique().sort().to_list())
        if len(levels) > _MOST_CATEGORIES:
            raise DataError(
                f"{data.name}, column {column!r}: has {len(levels)} different texts, more than the "
                f"{_MOST_CATEGORIES} that are encoded; group them, or correct texts among numbers"
            )
    else:
        levels = tuple(categories[column])
    numbers = {level: float(number) for number, level in enumerate(levels)}
    codes = texts.replace_strict(numbers, default=-1.0).to_numpy().astype(np.float64)
    return np.where(texts.is_null().to_numpy(), np.nan, codes), levels


def _one_hot(
    column: str, values: NDArray[np.float64], levels: tuple[str, ...] | None
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Give the names and the columns that encode a covariate, shape (N, 1 or categories)."""
    if levels is None:
        return (column,), values[:, np.newaxis]
    encoded = (values[:, np.newaxis] == np.arange(len(levels))).astype(np.float64)
    encoded[np.isnan(values)] = np.nan
    return tuple(f"{column}={level}" for level in levels), encoded


def _join(
    encoded: Mapping[str, tuple[tuple[str, ...], NDArray[np.float64]]],
    columns: tuple[str, ...],
    rows: int,
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    names = tuple(name for column in columns for name in encoded[column][0])
    values = [encoded[column][1] for column in columns]
    return names, np.concatenate(values, axis=1) if values else np.empty((rows, 0))
