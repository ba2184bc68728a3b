from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noria.errors import DataError, UsageError
from noria.features.sentences import MOST_CHARACTERS, Numbering, SentenceEncoder
from noria.features.tagged import TagColumns, TaggedWords, read_tagged, scheme_of

TEXT = "The DT B-NP\ncat NN I-NP\n\nsleeps VB O\n"


def tagged(*tags: str) -> TaggedWords:
    return read_tagged(
        [["w"] * len(part.split()) for part in tags], [part.split() for part in tags]
    )


def test_columns_are_counted_from_one_and_from_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    data = read_tagged(tmp_path / "a.txt", columns=TagColumns(features=(2,)))
    assert data.words == [["The", "cat"], ["sleeps"]]
    assert data.tags == [["B-NP", "I-NP"], ["O"]]
    assert data.features == [[["DT", "NN"], ["VB"]]]
    other = read_tagged(tmp_path / "a.txt", columns=TagColumns(word=-3, tag=2))
    assert (other.words, other.tags) == (data.words, data.features[0])
    assert data.place(1, 0).endswith("a.txt, word 1 of the sentence that begins on line 4")


def test_lists_say_the_same_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    columns = TagColumns(features=(2,))
    file = read_tagged(tmp_path / "a.txt", columns=columns)
    rows = [[("The", "DT"), ("cat", "NN")], [("sleeps", "VB")]]
    lists = read_tagged(rows, [["B-NP", "I-NP"], ["O"]], columns)
    assert (lists.words, lists.features, lists.tags) == (file.words, file.features, file.tags)
    assert lists.sha256() == file.sha256()
    assert read_tagged(rows, columns=columns, tagged=False).tags is None


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([["a\ud83d"]], [["O"]], r"X\[0\]\[0\] is 'a\\ud83d': half a surrogate pair"),
        (["a b"], [["O"]], r"X\[0\] is a text: expected a list of words"),
        ([[]], [[]], r"X\[0\] is an empty sentence"),
        ([], [], "X holds no sentences"),
        ([["a", 3]], [["O", "O"]], r"X\[0\]\[1\] is 3: expected a word"),
        ([["a"]], [["O", "O"]], r"y\[0\] has 2 tags, X\[0\] has 1 words"),
        ([["a"]], [], "y has 0 sentences, X has 1"),
        ([["a"]], [[None]], r"y\[0\]\[0\] is None: expected a tag"),
        ([["a"]], [[float("nan")]], r"y\[0\]\[0\] is nan: expected a tag"),
        ([["a"]], [["\ud83d"]], r"y\[0\]\[0\] is '\\ud83d': expected a tag"),
        ([["a"]], [[""]], r"y\[0\]\[0\] is an empty tag"),
        ([[("a", "DT")]], [["O"]], r"X\[0\]\[0\] is \('a', 'DT'\): expected a word"),
    ],
)
def test_lists_that_are_not_what_they_should_be(x: object, y: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_tagged(x, y)


def test_columns_that_are_not_there_or_used_twice(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    with pytest.raises(DataError, match="there is no column 4 for the tags; it has 3"):
        read_tagged(tmp_path / "a.txt", columns=TagColumns(tag=4))
    with pytest.raises(DataError, match="there is no column 0 for a feature"):
        read_tagged(tmp_path / "a.txt", columns=TagColumns(features=(0,)))
    with pytest.raises(UsageError, match="of its 3 columns one is used twice"):
        read_tagged(tmp_path / "a.txt", columns=TagColumns(features=(3,)))
    (tmp_path / "u.txt").write_text("1\ta\tO\n2\tb\tO\n")
    with pytest.raises(UsageError, match=r"u\.txt: column 1 counts the words; name the column"):
        read_tagged(tmp_path / "u.txt")
    assert read_tagged(tmp_path / "u.txt", columns=TagColumns(word=2)).words == [["a", "b"]]
    with pytest.raises(UsageError, match="a file brings its own tags"):
        read_tagged(tmp_path / "a.txt", [["O"]])
    with pytest.raises(UsageError, match="X is NoneType: expected a list of sentences"):
        read_tagged(None, [["O"]])
    with pytest.raises(UsageError, match="y is missing"):
        read_tagged([["a"]])


def test_the_scheme_is_found_out_or_refused() -> None:
    assert scheme_of(tagged("B-X I-X O"), None) == "iob2"
    assert scheme_of(tagged("I-X I-X B-X"), None) == "iob1"
    assert scheme_of(tagged("S-X O"), None) == "iobes"
    assert scheme_of(tagged("NN VB"), None) == "plain"
    with pytest.raises(
        DataError, match="sentence 1, word 1: the tag 'I-X' should be 'B-X' in iob2"
    ):
        scheme_of(tagged("B-X I-X", "O I-X"), None)
    assert scheme_of(tagged("B-X I-X", "O I-X"), "iob2") == "iob2"
    with pytest.raises(DataError, match="some tags, such as B-X, mark stretches"):
        scheme_of(tagged("B-X NP"), None)
    assert scheme_of(tagged("B-X NP"), "plain") == "plain"
    with pytest.raises(DataError, match="sentence 0, word 1: the tag 'NP' marks no stretch"):
        scheme_of(tagged("B-X NP"), "iob2")
    with pytest.raises(UsageError, match="scheme is 'iob', expected one of iob1, iob2"):
        scheme_of(tagged("B-X"), "iob")


def test_words_become_numbers_features_and_characters() -> None:
    data = read_tagged(
        [[("The", "DT"), ("1984", "CD")], [("the", "DT"), ("ñandú", "NN")]],
        [["O", "O"], ["O", "O"]],
        TagColumns(features=(2,)),
    )
    encoder = SentenceEncoder.train(data, vocabulary_size=100, min_count=1)
    one, other = encoder.encode(data)
    assert one.shape == (2, 1 + 1 + MOST_CHARACTERS)
    assert one[0, 0] == other[0, 0] > 1  # capitals make no other word
    assert encoder.words["0000"] == one[1, 0]
    assert one[0, 1] == other[0, 1] != one[1, 1]
    assert one[0, 2] != other[0, 2]  # but other characters
    np.testing.assert_array_equal(one[0, 3:], other[0, 3:])
    assert (one[:, 2:] > 0).sum(axis=1).tolist() == [3, 4]
    again = SentenceEncoder.from_dict(encoder.to_dict())
    unknown = read_tagged([[("zebra", "XX")]], None, TagColumns(features=(2,)), tagged=False)
    for own in (encoder, again):
        (row,) = own.encode(unknown)
        assert row[0, :2].tolist() == [Numbering.UNKNOWN, Numbering.UNKNOWN]
        assert row[0, 2] == 1  # no z in training
    np.testing.assert_array_equal(again.encode(data)[1], other)


def test_a_long_word_keeps_both_its_ends() -> None:
    data = read_tagged([["a" * 30 + "b"]], [["O"]])
    (row,) = SentenceEncoder.train(data, vocabulary_size=9, min_count=1).encode(data)
    characters = row[0, 1:]
    assert len(characters) == MOST_CHARACTERS
    assert (characters == characters[0]).sum() == MOST_CHARACTERS - 1
    assert characters[-1] != characters[0]


def test_numbers_go_to_the_common_ones() -> None:
    numbering = Numbering.train(["a", "b", "b", "c", "c", "c", "d"], most=4, min_count=1)
    assert numbering.names == ["c", "b"]
    assert [numbering[name] for name in "cba"] == [2, 3, 1]
    assert Numbering.train(["a", "b", "b"], most=9, min_count=2).names == ["b"]
