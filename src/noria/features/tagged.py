"""Sentences of words with a tag each: what a tagger learns from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from noria.errors import DataError, UsageError
from noria.features.tags import SCHEMES, Scheme, detect_scheme, first_fault, marks
from noria.features.text import TaggedSentences, has_half, read_conll

__all__ = ["TagColumns", "TaggedWords", "check_tags", "read_tagged", "scheme_of"]

Rows = list[list[str]]
"""Of each sentence a text a word."""


@dataclass(frozen=True)
class TagColumns:
    """Which column of a file is what, counted from 1, or from the end: −1 is the last.

    Attributes:
        word: The words.
        tag: The tags.
        features: Further columns that help to find the tag, such as the part of speech.
        encoding: Of files.
    """

    word: int = 1
    tag: int = -1
    features: tuple[int, ...] = ()
    encoding: str = "utf-8"

    def encoded(self, encoding: str | None) -> TagColumns:
        """The same columns of a file of another encoding; None for the same one."""
        return self if encoding is None else replace(self, encoding=encoding)


@dataclass(frozen=True)
class TaggedWords:
    """Sentences, N of them.

    Attributes:
        words: Of each sentence.
        features: P further columns, as `words` each.
        tags: Of each word; None for none.
        name: What messages call the source.
        lines: Line on which each sentence begins; None if it is no file.
    """

    words: Rows
    features: list[Rows]
    tags: Rows | None
    name: str
    lines: tuple[int, ...] | None

    def __len__(self) -> int:
        return len(self.words)

    def take(self, chosen: Sequence[int]) -> TaggedWords:
        """Some of the sentences."""
        return replace(
            self,
            words=[self.words[index] for index in chosen],
            features=[[part[index] for index in chosen] for part in self.features],
            tags=self.tags and [self.tags[index] for index in chosen],
            lines=self.lines and tuple(self.lines[index] for index in chosen),
        )

    def place(self, sentence: int, word: int) -> str:
        """What the user calls a word's place."""
        if self.lines is None:
            return f"{self.name}, sentence {sentence}, word {word}"
        return (
            f"{self.name}, word {word + 1} of the sentence that begins on line"
            f" {self.lines[sentence]}"
        )

    def sha256(self) -> str:
        """A hash of all that a model is trained on."""
        content = repr([self.words, self.features, self.tags])
        return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()


def read_tagged(
    source: Any, y: Any = None, columns: TagColumns | None = None, *, tagged: bool = True
) -> TaggedWords:
    """Take sentences as a user has them.

    Args:
        source: The path of a file in CoNLL's columns, see `noria.features.text.read_conll`; or a
            list of sentences, each a list of words, or of tuples of a word and its features.
        y: Tags of a list, as lists.
        columns: Which column of a file is what; of a list, the number of features counts.
        tagged: Whether tags are needed. If not, none is looked at.

    Raises:
        DataError: if the source cannot be read, has no such column, or words and tags do not fit.
        UsageError: if the arguments contradict each other.
    """
    columns = columns or TagColumns()
    if isinstance(source, str | os.PathLike):
        if y is not None:
            raise UsageError("y is given, but a file brings its own tags")
        return _from_file(read_conll(Path(source), columns.encoding), columns, tagged)
    if tagged and y is None:
        raise UsageError("y is missing: a list of sentences brings no tags")
    words, features = _from_list(source, len(columns.features))
    if not tagged:
        return TaggedWords(words, features, None, "X", None)
    given = [list(sentence) for sentence in y]
    for index, sentence in enumerate(given):
        for place, tag in enumerate(sentence):
            if tag is None or tag != tag or has_half(str(tag)):  # not a number is not itself
                raise DataError(f"y[{index}][{place}] is {tag!r}: expected a tag")
    tags = [[str(tag) for tag in sentence] for sentence in given]
    if len(tags) != len(words):
        raise DataError(f"y has {len(tags)} sentences, X has {len(words)}")
    for index, (sentence, own) in enumerate(zip(words, tags, strict=True)):
        if len(sentence) != len(own):
            raise DataError(f"y[{index}] has {len(own)} tags, X[{index}] has {len(sentence)} words")
        if not all(own):
            raise DataError(f"y[{index}][{own.index('')}] is an empty tag")
    return TaggedWords(words, features, tags, "X", None)


