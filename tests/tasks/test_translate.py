from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.base import clone

from noria import Translator
from noria.errors import DataError, ModelFileError, UsageError
from noria.features.tokens import Tokenizer
from noria.runtime import read_model, write_model
from noria.training import trained
from noria.training.loop import History
from tests.tasks.words import pairs, small_translator


@pytest.fixture(scope="module")
def fitted() -> Translator:
    return small_translator().fit(*pairs(60))


def test_memory_pays_where_words_change_their_places() -> None:
    model = Translator(
        tokens="word", embedding_size=16, hidden_size=32, steps=180, batch_size=16,
        learning_rate=0.02, dropout=0.0, beam_size=2,
    )  # fmt: skip
    model.fit(*pairs(300), test=pairs(40, seed=1))
    comparison = model.comparison_
    assert comparison is not None
    bleu = {score.model: score.bleu for score in comparison.scores}
    assert bleu["network"] > 80
    assert bleu["fnn"] < bleu["network"] - 20
    assert bleu["lexicon"] < bleu["network"] - 20
    assert comparison.verdict().startswith("Memory pays here")
    assert comparison.sentences == 40
    assert "nrefs:1|case:mixed" in comparison.notes[0]
    assert model.fnn_ is not None
    sizes = [part.module.parameter_count for part in (model.network_, model.fnn_)]
    assert abs(sizes[0] - sizes[1]) < 0.02 * sizes[0]
    (best, *_) = model.translate_n_best(["eins zwei vier sechs"])[0]
    assert best.text == "six four two one"
    assert best.links() == "3-0 2-1 1-2 0-3"  # where it looked is where it belongs
    again = model.evaluate(*pairs(40, seed=1))
    assert [s.metrics() for s in again.scores] == [s.metrics() for s in comparison.scores]


def test_predicts_in_every_form(fitted: Translator, tmp_path: Path) -> None:
    sources = ["eins zwei", "", "drei"]
    (tmp_path / "t.txt").write_text("\n".join(sources) + "\n", encoding="utf-8")
    expected = fitted.predict(sources)
    assert expected[1] == ""
    assert fitted.predict(tmp_path / "t.txt") == expected
    frame = fitted.predict_frame(tmp_path / "t.txt", n_best=2)
    assert frame.columns == ["line", "rank", "source", "translation", "score", "alignment"]
    assert frame["line"].to_list() == [1, 1, 2, 3, 3]
    assert frame["rank"].to_list() == [1, 2, 1, 1, 2]
    best = frame.filter(pl.col("rank") == 1)
    assert best["translation"].to_list() == expected
    scores = frame["score"].to_list()
    assert scores[0] >= scores[1]
    with pytest.raises(UsageError, match="n_best is 6 and beam_size 5"):
        fitted.predict_frame(sources, n_best=6)


def test_reads_one_file_or_two(tmp_path: Path) -> None:
    X, y = pairs(40)
    (tmp_path / "de").write_text("\n".join(X), encoding="utf-8")
    (tmp_path / "en.gz").write_bytes(gzip.compress("\n".join(y).encode()))
    both = "\n".join(f"{one}\t{other}\tCC BY" for one, other in zip(X, y, strict=True))
    (tmp_path / "both.tsv").write_text(both, encoding="utf-8")
    settings: dict[str, Any] = {"baselines": (), "steps": 2}
    expected = small_translator(**settings).fit(X, y)
    for form in [(tmp_path / "de", tmp_path / "en.gz"), (tmp_path / "both.tsv",)]:
        model = small_translator(**settings).fit(*form)
        assert model.trained_on_ == expected.trained_on_
        assert model.predict(X[:3]) == expected.predict(X[:3])
        again = model.evaluate(*form)
        assert again.sentences == 40


def test_what_is_held_out_is_not_learned() -> None:
    X, y = pairs(60)
    model = small_translator(baselines=(), steps=1).fit(X, y)
    assert model.trained_on_["pairs"] == 60 - 3 - 3
    given = small_translator(baselines=(), steps=1)
    given.fit(X, y, validation=pairs(5, seed=1), test=pairs(7, seed=2))
    assert given.trained_on_["pairs"] == 60
    assert given.trained_on_["validation_pairs"] == 5
    assert given.comparison_ is not None
    assert given.comparison_.sentences == 7
    assert small_translator(baselines=(), steps=1, test_size=0.0).fit(X, y).comparison_ is None


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "lstm", "num_layers": 2, "attention": "additive", "recurrent_dropout": 0.1},
        {"tokens": "bpe", "vocabulary_size": 270, "input_feeding": False, "tied": False},
        {"tokens": "character", "cell": "rnn_tanh", "average_after": 1, "lower_case": True},
    ],
)
def test_saved_and_loaded_is_the_same_bit_for_bit(settings: Any, tmp_path: Path) -> None:
    model = small_translator(**settings).fit(*pairs(40))
    model.save(tmp_path / "m.noria")
    loaded = Translator.load(tmp_path / "m.noria")
    sources = pairs(8, seed=1)[0]
    one, other = loaded.predict_frame(sources, n_best=2), model.predict_frame(sources, n_best=2)
    assert str(one) == str(other)
    assert one["score"].to_list() == other["score"].to_list()
    assert loaded.exhibits_ == model.exhibits_
    assert model.comparison_ is not None
    assert loaded.comparison_ is not None
    assert loaded.comparison_.to_dict() == model.comparison_.to_dict()
    loaded.save(tmp_path / "again.noria")
    again = read_model(tmp_path / "again.noria").weights
    for name, weight in read_model(tmp_path / "m.noria").weights.items():
        assert again[name].tobytes() == weight.tobytes()


