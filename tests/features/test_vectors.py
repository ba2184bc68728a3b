from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from noria.errors import DataError
from noria.features.vectors import read_vectors

WORDS = ["< padding >", "the", "New", "york"]


def test_text_with_and_without_a_heading(tmp_path: Path) -> None:
    body = "the 1 2\nnew 3 4\nzebra 5 6\nNew 7 8\nNew 9 9\n"
    (tmp_path / "glove.txt").write_text(body)
    (tmp_path / "word2vec.txt").write_text("5 2\n" + body)
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(body.encode()))
    for name in ("glove.txt", "word2vec.txt", "v.txt.gz"):
        table, known = read_vectors(tmp_path / name, WORDS)
        assert known.tolist() == [False, True, True, False]
        np.testing.assert_array_equal(table, [[0, 0], [1, 2], [7, 8], [0, 0]])


def test_a_word_is_also_looked_for_in_small_letters(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("york 1 2\nnew 3 4\n")
    table, known = read_vectors(tmp_path / "v.txt", ["New", "York"])
    assert known.all()
    np.testing.assert_array_equal(table, [[3, 4], [1, 2]])


def test_safetensors(tmp_path: Path) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    save_file({"any": rows}, tmp_path / "v.safetensors", {"words": '["the", "a", "york"]'})
    table, known = read_vectors(tmp_path / "v.safetensors", WORDS)
    assert known.tolist() == [False, True, False, True]
    np.testing.assert_array_equal(table[[1, 3]], [[0, 1], [4, 5]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("the\n", "line 1: expected a word and 1 numbers"),
        ("the 1 2\nnew 3\n", "line 2: expected a word and 2 numbers"),
        ("the 1 x\n", "line 1: holds what is not a number"),
        ("the 1 nan\n", "line 1: holds a number that is not finite"),
        ("zebra 1 2\n", "has a vector for none of the 4 words"),
    ],
)
def test_text_that_is_not_what_it_should_be(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        read_vectors(tmp_path / "v.txt", WORDS)


def test_safetensors_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    with pytest.raises(DataError, match="there is no such file"):
        read_vectors(path, WORDS)
    path.write_bytes(b"not this")
    with pytest.raises(DataError, match="expected one array and its words in the metadata"):
        read_vectors(path, WORDS)
    rows = np.ones((2, 3), np.float32)
    save_file({"a": rows}, path)
    with pytest.raises(DataError, match="expected one array and its words in the metadata"):
        read_vectors(path, WORDS)
    save_file({"a": rows}, path, {"words": '["the"]'})
    with pytest.raises(DataError, match=r"the array has shape \(2, 3\), the words are 1"):
        read_vectors(path, WORDS)
    save_file({"a": rows * np.nan}, path, {"words": '["the", "a"]'})
    with pytest.raises(DataError, match="holds a number that is not finite"):
        read_vectors(path, WORDS)
