"""Texts with a label each, or several: what a classifier of texts learns from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError, UsageError
from noria.features.labelled import class_finder
from noria.features.text import has_half
from noria.features.text_table import read_text_table

__all__ = ["LabelledTexts", "TextColumns", "classes_of", "indicator", "read_texts"]


@dataclass(frozen=True)
class TextColumns:
    """Which column of a table is what.

    Attributes:
        text: The texts.
        label: The class.
        separator: What stands between several classes of one text; None where each has one.
        encoding: Of files.
    """

    text: str = "text"
    label: str = "label"
    separator: str | None = None
    encoding: str = "utf-8"

    def encoded(self, encoding: str | None) -> TextColumns:
        """The same columns of a file of another encoding; None for the same one."""
        return self if encoding is None else replace(self, encoding=encoding)


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts, N of them.

    Attributes:
        texts: None is without a word.
        rows: What the source calls them.
        labels: The class of each, shape (N,); a tuple of classes each; or None for none.
        name: What messages call the source.
    """

    texts: list[str]
    rows: list[int]
    labels: NDArray[Any] | list[tuple[str, ...]] | None
    name: str

    def __len__(self) -> int:
        return len(self.texts)

    def sha256(self) -> str:
        """A hash of all that a model is trained on."""
        labels = self.labels.tolist() if isinstance(self.labels, np.ndarray) else self.labels
        return hashlib.sha256(repr([self.texts, labels]).encode("utf-8", "replace")).hexdigest()


def read_texts(
    source: Any, y: Any = None, columns: TextColumns | None = None, *, labelled: bool = True
) -> LabelledTexts:
    """Take texts as a user has them.

    Args:
        source: A list of texts; or the path of a .csv, .tsv, .jsonl or .parquet file, or a data
            frame.
        y: Labels of a list, or a collection of labels for each text.
        columns: Which column of a table is what.
        labelled: Whether labels are needed. If not, none is looked at.

    Raises:
        DataError: if the source cannot be read, a text is empty, or a label is missing.
        UsageError: if the arguments contradict each other.
    """
    columns = columns or TextColumns()
    if columns.separator == "":
        raise UsageError(
            "label_separator is empty: say what stands between labels, such as ';', or leave it out"
        )
    if isinstance(source, str | os.PathLike) or hasattr(source, "columns"):
        if y is not None:
            raise UsageError("y is given, but a file or dataframe brings its own labels")
        return _from_table(source, columns, labelled)
    if not isinstance(source, Iterable):
        raise UsageError(
            f"X is {type(source).__name__}: expected a list of texts, a path or a data frame"
        )
    texts = list(source)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"X[{index}] is {type(text).__name__}: expected a text")
        if not text.strip():
            raise DataError(f"X[{index}] is an empty text; leave it out")
        if has_half(text):
            raise DataError(f"X[{index}] holds half a surrogate pair, which is no character")
    if not texts:
        raise DataError("X holds no texts")
    if labelled and y is None:
        raise UsageError("y is missing: a list of texts brings no labels")
    labels = _labels_of_list(y, len(texts)) if labelled else None
    return LabelledTexts(texts, list(range(len(texts))), labels, "X")


def _labels_of_list(y: Any, count: int) -> NDArray[Any] | list[tuple[str, ...]]:
    if getattr(y, "ndim", 1) != 1:
        raise DataError(
            f"y has shape {y.shape}: expected a label, or a collection of labels, for each text"
        )
    y = y.tolist() if hasattr(y, "tolist") else list(y)
    if len(y) != count:
        raise DataError(f"y has {len(y)} labels, X has {count} texts")
    several = [isinstance(part, Collection) and not isinstance(part, str | bytes) for part in y]
    for index, (part, more) in enumerate(zip(y, several, strict=True)):
        for label in part if more else [part]:
            if not _is_label(label):
                raise DataError(f"y[{index}] is {part!r}: expected a text or number as the label")
    if all(several):
        return [tuple(str(label) for label in labels) for labels in y]
    if any(several):
        raise DataError(f"y[{several.index(True)}] is a collection of labels, others are not")
    return np.asarray(y)


def _is_label(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip()) and not has_half(value)
    # not a number is not itself
    return isinstance(value, int | float | np.number | np.bool_) and value == value


def _from_table(source: Any, columns: TextColumns, labelled: bool) -> LabelledTexts:
    wanted = [columns.text, columns.label] if labelled else [columns.text]
    table = read_text_table(source, wanted, columns.encoding)
    texts = table.columns[columns.text]
    for index, text in enumerate(texts):
        if not text.strip():
            raise table.error(index, columns.text, "the text is empty; fill it in or take it out")
    labels: NDArray[Any] | list[tuple[str, ...]] | None = None
    if labelled and columns.separator is not None:
        labels = [
            tuple(part.strip() for part in text.split(columns.separator) if part.strip())
            for text in table.columns[columns.label]
        ]
    elif labelled:
        labels = np.array([text.strip() for text in table.columns[columns.label]])
        if (labels == "").any():
            index = int(np.argmax(labels == ""))
            raise table.error(index, columns.label, "the label is missing; fill it in")
    return LabelledTexts(texts, table.rows, labels, table.name)


def classes_of(data: LabelledTexts) -> NDArray[Any]:
    """The classes, sorted, shape (C,).

    Args:
        data: With labels.

    Raises:
        DataError: if there is nothing to tell apart.
    """
    assert data.labels is not None
    if isinstance(data.labels, np.ndarray):
        classes: NDArray[Any] = np.unique(data.labels)
        if len(classes) < 2:
            raise DataError(f"{data.name}: all texts have the label {str(classes[0])!r}")
        return classes
    names = sorted({label for labels in data.labels for label in labels})
    if not names:
        raise DataError(f"{data.name}: no text has a label")
    return np.array(names)


def indicator(data: LabelledTexts, classes: Sequence[Any]) -> NDArray[Any]:
    """The labels as numbers of classes, shape (N,); of several labels a text, boolean, (N, C).

    Args:
        data: With labels.
        classes: The C classes that are known.

    Raises:
        DataError: naming the first label that is none of them.
    """
    find = class_finder(classes)
    assert data.labels is not None
    several = not isinstance(data.labels, np.ndarray)
    result = np.zeros((len(data), len(classes)), dtype=bool)
    for index, labels in enumerate(data.labels):
        for label in labels if several else [labels]:
            number = find(label)
            if number is None:
                raise DataError(
                    f"{data.name}, row {data.rows[index]}: the label {str(label)!r} was not"
                    f" trained; the classes are {', '.join(map(str, classes))}"
                )
            result[index, number] = True
    return result if several else result.argmax(axis=1)
