from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from noria.errors import DataError, UsageError
from noria.features.text import read_conll, read_lines, read_parallel, read_text

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "a.txt") -> Path:
        path = tmp_path / name
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def test_lines_end_with_a_line_feed_alone(write: Write) -> None:
    text = "\ufeffuno\r\ndos\u0085tres\u2028cuatro\n\n五\n"
    assert read_text(write(text)) == text[1:]
    assert read_lines(write(text)) == ["uno", "dos\u0085tres\u2028cuatro", "", "五"]
    assert read_lines(write(text, "a.txt.gz")) == read_lines(write(text))
    assert read_lines(write("no end")) == ["no end"]


def test_other_encodings(write: Write) -> None:
    path = write("bien\nseñor\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.txt, line 2: the byte 0xf1 is not utf-8; name the"):
        read_text(path)
    assert read_lines(path, "latin-1") == ["bien", "señor"]
    assert read_lines(write("señor".encode("utf-16")), "utf-16") == ["señor"]
    with pytest.raises(UsageError, match="there is no such encoding"):
        read_text(path, "latin1000")
    with pytest.raises(DataError, match=r"a\.txt: is not undefined: .*undefined encoding"):
        read_text(path, "undefined")
    with pytest.raises(DataError, match="holds half a surrogate pair, which is no character"):
        read_text(write("a\\ud83d\n"), "unicode_escape")


def test_files_that_are_none(write: Write, tmp_path: Path) -> None:
    for path, message in [
        (tmp_path / "no.txt", "there is no such file"),
        (tmp_path, "is a directory"),
        (write(" \n\n"), "the file is empty"),
        (write(b"", "a"), "the file is empty"),
    ]:
        with pytest.raises(DataError, match=message):
            read_text(path)
    (tmp_path / "bad.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path / "bad.gz")


def test_parallel_text(write: Write) -> None:
    one, other = write("Go.\n\nHi!\n", "en"), write("Ve.\n\n¡Hola! \n", "es")
    expected = [("Go.", "Ve."), ("Hi!", "¡Hola!")]
    assert read_parallel(one, other) == expected
    assert read_parallel(write("Go.\tVe.\tCC-BY\nHi!\t¡Hola!\tCC-BY\n")) == expected
    with pytest.raises(DataError, match=r"es: has 1 lines, .*en has 3"):
        read_parallel(one, write("Ve.\n", "es"))
    with pytest.raises(DataError, match="line 2: the first text of the pair is missing"):
        read_parallel(one, write("a\nb\nc\n", "es"))
    with pytest.raises(DataError, match="line 2: has no tab"):
        read_parallel(write("a\tb\nc\n"))


CONLL = """-DOCSTART- -X- O

Confidence NN B-NP
# # B-NP

the DT B-NP
"""


def test_conll_columns(write: Write) -> None:
    read = read_conll(write(CONLL))
    assert read.column(0) == [["Confidence", "#"], ["the"]]
    assert read.column(-1) == [["B-NP", "B-NP"], ["B-NP"]]
    assert (read.width, read.lines) == (3, (3, 6))
    tabs = read_conll(write("# a comment\nNew York\tB-LOC\n#\tO\n"))
    assert tabs.column(0) == [["New York", "#"]]
    with pytest.raises(DataError, match="line 2: the number of columns is 2, not 3 as above"):
        read_conll(write("a b c\na b\n"))
    with pytest.raises(DataError, match="line 1: a column is empty"):
        read_conll(write("a\t\tc\n"))
    with pytest.raises(DataError, match="holds no words"):
        read_conll(write("-DOCSTART- O\n"))


CONLL_U = """# text = vámonos	al mar
1-2	vámonos	_
1	vamos	VERB
2	nos	PRON
2.1	ya	_

# text = 3.5 - 4
1	3.5	NUM
2	1-2	NUM
"""


def test_conll_u_has_lines_that_are_no_words(write: Write) -> None:
    for name in ("a.txt", "a.conllu"):
        read = read_conll(write(CONLL_U, name))
        assert read.column(1) == [["vamos", "nos"], ["3.5", "1-2"]]
        assert (read.lines, read.counted) == ((3, 8), True)
    assert read_conll(write("1\ta\t_\n3\tc\t_\n3.1\tc\t_\n", "b.conllu")).column(0) == [["1", "3"]]
    words = read_conll(write("1-2\tSCORE\n1\tNUM\nx\tO\n"))
    assert (words.column(0), words.counted) == ([["1-2", "1", "x"]], False)


def test_blanks_between_columns_are_plain_ones(write: Write) -> None:
    assert read_conll(write("10\xa0000  NUM \n")).column(0) == [["10\xa0000"]]
