"""Word vectors that were learned elsewhere: word2vec's or GloVe's text, or safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open

from noria.errors import DataError
from noria.features.text import read_lines

__all__ = ["read_vectors"]

_NUMPY = ("F16", "F32", "F64")


def read_vectors(
    path: Path | str, vocabulary: Sequence[str], encoding: str = "utf-8"
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The vectors of the words of a vocabulary.

    A text file has a word and its E numbers on each line, between blanks; a first line of two
    whole numbers, how many words and E, as word2vec writes it, is not a word's. A safetensors file
    has one array (N, E) and in its metadata `words`, a JSON list of N words. Of a word that stands
    there twice the first counts; one that does not is looked for in small letters.

    Args:
        path: The file; ends in .safetensors, or else is text, also .gz.
        vocabulary: The words, V of them.
        encoding: Of a text.

    Returns:
        Shape (V, E), zero where there is none; and which words have one, shape (V,).

    Raises:
        DataError: if the file cannot be read, is not of this form, or knows none of the words.
    """
    path = Path(path)
    wanted = ({*vocabulary} | {word.lower() for word in vocabulary}) - {""}
    found = (
        _from_safetensors(path, wanted)
        if path.suffix == ".safetensors"
        else _from_text(path, wanted, encoding)
    )
    rows = [found.get(word, found.get(word.lower())) for word in vocabulary]
    known = np.array([row is not None for row in rows])
    if not known.any():
        raise DataError(f"{path}: has a vector for none of the {len(vocabulary)} words of the data")
    size = len(next(row for row in rows if row is not None))
    table = np.stack([np.zeros(size, np.float32) if row is None else row for row in rows])
    return table, known


def _from_text(path: Path, wanted: set[str], encoding: str) -> dict[str, NDArray[np.float32]]:
    found: dict[str, NDArray[np.float32]] = {}
    size = 0
    for number, line in enumerate(read_lines(path, encoding), 1):
        parts = line.rstrip().split(" ")
        if number == 1 and len(parts) == 2 and all(part.isdecimal() for part in parts):
            size = int(parts[1])
            continue
        size = size or len(parts) - 1
        word = " ".join(parts[:-size])
        # a word may hold blanks, but one of the data's with a number after it is a row too long
        too_long = len(parts) > size + 1 and parts[0] in wanted and _is_number(parts[-size - 1])
        if size < 1 or len(parts) <= size or too_long:
            raise DataError(
                f"{path}, line {number}: expected a word and {max(size, 1)} numbers between blanks"
            )
        if word not in wanted:
            continue
        try:
            with np.errstate(over="ignore"):
                vector = np.array(parts[-size:], dtype=np.float32)
        except ValueError:
            raise DataError(f"{path}, line {number}: holds what is not a number") from None
        if not np.isfinite(vector).all():
            raise DataError(f"{path}, line {number}: holds a number that is not finite")
        found.setdefault(word, vector)
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _from_safetensors(path: Path, wanted: set[str]) -> dict[str, NDArray[np.float32]]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            (name,) = file.keys()
            kind = file.get_slice(name).get_dtype()
            words = json.loads((file.metadata() or {})["words"])
            table = file.get_tensor(name) if kind in _NUMPY else None
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: expected one array and its words in the metadata: {error}"
        ) from None
    if kind == "BF16":
        ((_, part),) = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
        bits = np.frombuffer(part["data"], "<u2").astype(np.uint32) << 16
        table = bits.view(np.float32).reshape(part["shape"])
    if table is None:
        raise DataError(f"{path}: holds numbers of type {kind}: expected F16, BF16, F32 or F64")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(f"{path}: the metadata's words are no JSON list of texts")
    if table.ndim != 2 or not table.shape[1] or len(words) != len(table):
        raise DataError(f"{path}: the array has shape {table.shape}, the words are {len(words)}")
    with np.errstate(over="ignore"):
        table = table.astype(np.float32)
    if not np.isfinite(table).all():
        raise DataError(f"{path}: holds a number that is not finite")
    found: dict[str, NDArray[np.float32]] = {}
    for word, row in zip(words, table, strict=True):
        if word in wanted:
            found.setdefault(word, row)
    return found