def test_a_run_that_goes_on_keeps_its_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # learning pieces is not the same twice: here it differs as much as it can
    settings: dict[str, Any] = {"tokens": "unigram", "vocabulary_size": 300, "checkpoint_every": 3}
    checkpoint = tmp_path / "c"
    first = small_translator(steps=6, **settings).fit(*pairs(60), checkpoint=checkpoint)
    with monkeypatch.context() as patched:
        patched.delattr(Tokenizer, "train")
        again = small_translator(steps=6, **settings)
        again.fit(*pairs(60), checkpoint=checkpoint, resume=True)
    assert again.tokenizer_.to_dict() == first.tokenizer_.to_dict()
    for name, weight in first.network_.weights().items():
        assert again.network_.weights()[name].tobytes() == weight.tobytes(), name
    (file,) = (path for path in again.checkpoints(checkpoint) if path.name == "c-tokenizer")
    other = small_translator(steps=6, **settings | {"vocabulary_size": 290})
    with pytest.raises(ModelFileError, match="c-tokenizer was written for other data or settings"):
        other.fit(*pairs(60), checkpoint=checkpoint, resume=True)
    file.write_text("{}")
    with pytest.raises(ModelFileError, match="c-tokenizer is damaged"):
        again.fit(*pairs(60), checkpoint=checkpoint, resume=True)
    file.unlink()  # nothing tells that the weights are for these tokens
    original = Tokenizer.train

    def differently(texts: Any, kind: str, **options: Any) -> Tokenizer:
        return original(texts, kind, **options | {"vocabulary_size": 290})

    monkeypatch.setattr(Tokenizer, "train", differently)
    with pytest.raises(ModelFileError, match="c-network was written for other data or settings"):
        again.fit(*pairs(60), checkpoint=checkpoint, resume=True)


def test_resumed_is_not_to_be_told_from_not_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"steps": 9, "checkpoint_every": 3}
    whole = small_translator(**settings).fit(*pairs(60))
    original = trained.train

    def killed(*args: Any, on_update: Any, **options: Any) -> History:
        def update(about: Any) -> None:
            on_update(about)
            if about.step == 5:
                raise KeyboardInterrupt

        return original(*args, on_update=update, **options)

    with monkeypatch.context() as patched:
        patched.setattr(trained, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            small_translator(**settings).fit(*pairs(60), checkpoint=tmp_path / "c")
    resumed = small_translator(**settings)
    resumed.fit(*pairs(60), checkpoint=tmp_path / "c", resume=True)
    for part, other in [(whole.network_, resumed.network_), (whole.fnn_, resumed.fnn_)]:
        assert part is not None
        assert other is not None
        for name, weight in part.weights().items():
            assert other.weights()[name].tobytes() == weight.tobytes(), name
    assert resumed.network_.history.samples == whole.network_.history.samples
    with pytest.raises(ModelFileError, match="written for other data or settings"):
        small_translator(**settings | {"label_smoothing": 0.0}).fit(
            *pairs(60), checkpoint=tmp_path / "c", resume=True
        )


def test_sklearn_habits(fitted: Translator) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    for ask in (lambda: copy.predict(["eins"]), lambda: copy.evaluate(*pairs(3))):
        with pytest.raises(UsageError, match="this Translator is not fitted yet"):
            ask()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": 0}, "num_layers is 0: it must be at least 1"),
        ({"beam_size": 0}, "beam_size is 0: it must be at least 1"),
        ({"length_penalty": -1}, "length_penalty is -1: it must be 0 or more"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0: from 0 up to"),
        ({"attention": "dot"}, "attention is 'dot', expected one of multiplicative, additive"),
        ({"feedback": "full", "num_layers": 2}, "bidirectional"),
        ({"baselines": ("ibm",)}, "baseline 'ibm' is none of fnn, lexicon"),
    ],
)
def test_arguments_that_cannot_be_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small_translator(**settings).fit(*pairs(40))


def test_data_that_is_not_what_it_should_be(tmp_path: Path) -> None:
    X, y = pairs(20)
    with pytest.raises(UsageError, match="sentences need as many translations"):
        small_translator().fit(X, y[:-1])
    with pytest.raises(UsageError, match="sentences need as many translations"):
        small_translator().fit(X)
    with pytest.raises(DataError, match="2 pairs are too few"):
        small_translator().fit(X[:2], y[:2])
    (tmp_path / "short").write_text("\n".join(y[:-1]), encoding="utf-8")
    (tmp_path / "de").write_text("\n".join(X), encoding="utf-8")
    with pytest.raises(DataError, match="they belong together line by line"):
        small_translator().fit(tmp_path / "de", tmp_path / "short")


def test_a_damaged_model_is_told(fitted: Translator, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.noria")
    file = read_model(tmp_path / "m.noria")
    for change in [{"tokenizer": {}}, {"parts": {}}, {"settings": {"nothing": 1}}]:
        write_model(tmp_path / "d.noria", {**file.document, **change}, file.weights)
        with pytest.raises(ModelFileError, match="damaged"):
            Translator.load(tmp_path / "d.noria")
