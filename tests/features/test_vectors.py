from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import torch as torch_file
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


def test_words_with_blanks_and_vectors_of_one_number(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("the 1 2\nnew york 3 4\n. . . 5 6\nNew 7 8\n")
    table, known = read_vectors(tmp_path / "v.txt", [*WORDS, ". . .", ""])
    assert known.tolist() == [False, True, True, False, True, False]
    np.testing.assert_array_equal(table[4], [5, 6])
    (tmp_path / "v.txt").write_text("the 1\nNew 2\n")
    table, known = read_vectors(tmp_path / "v.txt", WORDS)
    assert (table.ravel().tolist(), known.tolist()) == ([0, 1, 2, 0], [False, True, True, False])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_safetensors_of_other_precisions(tmp_path: Path, kind: torch.dtype) -> None:
    rows = torch.tensor([[1.5, -2.0], [3.0, 0.25], [9.0, 9.0]]).to(kind)
    torch_file.save_file(
        {"any": rows}, tmp_path / "v.safetensors", {"words": '["the", "New", "the"]'}
    )
    table, _ = read_vectors(tmp_path / "v.safetensors", WORDS)
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table[1:3], [[1.5, -2], [3, 0.25]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("the\n", "line 1: expected a word and 1 numbers"),
        ("the 1 2\nnew 3\n", "line 2: expected a word and 2 numbers"),
        ("the 1 x\n", "line 1: holds what is not a number"),
        ("the 1 nan\n", "line 1: holds a number that is not finite"),
        ("the 1 1e39\n", "line 1: holds a number that is not finite"),
        ("the 1 2\nnew 3 4 5\n", "line 2: expected a word and 2 numbers"),
        ("2 3\nthe 1 2\nnew 3 4\n", "line 2: expected a word and 3 numbers"),
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
    for words in ("null", "3", '[["the"], "a"]', '{"the": 1}'):
        save_file({"a": rows}, path, {"words": words})
        with pytest.raises(DataError, match="words are no JSON list of texts"):
            read_vectors(path, WORDS)
    save_file({"a": rows.astype(np.int8)}, path, {"words": '["the", "a"]'})
    with pytest.raises(DataError, match="holds numbers of type I8: expected F16, BF16, F32"):
        read_vectors(path, WORDS)
    save_file({"a": rows * np.float64(1e300)}, path, {"words": '["the", "a"]'})
    with pytest.raises(DataError, match="holds a number that is not finite"):
        read_vectors(path, WORDS)
    save_file({"a": rows * np.nan}, path, {"words": '["the", "a"]'})
    with pytest.raises(DataError, match="holds a number that is not finite"):
        read_vectors(path, WORDS)
