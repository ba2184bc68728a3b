"""Labelled sequences from a file or a data frame."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noria.errors import DataError, MissingExtraError, UsageError
from noria.features.labelled import LabelledSequences
from noria.features.series import Columns, check_roles
from noria.features.ts import read_ts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from noria.features.rows import SortedRows

__all__ = ["CaseColumns", "is_ts", "read_cases"]


@dataclass(frozen=True)
class CaseColumns:
    """Which column of a long table is what.

    Attributes:
        id: Which case a row belongs to.
        time: Timestamps or step numbers, which put a case's rows in order.
        value: The channels.
        label: The class, the same on every row of a case.
        group: Who or what a case comes from, likewise; None where that is not told.

    Raises:
        UsageError: if there is no value column, one column has two roles, or its name is no text.
    """

    id: str = "unique_id"
    time: str = "ds"
    value: tuple[str, ...] = ("value",)
    label: str = "label"
    group: str | None = None

    def __post_init__(self) -> None:
        if not self.value:
            raise UsageError("value names no column: a case needs at least one channel")
        roles: list[tuple[str, Any]] = []
        for field in fields(self):
            names = getattr(self, field.name)
            own = names if isinstance(names, tuple) else (names,) if names else ()
            roles += [(field.name, name) for name in own]
        check_roles(roles)


def is_ts(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a `.ts` file, by its name.

    >>> is_ts("words_TRAIN.ts"), is_ts("words.csv")
    (True, False)
    """
    return Path(path).name.lower().endswith(".ts")


def read_cases(
    source: Any, columns: CaseColumns | None = None, *, labelled: bool = True
) -> LabelledSequences:
    """Read cases from a `.ts` file, or from a table with a row for each case and time step.

    The rows of a table may come in any order; a case's steps are its rows in order of time.

    Args:
        source: Path of a .ts, .csv, .tsv (also .gz) or .parquet file, or a data frame that
            narwhals accepts.
        columns: Which column of a table is what; a .ts file has none.
        labelled: Whether labels are needed. If not, a table's label column is not looked at.

    Returns:
        The cases, those of a table sorted by id.

    Raises:
        DataError: if the file cannot be read, a column is not there, a value cannot be read, a
            timestamp repeats, or a label is missing or changes within a case. The message names
            row and column, or the line of a .ts file.
        MissingExtraError: if polars is not installed and a table is to be read.
    """
    if isinstance(source, str | os.PathLike) and is_ts(source):
        cases = read_ts(Path(source))
        if labelled and cases.labels is None:
            raise DataError(
                f"{source}: has no labels: its header lacks @classLabel true or @targetLabel true"
            )
        return cases
    return _read_table(source, columns or CaseColumns(), labelled)


def _read_table(source: Any, columns: CaseColumns, labelled: bool) -> LabelledSequences:
    try:
        from noria.features.rows import SortedRows
        from noria.features.source import open_source
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("polars"):
            raise
        raise MissingExtraError(
            "reading tables needs polars: pip install 'noria[series]'"
        ) from error
    first, *more = columns.value
    group = columns.group if labelled else None
    texts = ((columns.label,) if labelled else ()) + ((group,) if group else ())
    data = open_source(source, Columns(columns.time, first, columns.id, tuple(more), (), texts))
    rows = SortedRows.sort(data)
    values = np.stack([data.numbers(name)[rows.order] for name in columns.value], axis=1)
    return LabelledSequences(
        tuple(np.split(values, rows.first[1:])),
        ids=rows.ids,
        channels=columns.value,
        labels=_labels(rows, columns.label, "label") if labelled else None,
        name=data.name,
        groups=_labels(rows, group, "group") if group else None,
    )


def _labels(rows: SortedRows, column: str, what: str) -> NDArray[Any]:
    """The label, or the group, of each case, shape (N,)."""
    texts = np.array(rows.data.texts(column).to_list(), dtype=object)[rows.order]
    missing = np.array([text is None for text in texts])
    if missing.any():
        index = int(rows.order[int(np.argmax(missing))])
        raise rows.data.error(index, column, f"the {what} is missing; fill it in")
    labels = texts[rows.first]
    changed = texts != labels[rows.owner]
    if changed.any():
        index = int(np.argmax(changed))
        raise rows.data.error(
            int(rows.order[index]),
            column,
            f"the {what} {texts[index]!r} of case {rows.ids[rows.owner[index]]!r} was"
            f" {labels[rows.owner[index]]!r} before; make it one",
        )
    return labels.astype(str)
