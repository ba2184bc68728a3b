"""The text format of the UEA and UCR archives, `.ts`.

    # a comment
    @problemName Words
    @classLabel true yes no
    @data
    1.0,2.0,3.0:0.5,?,0.1:yes

Lines of the header begin with @. After @data every line is a case: its channels, separated by
colons, are numbers separated by commas, `?` or `NaN` where missing; a label comes last. Cases may
differ in length. With @targetLabel true in place of @classLabel the label is a number, `?` or `NaN`
where it is not known.

Source: Löning et al. 2019, sktime; the format as aeon documents it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError
from noria.features.labelled import LabelledSequences
from noria.features.series import LARGEST

__all__ = ["read_ts"]

_MISSING = frozenset({"?", "nan"})


@dataclass
class _Header:
    """What the lines before the data say."""

    timestamps: bool = False
    class_label: bool = False
    target_label: bool = False
    labels: tuple[str, ...] = ()
    univariate: bool | None = None
    dimensions: int | None = None
    equal_length: bool = False
    series_length: int | None = None


def read_ts(path: Path) -> LabelledSequences:
    """Read a `.ts` file.

    Args:
        path: The file, in UTF-8.

    Returns:
        Its cases, named by the number of their line among the data, from 0. Their labels are texts,
        or float64 where the header says @targetLabel true; None in a file without labels.

    Raises:
        DataError: if the file cannot be read, or a line is not what the header says; the message
            names the line.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    if path.is_dir():
        raise DataError(f"{path}: is a directory; give a .ts file")
    try:
        lines = enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1)
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text; a .ts file is") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    header = _read_header(path, lines)
    sequences: list[NDArray[np.float64]] = []
    labels: list[str | float] = []
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        sequence, label = _read_case(f"{path}, line {number}", text, header)
        if sequences and sequence.shape[1] != sequences[0].shape[1]:
            raise DataError(
                f"{path}, line {number}: has {sequence.shape[1]} channels,"
                f" the first case has {sequences[0].shape[1]}"
            )
        if header.equal_length and sequences and len(sequence) != len(sequences[0]):
            raise DataError(
                f"{path}, line {number}: has {len(sequence)} steps, the first case has"
                f" {len(sequences[0])}, and the header says @equalLength true"
            )
        sequences.append(sequence)
        labels.append(label)
    if not sequences:
        raise DataError(f"{path}: holds no cases after @data")
    return LabelledSequences(
        tuple(sequences),
        ids=tuple(str(index) for index in range(len(sequences))),
        channels=tuple(f"channel_{index}" for index in range(sequences[0].shape[1])),
        labels=np.array(labels) if header.class_label or header.target_label else None,
        name=str(path),
        targets=header.target_label,
    )


def _read_header(path: Path, lines: Iterator[tuple[int, str]]) -> _Header:
    """Read up to and with the line @data."""
    header = _Header()
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        where = f"{path}, line {number}"
        if not text.startswith("@"):
            raise DataError(f"{where}: expected a line of the header, such as @data")
        word, *values = text[1:].split()
        match word.lower():
            case "data":
                if header.class_label and header.target_label:
                    raise DataError(
                        f"{where}: the header says @classLabel true and @targetLabel true;"
                        " a case has a class or a number"
                    )
                return header
            case "timestamps":
                if _truth(where, word, values):
                    raise DataError(f"{where}: time stamps inside the cases are not read")
            case "classlabel":
                header.class_label = _truth(where, word, values)
                header.labels = tuple(values[1:])
            case "targetlabel":
                header.target_label = _truth(where, word, values)
            case "univariate":
                header.univariate = _truth(where, word, values)
            case "equallength":
                header.equal_length = _truth(where, word, values)
            case "dimensions" | "dimension":
                header.dimensions = _whole(where, word, values)
            case "serieslength":
                header.series_length = _whole(where, word, values)
            case _:  # problemName, missing and what others add
                pass
    raise DataError(f"{path}: has no line @data; is it a .ts file?")


def _truth(where: str, word: str, values: list[str]) -> bool:
    if not values or values[0].lower() not in ("true", "false"):
        raise DataError(f"{where}: @{word} takes true or false")
    return values[0].lower() == "true"


def _whole(where: str, word: str, values: list[str]) -> int:
    if not values or not values[0].isdecimal() or int(values[0]) < 1:
        raise DataError(f"{where}: @{word} takes a whole number, at least 1")
    return int(values[0])


def _read_case(where: str, text: str, header: _Header) -> tuple[NDArray[np.float64], str | float]:
    """The values (T, I) of a line, and its label."""
    parts = text.split(":")
    label: str | float = ""
    if header.class_label or header.target_label:
        label = parts.pop().strip()
        if header.labels and label not in header.labels:
            raise DataError(
                f"{where}: the label {label!r} is none of {', '.join(header.labels)},"
                " which the header names"
            )
        if not label:
            raise DataError(f"{where}: the label is missing")
        if not parts:
            raise DataError(f"{where}: holds a label and no values")
        if header.target_label:
            (label,) = _read_channel(f"{where}, label", [label])
    wanted = 1 if header.univariate and header.dimensions is None else header.dimensions
    if wanted is not None and len(parts) != wanted:
        raise DataError(f"{where}: has {len(parts)} channels, the header says {wanted}")
    channels = [
        _read_channel(f"{where}, channel {n}", part.split(",")) for n, part in enumerate(parts)
    ]
    lengths = [len(channel) for channel in channels]
    if len(set(lengths)) > 1:
        odd = next(index for index, length in enumerate(lengths) if length != lengths[0])
        raise DataError(
            f"{where}: channel {odd} has {lengths[odd]} values, channel 0 has {lengths[0]}"
        )
    if header.equal_length and header.series_length not in (None, lengths[0]):
        raise DataError(f"{where}: has {lengths[0]} steps, the header says {header.series_length}")
    return np.array(channels, dtype=np.float64).T, label


def _read_channel(where: str, fields: list[str]) -> list[float]:
    values = []
    for place, field in enumerate(fields):
        word = field.strip()
        if word.lower() in _MISSING:
            values.append(float("nan"))
            continue
        try:
            value = float(word)
        except ValueError:
            raise DataError(
                f"{where}, value {place}: {word!r} is not a number; write ? for a missing one"
            ) from None
        if np.isinf(value):
            raise DataError(f"{where}, value {place}: the number is infinite")
        if abs(value) > LARGEST:
            raise DataError(
                f"{where}, value {place}: {word} is too large a number, above {LARGEST:g};"
                " correct it, or write ? for a missing one"
            )
        values.append(value)
    return values
