"""Plain text, parallel text and CoNLL columns from files.

Every reader takes `.gz` files too. Lines end with a line feed, with or without a carriage return;
other characters that Unicode counts as ends of lines are part of the text.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from noria.errors import DataError, UsageError

__all__ = ["TaggedSentences", "has_half", "read_conll", "read_lines", "read_parallel", "read_text"]

_NO_WORD = re.compile(r"\d+[-.]\d+")
_HALF = re.compile("[\ud800-\udfff]")


def has_half(text: str) -> bool:
    """Whether a text holds half of a surrogate pair, which no character is.

    JSON and some encodings can write one; UTF-8 cannot.
    """
    return _HALF.search(text) is not None


def read_text(path: Path | str, encoding: str = "utf-8") -> str:
    """The whole text of a file; a byte order mark is left out.

    Args:
        path: The file.
        encoding: Of the file, by Python's names.

    Raises:
        DataError: if the file is missing, empty or has another encoding; names the line.
        UsageError: if there is no such encoding.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a directory; give a file")
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    try:
        content = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    try:
        text = content.decode(encoding)
    except LookupError:
        raise UsageError(f"encoding is {encoding!r}: there is no such encoding") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: the byte 0x{content[error.start]:02x} is not {encoding};"
            " name the file's encoding, such as latin-1 or utf-16"
        ) from None
    except UnicodeError as error:  # of encodings that are no text's, such as idna
        raise DataError(f"{path}: is not {encoding}: {error}") from None
    if has_half(text):
        raise DataError(f"{path}: holds half a surrogate pair, which is no character")
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return text


def read_lines(path: Path | str, encoding: str = "utf-8") -> list[str]:
    """The lines of a file without their ends.

    Args:
        path: The file.
        encoding: Of the file, by Python's names.

    Raises:
        DataError: if the file is missing, empty or has another encoding; names the line.
        UsageError: if there is no such encoding.
    """
    lines = read_text(path, encoding).split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_parallel(
    source: Path | str, target: Path | str | None = None, encoding: str = "utf-8"
) -> list[tuple[str, str]]:
    """Pairs of texts that say the same, a line each.

    Lines that are empty on both sides are left out.

    Args:
        source: One language; or both, as the first two columns between tabs.
        target: The other language, line by line; None if source holds both.
        encoding: Of the files, by Python's names.

    Raises:
        DataError: if a file is missing, empty or has another encoding, the files differ in length,
            or one side of a pair is missing; names the line.
        UsageError: if there is no such encoding.
    """
    if target is None:
        rows = [line.split("\t") for line in read_lines(source, encoding)]
        for number, row in enumerate(rows, 1):
            if len(row) == 1 and row[0].strip():
                raise DataError(f"{source}, line {number}: has no tab between two texts")
        pairs = [(row[0].strip(), row[1].strip() if len(row) > 1 else "") for row in rows]
    else:
        left, right = (read_lines(path, encoding) for path in (source, target))
        if len(left) != len(right):
            raise DataError(
                f"{target}: has {len(right)} lines, {source} has {len(left)}: they belong together"
                " line by line"
            )
        pairs = [(one.strip(), other.strip()) for one, other in zip(left, right, strict=True)]
    for number, (one, other) in enumerate(pairs, 1):
        if bool(one) != bool(other):
            side = "second" if one else "first"
            raise DataError(f"{source}, line {number}: the {side} text of the pair is missing")
    return [pair for pair in pairs if pair[0]]


@dataclass(frozen=True)
class TaggedSentences:
    """Sentences of words with columns beside them.

    Attributes:
        sentences: Of each sentence the rows, of each row the columns, W texts.
        lines: Line in the file on which each sentence begins.
        name: What messages call the file.
        counted: Whether the first column counts the words of each sentence.
    """

    sentences: tuple[tuple[tuple[str, ...], ...], ...]
    lines: tuple[int, ...]
    name: str
    counted: bool = False

    @property
    def width(self) -> int:
        """W, number of columns."""
        return len(self.sentences[0][0])

    def column(self, index: int) -> list[list[str]]:
        """One column of every sentence; −1 is the last."""
        return [[row[index] for row in sentence] for sentence in self.sentences]


def read_conll(path: Path | str, encoding: str = "utf-8") -> TaggedSentences:
    """Read words in columns: a line a word, an empty line after each sentence.

    Columns stand between tabs, or else between blanks. Lines of the word -DOCSTART- are left out,
    and in a file with tabs comments, lines that begin with # and have none. In CoNLL-U, a file with
    tabs that ends in .conllu or whose first column counts the words of each sentence, all lines
    that begin with # are comments, and those of several words in one (1-2) and of none (1.1) are
    left out.

    Args:
        path: The file; also .gz.
        encoding: Of the file, by Python's names.

    Raises:
        DataError: if the file is missing, empty or has another encoding, or a line has more or
            fewer columns than the first; names the line.
        UsageError: if there is no such encoding.
    """
    lines = read_lines(path, encoding)
    tabs = any("\t" in line for line in lines)
    counted = tabs and _is_counted(Path(path), lines)
    sentences: list[tuple[tuple[str, ...], ...]] = []
    begins: list[int] = []
    rows: list[tuple[str, ...]] = []
    width = 0
    for number, line in enumerate([*lines, ""], 1):
        row = tuple(line.rstrip().split("\t") if tabs else filter(None, line.split(" ")))
        if not line.strip() or row[0] == "-DOCSTART-":
            if rows:
                sentences.append(tuple(rows))
                rows = []
            continue
        if tabs and line.startswith("#") and (counted or len(row) == 1):
            continue
        if counted and _NO_WORD.fullmatch(row[0]):
            continue
        if not rows:
            begins.append(number)
        width = width or len(row)
        if len(row) != width:
            raise DataError(
                f"{path}, line {number}: the number of columns is {len(row)}, not {width} as above"
            )
        if not all(row):
            raise DataError(f"{path}, line {number}: a column is empty")
        rows.append(row)
    if not sentences:
        raise DataError(f"{path}: holds no words")
    return TaggedSentences(tuple(sentences), tuple(begins), str(path), counted)


def _is_counted(path: Path, lines: Sequence[str]) -> bool:
    """Whether the first column counts the words of each sentence, as in CoNLL-U."""
    if path.name.lower().removesuffix(".gz").endswith(".conllu"):
        return True
    expected = 1
    for line in lines:
        if not line.strip():
            expected = 1
        elif not line.startswith("#") and not _NO_WORD.fullmatch(place := line.split("\t")[0]):
            if place != str(expected):
                return False
            expected += 1
    return True
