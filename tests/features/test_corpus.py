from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from noria.errors import DataError, UsageError
from noria.features.corpus import Corpus, prompt_tokens, read_corpus
from noria.features.tokens import Tokenizer

TEXTS = ["one", "two", "three", "four", "five"]


def test_one_long_text_is_cut_at_its_end() -> None:
    first, last = Corpus("c", ["abcdefghij"], whole=True).split(0.2, 0)
    assert (first.texts, last.texts) == (["abcdefgh"], ["ij"])
    assert first.whole
    assert last.characters == 2
    with pytest.raises(DataError, match="too short to hold a part of it out"):
        Corpus("c", ["ab"], whole=True).split(0.1, 0)


def test_of_many_texts_any_are_held_out_with_their_conditions() -> None:
    corpus = Corpus("c", TEXTS, [text[0] for text in TEXTS])
    first, last = corpus.split(0.4, 3)
    assert sorted(first.texts + last.texts) == sorted(TEXTS)
    assert len(last.texts) == 2
    for part in (first, last):
        assert part.conditions == [text[0] for text in part.texts]
    assert corpus.split(0.4, 3)[1] == last
    assert any(corpus.split(0.4, seed)[1] != last for seed in range(4, 9))
    with pytest.raises(DataError, match="2 texts are too few"):
        Corpus("c", TEXTS[:2]).split(0.1, 0)


def test_what_of_the_stream_is_to_be_foretold() -> None:
    corpus = Corpus("c", ["ab", "b"], ["x", "yx"])
    tokenizer = Tokenizer.train(["abxy"], "character")
    tokens, foretold = corpus.encode(tokenizer)
    begin, end, padding = tokenizer.BEGIN, tokenizer.END, tokenizer.PADDING
    a, b, x, y = tokenizer.encode("abxy").tolist()
    assert tokens.tolist() == [begin, x, padding, a, b, end, begin, y, x, padding, b, end]
    marks = "...+++....++"
    assert foretold.tolist() == [mark == "+" for mark in marks]
    assert prompt_tokens(tokenizer, "a", "yx").tolist() == [begin, y, x, padding, a]
    assert prompt_tokens(tokenizer, "a").tolist() == [begin, a]
    whole, counted = Corpus("c", ["abba"], whole=True).encode(tokenizer)
    assert whole.tolist() == [a, b, b, a]
    assert counted.all()


def test_reads_text_tables_lists_and_frames(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": TEXTS, "kind": list("ABABA")})
    frame.write_csv(tmp_path / "t.csv")
    frame.write_ndjson(tmp_path / "t.jsonl")
    (tmp_path / "t.txt").write_text("one\ntwo\n", encoding="utf-8")
    expected = read_corpus(frame, condition="kind")
    assert (expected.texts, expected.conditions) == (TEXTS, list("ABABA"))
    for form in (tmp_path / "t.csv", str(tmp_path / "t.jsonl"), frame.to_pandas()):
        corpus = read_corpus(form, condition="kind")
        assert (corpus.texts, corpus.conditions) == (expected.texts, expected.conditions)
        assert corpus.sha256() == expected.sha256()
    text = read_corpus(tmp_path / "t.txt")
    assert text.whole
    assert text.texts == ["one\ntwo\n"]
    assert read_corpus(TEXTS).texts == TEXTS
    assert read_corpus(["all of it"]).whole
    assert not read_corpus(["all of it"], whole=False).whole


def test_the_hash_tells_texts_apart() -> None:
    seen = {
        Corpus("c", texts, conditions).sha256()
        for texts, conditions in [(["ab"], None), (["a", "b"], None), (["a"], ["b"])]
    }
    assert len(seen) in (2, 3)
    assert Corpus("other", ["ab"]).sha256() in seen


def test_bad_input_is_told(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": ["a", " "], "kind": ["A", "B"]})
    with pytest.raises(DataError, match="the text is empty; fill it in or drop the row"):
        read_corpus(frame, condition="kind")
    assert read_corpus(frame).texts == ["a"]  # a row without anything is none
    with pytest.raises(UsageError, match="texts are a list of strings, at least one"):
        read_corpus([])
    with pytest.raises(UsageError, match="plain text has no column 'kind'; give a table"):
        read_corpus(TEXTS, condition="kind")
    (tmp_path / "t.txt").write_text("one", encoding="utf-8")
    with pytest.raises(DataError, match="is one long text; the model was trained on many texts"):
        read_corpus(tmp_path / "t.txt", whole=False)
    with pytest.raises(DataError, match="is many texts; the model was trained on one long text"):
        read_corpus(TEXTS, whole=True)


def test_no_text_is_lost_between_marks() -> None:
    tokenizer = Tokenizer.train(TEXTS, "bpe", vocabulary_size=270)
    tokens, foretold = Corpus("c", TEXTS).encode(tokenizer)
    ends = np.flatnonzero(tokens == tokenizer.END)
    begins = np.flatnonzero(tokens == tokenizer.BEGIN)
    found = [tokenizer.decode(tokens[b:e]) for b, e in zip(begins, ends, strict=True)]
    assert found == TEXTS
    assert not foretold[begins].any()
    assert foretold[ends].all()