def _from_list(source: Any, count: int) -> tuple[Rows, list[Rows]]:
    if not isinstance(source, Iterable):
        raise UsageError(f"X is {type(source).__name__}: expected a list of sentences, or a path")
    words: Rows = []
    features: list[Rows] = [[] for _ in range(count)]
    for index, sentence in enumerate(source):
        if isinstance(sentence, str) or not len(sentence):
            found = "an empty sentence" if not len(sentence) else "a text"
            raise DataError(f"X[{index}] is {found}: expected a list of words")
        rows = [tuple(w) if isinstance(w, list | tuple) else (w,) for w in sentence]
        for place, row in enumerate(rows):
            if len(row) != 1 + count or not all(isinstance(part, str) and part for part in row):
                expected = f"a word and {count} features" if count else "a word"
                raise DataError(f"X[{index}][{place}] is {sentence[place]!r}: expected {expected}")
            if any(map(has_half, row)):
                raise DataError(
                    f"X[{index}][{place}] is {sentence[place]!r}: half a surrogate pair is no"
                    " character"
                )
        words.append([row[0] for row in rows])
        for number, part in enumerate(features, 1):
            part.append([row[number] for row in rows])
    if not words:
        raise DataError("X holds no sentences")
    return words, features


def _from_file(file: TaggedSentences, columns: TagColumns, tagged: bool) -> TaggedWords:
    def column(number: int, what: str) -> Rows:
        if number == 0 or not -file.width <= number <= file.width:
            raise DataError(
                f"{file.name}: there is no column {number} for {what}; it has {file.width},"
                " counted from 1, or from the end, where -1 is the last"
            )
        return file.column(number - 1 if number > 0 else number)

    words = column(columns.word, "the words")
    if file.counted and columns.word in (1, -file.width):
        raise UsageError(
            f"{file.name}: column 1 counts the words; name the column that holds them, word=2 in"
            " CoNLL-U"
        )
    features = [column(number, "a feature") for number in columns.features]
    tags = column(columns.tag, "the tags") if tagged else None
    used = [columns.word, *columns.features, *([columns.tag] if tagged else [])]
    if len({number if number > 0 else file.width + 1 + number for number in used}) < len(used):
        raise UsageError(f"{file.name}: of its {file.width} columns one is used twice; name others")
    return TaggedWords(words, features, tags, file.name, file.lines)


def check_tags(data: TaggedWords, scheme: str) -> None:
    """Refuse tags that could be of no such scheme.

    Args:
        data: With tags.
        scheme: One of `noria.features.tags.SCHEMES`.

    Raises:
        DataError: naming the first tag.
    """
    for number, tags in enumerate(data.tags or ()):
        for word, tag in enumerate(tags):
            if scheme != "plain" and not marks(tag):
                raise DataError(
                    f"{data.place(number, word)}: the tag {tag!r} marks no stretch of words, as"
                    f" those of {scheme} do"
                )


def scheme_of(data: TaggedWords, scheme: str | None) -> Scheme:
    """The scheme of the tags.

    Args:
        data: With tags.
        scheme: None finds it out and refuses tags that break its rules; a name is taken at its
            word, and tags that break the rules are read as conlleval reads them.

    Raises:
        DataError: if the tags are of no scheme.
        UsageError: if there is no such scheme.
    """
    assert data.tags is not None
    if scheme is not None and scheme not in SCHEMES:
        raise UsageError(f"scheme is {scheme!r}, expected one of {', '.join(SCHEMES)}")
    if scheme is not None:
        check_tags(data, scheme)
        return next(name for name in SCHEMES if name == scheme)
    found = detect_scheme(tag for sentence in data.tags for tag in sentence)
    if found is None:
        raise DataError(
            f"{data.name}: some tags, such as B-X, mark stretches of words, others cannot; mend"
            " them, or take scheme 'plain', a tag a word"
        )
    fault = None if found == "plain" else first_fault(data.tags, found)
    if fault is None:
        return found
    if found == "iob2" and first_fault(data.tags, "iob1") is None:
        return "iob1"
    sentence, word, should = fault
    raise DataError(
        f"{data.place(sentence, word)}: the tag {data.tags[sentence][word]!r} should be"
        f" {should!r} in {found}; mend it, or name the scheme to have it read so"
    )
