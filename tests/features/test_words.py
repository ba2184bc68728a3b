from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from noria.features.words import MOST_GRAMS, TextEncoder, gram_buckets


def encoder(texts: list[str], **changes: object) -> TextEncoder:
    settings: dict[str, object] = {
        "vocabulary_size": 100, "min_count": 1, "lower_case": True, "buckets": 40, "max_length": 5,
    }  # fmt: skip
    tokens = str(changes.pop("tokens", "word"))
    return TextEncoder.train(texts, tokens, **{**settings, **changes})  # type: ignore[arg-type]


@given(st.text(min_size=1, max_size=30), st.integers(1, 1000))
def test_grams_fall_into_the_buckets(word: str, buckets: int) -> None:
    found = gram_buckets(word, buckets)
    assert len(found) <= MOST_GRAMS
    assert all(1 <= bucket <= buckets for bucket in found)
    assert found == gram_buckets(word, buckets)


def test_grams_are_those_of_three_to_five_with_the_ends_marked() -> None:
    # <si sí̈ … by hand: <sí sí> | <sí>; of "cats": <ca cat ats ts> | <cat cats ats> | <cats cats>
    assert len(gram_buckets("cats", 10**9)) == 4 + 3 + 2
    shared = set(gram_buckets("cats", 10**9)) & set(gram_buckets("rats", 10**9))
    assert len(shared) == 3  # ats, ts>, ats>
    assert gram_buckets("a", 10**9) == []


def test_a_text_becomes_ids_and_buckets() -> None:
    own = encoder(["To be or not to be"])
    (one,) = own.encode(["BE what"])
    assert one.shape == (2, 1 + MOST_GRAMS)
    assert own.tokenizer.vocabulary[one[0, 0]] == "be"
    assert one[1, 0] == own.tokenizer.UNKNOWN
    assert [b for b in one[1, 1:] if b] == gram_buckets("what", 40)
    np.testing.assert_array_equal(one[0], own.encode(["be"])[0][0])
    assert own.words("BE what!") == ["BE", "what", "!"]


def test_no_more_words_than_the_most() -> None:
    own = encoder(["a b c d e f g"])
    assert own.encode(["a b c d e f g"])[0].shape[0] == 5
    assert own.words("a b c d e f g") == ["a", "b", "c", "d", "e"]


def test_pieces_and_characters_have_no_grams() -> None:
    for tokens in ("bpe", "character", "byte"):
        own = encoder(["ab ab"], tokens=tokens, vocabulary_size=300)
        assert own.buckets == 0
        assert own.encode(["ab"])[0].shape[1] == 1


def test_there_are_as_many_words_as_ids_in_any_writing() -> None:
    text = "İstanbul cafe\u0301 \u212a"
    for tokens in ("word", "space", "bpe", "unigram", "character", "byte"):
        own = encoder([text], tokens=tokens, vocabulary_size=300, max_length=50)
        assert len(own.words(text)) == len(own.encode([text])[0]), tokens
    own = encoder(["ab"], tokens="character", max_length=50)
    assert own.words("cafe\u0301 s") == ["c", "a", "f", "é", " ", "s"]
    own = encoder(["ab"], tokens="byte", vocabulary_size=300)
    assert own.words("İx") == ["İ", "İ", "İ", "x"]  # i and a dot of two bytes


def test_written_and_read_it_is_the_same() -> None:
    for tokens in ("word", "space", "bpe", "character"):
        own = encoder(["señor, 東京 is far"], tokens=tokens, vocabulary_size=300)
        again = TextEncoder.from_dict(own.to_dict())
        for text in ("señor far", "東京"):
            np.testing.assert_array_equal(own.encode([text])[0], again.encode([text])[0])
            assert own.words(text) == again.words(text)
