"""Word vectors that were learned elsewhere: word2vec's or GloVe's text, or safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from noria.errors import DataError
from noria.features.text import read_lines

__all__ = ["read_vectors"]


def read_vectors(
    path: Path | str, vocabulary: Sequence[str], encoding: str = "utf-8"
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The vectors of the words of a vocabulary.

    A text file has a word and its E numbers on each line, between blanks; a first line of two
    numbers, as word2vec writes it, is passed over. A safetensors file has one array (N, E) and in
    its metadata `words`, a JSON list of N words. A word that is not there is looked for in small
    letters.

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
    wanted = set(vocabulary) | {word.lower() for word in vocabulary}
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
        if number == 1 and len(parts) == 2:
            continue
        size = size or len(parts) - 1
        if size < 1 or len(parts) <= size:
            raise DataError(
                f"{path}, line {number}: expected a word and {max(size, 1)} numbers between blanks"
            )
        word = " ".join(parts[:-size])
        if word not in wanted:
            continue
        try:
            vector = np.array(parts[-size:], dtype=np.float32)
        except ValueError:
            raise DataError(f"{path}, line {number}: holds what is not a number") from None
        if not np.isfinite(vector).all():
            raise DataError(f"{path}, line {number}: holds a number that is not finite")
        found.setdefault(word, vector)
    return found


def _from_safetensors(path: Path, wanted: set[str]) -> dict[str, NDArray[np.float32]]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            (name,) = file.keys()
            table = file.get_tensor(name).astype(np.float32)
            words = json.loads((file.metadata() or {})["words"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: expected one array and its words in the metadata: {error}"
        ) from None
    if table.ndim != 2 or not isinstance(words, list) or len(words) != len(table):
        raise DataError(f"{path}: the array has shape {table.shape}, the words are {len(words)}")
    if not np.isfinite(table).all():
        raise DataError(f"{path}: holds a number that is not finite")
    return {word: table[i] for i, word in enumerate(words) if word in wanted}
