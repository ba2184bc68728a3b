"""Texts to learn a language from: one long text, or many short ones, each with what calls it up."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError, UsageError
from noria.features.text import read_text
from noria.features.text_table import read_text_table
from noria.features.tokens import Tokenizer

__all__ = ["Corpus", "prompt_tokens", "read_corpus"]

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True)
class Corpus:
    """Texts, in the order in which they are read.

    Attributes:
        name: What messages call it.
        texts: One long text, or N texts.
        conditions: What each text is called up by, such as its class; None where nothing is.
        whole: Whether it is one long text, without beginning and end.
    """

    name: str
    texts: list[str]
    conditions: list[str] | None = None
    whole: bool = False

    @property
    def characters(self) -> int:
        """Characters of all texts."""
        return sum(map(len, self.texts))

    def split(self, share: float, seed: int) -> tuple[Corpus, Corpus]:
        """Cut off the last part: of one long text its end, of many texts any, by the seed.

        Args:
            share: Of the part cut off.
            seed: Of the choice.

        Raises:
            DataError: if a part would be empty.
        """
        if self.whole:
            cut = round(len(self.texts[0]) * (1 - share))
            parts = [[self.texts[0][:cut]], [self.texts[0][cut:]]]
            if not all(text for (text,) in parts):
                raise DataError(f"{self.name}: the text is too short to hold a part of it out")
            return replace(self, texts=parts[0]), replace(self, texts=parts[1])
        order = np.random.default_rng(seed).permutation(len(self.texts)).tolist()
        cut = round(len(order) * (1 - share))
        if not 0 < cut < len(order):
            raise DataError(f"{self.name}: {len(order)} texts are too few to hold some out")
        return self._take(order[:cut]), self._take(order[cut:])

    def _take(self, indices: Sequence[int]) -> Corpus:
        conditions = self.conditions and [self.conditions[index] for index in indices]
        return replace(self, texts=[self.texts[index] for index in indices], conditions=conditions)

    def encode(self, tokenizer: Tokenizer) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """All texts as one stream of tokens.

        Returns:
            The tokens, shape (N,), and which of them are to be foretold: those of a text and its
            end, not its beginning and its condition.
        """
        encoded = tokenizer.encode_batch(self.texts)
        if self.whole:
            return encoded[0], np.ones(len(encoded[0]), np.bool_)
        pieces, counted = [], []
        end = np.array([tokenizer.END])
        conditions: Sequence[str | None] = self.conditions or [None] * len(encoded)
        for ids, condition in zip(encoded, conditions, strict=True):
            given = prompt_tokens(tokenizer, "", condition)
            pieces += [given, ids, end]
            counted += [np.zeros(len(given), np.bool_), np.ones(len(ids) + 1, np.bool_)]
        return np.concatenate(pieces), np.concatenate(counted)

    def sha256(self) -> str:
        """Hash of the texts and conditions."""
        digest = hashlib.sha256()
        for text in [*self.texts, *(self.conditions or ())]:
            digest.update(f"{len(text)} {text}".encode(errors="surrogatepass"))
        return digest.hexdigest()


def prompt_tokens(
    tokenizer: Tokenizer, text: str, condition: str | None = None
) -> NDArray[np.int64]:
    """How a text of many begins: the mark of a beginning, the condition, padding, then the text."""
    parts = [np.array([tokenizer.BEGIN]), tokenizer.encode(text)]
    if condition is not None:
        parts[1:1] = [tokenizer.encode(condition), np.array([tokenizer.PADDING])]
    return np.concatenate(parts)


def read_corpus(
    source: Any,
    text: str = "text",
    condition: str | None = None,
    encoding: str = "utf-8",
    *,
    whole: bool | None = None,
) -> Corpus:
    """Read texts.

    Args:
        source: Path of a plain text, or of a .csv, .tsv, .jsonl, .ndjson or .parquet file with a
            text in each row; a list of texts; or a dataframe.
        text: The column of texts.
        condition: The column of what calls each text up; None for none.
        encoding: Of a file of text, by Python's names.
        whole: What it must be: one long text (True) or many (False); None takes either.

    Raises:
        DataError: if the data is not what it should be.
        UsageError: if source is nothing of these.
    """
    if isinstance(source, list | tuple):
        if not source or not all(isinstance(part, str) for part in source):
            raise UsageError("texts are a list of strings, at least one")
        corpus = Corpus("texts", list(source), whole=len(source) == 1 and whole is not False)
    elif not isinstance(source, str | os.PathLike) or _is_table(Path(source)):
        columns = [text] if condition is None else [text, condition]
        table = read_text_table(source, columns, encoding)
        for index, value in enumerate(table.columns[text]):
            if not value.strip():
                raise table.error(index, text, "the text is empty; fill it in or drop the row")
        conditions = None if condition is None else table.columns[condition]
        corpus = Corpus(table.name, table.columns[text], conditions)
    else:
        corpus = Corpus(str(source), [read_text(Path(source), encoding)], whole=True)
    if condition is not None and corpus.conditions is None:
        raise UsageError(f"{corpus.name}: plain text has no column {condition!r}; give a table")
    if whole is not None and corpus.whole != whole:
        kinds = {True: "one long text", False: "many texts"}
        raise DataError(
            f"{corpus.name}: is {kinds[corpus.whole]}; the model was trained on {kinds[whole]}"
        )
    return corpus


def _is_table(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(_TABLES)
