from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.errors import DataError, UsageError
from noria.features.tokens import TOKENS, Tokenizer

TEXTS = [
    "En un lugar de la Mancha, de cuyo nombre no quiero acordarme,",
    "no ha mucho tiempo que vivía un hidalgo.",
    "私は猫です。 名前はまだない。",
    "हिन्दी में लिखा हुआ वाक्य",
    "Дождь идёт; дождь!!! #погода @user it's well-known 😀",
]
LOSSLESS = ("character", "byte", "bpe", "unigram")


@pytest.fixture(scope="module", params=TOKENS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.train(TEXTS, request.param, vocabulary_size=400)


def test_what_was_trained_comes_back(tokenizer: Tokenizer) -> None:
    for text, ids in zip(TEXTS, tokenizer.encode_batch(TEXTS), strict=True):
        assert ids.dtype == np.int64
        assert ids.min() > Tokenizer.END
        assert ids.max() < len(tokenizer)
        if tokenizer.kind in LOSSLESS:
            assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)
        elif tokenizer.kind == "space":
            assert tokenizer.decode(ids) == text


TRAINED = {kind: Tokenizer.train(TEXTS, kind, vocabulary_size=400) for kind in LOSSLESS[1:]}


@given(text=st.text(max_size=40))
@pytest.mark.parametrize("kind", TRAINED)
def test_bytes_know_every_text(kind: str, text: str) -> None:
    trained = TRAINED[kind]
    ids = trained.encode(text)
    assert not np.isin(ids, [0, 1, 2, 3]).any()
    expected = text if kind == "byte" else unicodedata.normalize("NFC", text)
    assert trained.decode(ids) == expected


def test_from_and_to_json_is_the_same(tokenizer: Tokenizer) -> None:
    again = Tokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert again.vocabulary == tokenizer.vocabulary
    strange = "<s> < unknown > Zebra 猫 \n"
    for text in [*TEXTS, strange]:
        assert again.encode(text).tolist() == tokenizer.encode(text).tolist()
        assert again.spans(text) == tokenizer.spans(text)


def test_no_text_is_taken_for_a_special_token() -> None:
    special = "< padding > < begin > < end > < unknown >"
    for kind in TOKENS:
        trained = Tokenizer.train([special], kind, vocabulary_size=300)
        for ids in (
            trained.encode(special),
            Tokenizer.from_dict(trained.to_dict()).encode(special),
        ):
            assert ids.min() > Tokenizer.END, kind


def test_words_of_any_script() -> None:
    trained = Tokenizer.train(TEXTS, "word")
    text = "l'été à @user: #погода well-known!!! 私は नाम 3"
    words = [text[begin:end] for begin, end in trained.spans(text)]
    assert words == [
        "l'été", "à", "@user", ":", "#погода", "well-known", "!!!", "私", "は", "नाम", "3",
    ]  # fmt: skip
    ids = trained.encode(text)
    assert (ids == Tokenizer.UNKNOWN).tolist() == [
        True, True, False, True, False, False, False, False, False, True, True,
    ]  # fmt: skip


def test_ids_are_dealt_out_by_count() -> None:
    for kind in ("character", "space"):
        trained = Tokenizer.train(["b b b a a c"], kind)
        order = [token for token in trained.vocabulary[4:] if token != " "]
        assert order == ["b", "a", "c"]
        rare = Tokenizer.train(["b b b a a c"], kind, min_count=2)
        assert "c" not in rare.vocabulary
        assert Tokenizer.UNKNOWN in rare.encode("a c")
        assert len(Tokenizer.train(["b b b a a c"], kind, vocabulary_size=5)) == 5


def test_capitals() -> None:
    for kind in TOKENS:
        trained = Tokenizer.train(["Über ALLES über alles"], kind, lower_case=True)
        assert trained.encode("ÜBER").tolist() == trained.encode("über").tolist()
        exact = Tokenizer.train(["Über ALLES über alles"], kind)
        assert exact.encode("Über").tolist() != exact.encode("über").tolist()


def test_a_letter_and_its_mark_are_one_however_they_are_written() -> None:
    for kind in ("word", "space", "bpe", "unigram", "character"):
        tokenizer = Tokenizer.train(["café naïve"] * 9, kind, vocabulary_size=300)
        apart = "cafe\u0301 nai\u0308ve"
        spans, text = tokenizer.spans(apart), tokenizer.normal(apart)
        assert text == "café naïve"
        assert (
            "".join(text[begin:end] for begin, end in sorted(set(spans))).replace(" ", "")
            == "cafénaïve"
        )


@pytest.mark.parametrize("kind", ["byte", "character"])
def test_lower_case_of_another_length(kind: str) -> None:
    tokenizer = Tokenizer.train(["i̇stanbul"], kind, lower_case=True)
    spans = tokenizer.spans("aİb")
    assert len(spans) == len(tokenizer.encode("aİb"))
    assert set(spans) == {(0, 1), (1, 2), (2, 3)}


@pytest.mark.parametrize("kind", ["byte", "character", "word", "bpe"])
def test_half_a_surrogate_pair_is_no_text(kind: str) -> None:
    tokenizer = Tokenizer.train(["a b"], kind, vocabulary_size=300)
    with pytest.raises(DataError, match="holds half of a surrogate pair"):
        tokenizer.encode("a \ud800")


def test_spans_lead_back_to_the_text(tokenizer: Tokenizer) -> None:
    for text in TEXTS:
        spans = tokenizer.spans(text)
        assert len(spans) == len(tokenizer.encode(text))
        assert {i for begin, end in spans for i in range(begin, end)} >= {
            i for i, character in enumerate(text) if not character.isspace()
        }


@pytest.mark.parametrize("kind", [kind for kind in TOKENS if kind != "unigram"])
def test_training_twice_gives_the_same(kind: str) -> None:
    one, other = (Tokenizer.train(iter(TEXTS), kind, vocabulary_size=400) for _ in range(2))
    assert one.to_dict() == other.to_dict()


def test_nothing_to_learn_from() -> None:
    for kind in TOKENS:
        trained = Tokenizer.train([], kind)
        assert trained.encode("").shape == (0,)
        if kind in ("character", "word", "space"):
            assert trained.encode("a").tolist() == [Tokenizer.UNKNOWN]


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("letters", {}, "tokens is 'letters', expected one of character, byte, word"),
        ("bpe", {"vocabulary_size": 100}, "vocabulary_size is 100: tokens 'bpe' need at least 260"),
        ("word", {"vocabulary_size": 4}, "vocabulary_size is 4: tokens 'word' need at least 5"),
        ("word", {"min_count": 0}, "min_count is 0: it must be at least 1"),
    ],
)
def test_arguments_that_cannot_be_meant(kind: str, settings: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Tokenizer.train(TEXTS, kind, **settings)


def test_a_damaged_document_is_a_value_error() -> None:
    document = Tokenizer.train(TEXTS, "word").to_dict()
    for bad in ({**document, "library": {}}, {**document, "kind": "letters"}):
        with pytest.raises(ValueError, match=r"cannot be read|no tokens"):
            Tokenizer.from_dict(bad)
