from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.base import clone

from noria import LanguageModel
from noria.errors import DataError, ModelFileError, UsageError
from noria.runtime import read_model, write_model
from noria.training.loop import History
from noria.training.streams import stream_loss
from tests.tasks.words import cards, small_language, story


@pytest.fixture(scope="module")
def fitted() -> LanguageModel:
    return small_language().fit([story(300)])


def test_memory_pays_where_one_has_to_count() -> None:
    """Six times a word, six times another: the rival sees five of them."""
    text = " ".join((["eins"] * 6 + ["zwei"] * 6) * 80)
    model = LanguageModel(
        tokens="word", cell="gru", hidden_size=24, embedding_size=8, steps=160, batch_size=8,
        stretch=32, learning_rate=0.01,
    )  # fmt: skip
    model.fit([text])
    comparison = model.comparison_
    assert comparison is not None
    loss = {score.model: score.loss for score in comparison.scores}
    assert loss["network"] < 0.12  # it has to find out where the text begins
    assert loss["fnn"] > 0.2  # ln 2 for two of six words
    assert loss["kneser_ney"] > 0.2
    assert comparison.verdict().startswith("Memory pays here")
    assert model.fnn_ is not None
    sizes = [part.module.parameter_count for part in (model.network_, model.fnn_)]
    assert abs(sizes[0] - sizes[1]) < 0.02 * sizes[0]
    written = model.generate(" ".join(["zwei"] * 6), length=18, temperature=0)[0]
    assert written.split() == ["eins"] * 6 + ["zwei"] * 6 + ["eins"] * 6


def test_scores_are_of_the_end_of_the_text(fitted: LanguageModel) -> None:
    text = story(300)
    held_out = text[round(0.9 * len(text)) :]
    comparison = fitted.comparison_
    assert comparison is not None
    assert comparison.characters == len(held_out)
    assert comparison.tokens == len(held_out) - 1
    again = fitted.evaluate([held_out])
    assert [s.metrics() for s in again.scores] == [s.metrics() for s in comparison.scores]
    tokens = fitted.tokenizer_.encode(held_out)
    own = stream_loss(fitted.network_.module, (tokens, np.ones(len(tokens), np.bool_)))
    assert comparison.scores[0].loss == own
    score = comparison.scores[0]
    bits = score.loss * (len(held_out) - 1) / len(held_out) / np.log(2)
    assert score.bits_per_character == pytest.approx(bits)
    assert score.perplexity == pytest.approx(np.exp(score.loss))


def test_nothing_of_the_test_is_in_the_vocabulary_or_the_training(tmp_path: Path) -> None:
    text = story(300)
    model = small_language(baselines=()).fit([text], test=["ßßß eins"])
    assert "ß" not in model.tokenizer_.vocabulary
    assert model.comparison_ is not None
    assert "not in the vocabulary" in model.comparison_.notes[0]
    changed = small_language(baselines=()).fit([text[: round(0.9 * len(text))] + "z" * 300])
    assert changed.trained_on_["characters"] > 0


def test_adapting_is_a_line_of_its_own(fitted: LanguageModel) -> None:
    before = {n: p.detach().clone() for n, p in fitted.network_.module.named_parameters()}
    scores = fitted.evaluate([story(100, seed=1)], adapt=True).scores
    assert [score.model for score in scores] == [
        "network",
        "fnn",
        "kneser_ney",
        "network, adapting",
    ]
    assert scores[-1].loss != scores[0].loss
    for name, parameter in fitted.network_.module.named_parameters():
        assert torch.equal(parameter, before[name])


def test_writes_the_same_for_the_same_seed(fitted: LanguageModel) -> None:
    one = fitted.generate("eins", seed=3, length=80)
    assert fitted.generate("eins", seed=3, length=80) == one
    assert fitted.generate("eins", seed=4, length=80) != one
    three = fitted.generate("eins", seed=3, length=80, samples=3)
    assert three[0] == one[0]
    assert len(set(three)) == 3
    assert all(len(text) == 80 for text in three)
    greedy = [fitted.generate("eins", temperature=0, seed=seed)[0] for seed in (1, 2)]
    assert greedy[0] == greedy[1]
    exact, rounded = (
        fitted.generate("eins", seed=3, length=5000, int8=int8)[0] for int8 in (False, True)
    )
    assert exact != rounded
    assert len(rounded) == 5000


def test_a_condition_calls_up_its_kind_of_text() -> None:
    model = LanguageModel(
        cell="gru", hidden_size=32, embedding_size=16, steps=80, learning_rate=0.03,
        batch_size=8, stretch=32, baselines=(), validation_size=0.1,
    )  # fmt: skip
    model.fit(cards(200), condition="kind")
    for kind, letters in [("high", "xyz"), ("low", "abc")]:
        texts = model.generate(condition=kind, samples=20, length=30)
        joined = "".join(texts)
        assert len(joined) > 40
        assert sum(letter in letters for letter in joined) > 0.95 * len(joined)
        assert np.mean([len(text) < 30 for text in texts]) > 0.8  # they end by themselves
    with pytest.raises(UsageError, match="give one"):
        model.generate()


@pytest.mark.parametrize(
    "settings",
    [
        {"tied": True, "num_layers": 2, "weight_dropout": 0.5, "dropout": 0.3,
         "embedding_dropout": 0.1, "recurrent_dropout": 0.1, "activation_penalty": 2.0,
         "temporal_penalty": 1.0, "optimizer": "sgd", "schedule": "constant",
         "learning_rate": 1.0, "average_after": 1},
        {"tokens": "word", "cutoffs": (4,), "hidden_size": 16},
        {"tokens": "bpe", "vocabulary_size": 280, "cell": "rnn_tanh", "feedback": "full"},
        {"tokens": "byte", "cell": "gru", "lower_case": True},
    ],
)  # fmt: skip
def test_saved_and_loaded_is_the_same_bit_for_bit(settings: Any, tmp_path: Path) -> None:
    model = small_language(**settings).fit([story(300)])
    model.save(tmp_path / "m.noria")
    loaded = LanguageModel.load(tmp_path / "m.noria")
    assert loaded.get_params().keys() == model.get_params().keys()
    assert loaded.tokenizer_.vocabulary == model.tokenizer_.vocabulary
    text = [story(80, seed=2)]
    one, other = loaded.evaluate(text, adapt=True), model.evaluate(text, adapt=True)
    assert [s.metrics() for s in one.scores] == [s.metrics() for s in other.scores]
    assert loaded.generate("eins", top_p=0.9) == model.generate("eins", top_p=0.9)
    assert loaded.comparison_ is not None
    assert model.comparison_ is not None
    assert loaded.comparison_.to_dict() == model.comparison_.to_dict()
    loaded.save(tmp_path / "again.noria")
    again = read_model(tmp_path / "again.noria").weights
    for name, weight in read_model(tmp_path / "m.noria").weights.items():
        assert again[name].tobytes() == weight.tobytes()


@pytest.mark.parametrize("averaged", [{}, {"average_after": 1, "optimizer": "sgd"}])
def test_resumed_is_not_to_be_told_from_not_interrupted(
    averaged: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"steps": 12, "dropout": 0.2, "weight_dropout": 0.3, "checkpoint_every": 3}
    text = [story(300)]
    whole = small_language(**settings, **averaged).fit(text)
    from noria.training import trained

    original = trained.train

    def killed(*args: Any, on_update: Any, **options: Any) -> History:
        def update(about: Any) -> None:
            on_update(about)
            if about.step == 8:
                raise KeyboardInterrupt

        return original(*args, on_update=update, **options)

    with monkeypatch.context() as patched:
        patched.setattr(trained, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            small_language(**settings, **averaged).fit(text, checkpoint=tmp_path / "c")
    resumed = small_language(**settings, **averaged)
    resumed.fit(text, checkpoint=tmp_path / "c", resume=True)
    for part, other in [(whole.network_, resumed.network_), (whole.fnn_, resumed.fnn_)]:
        assert part is not None
        assert other is not None
        for name, weight in part.weights().items():
            assert other.weights()[name].tobytes() == weight.tobytes(), name
    assert resumed.network_.history.validation == whole.network_.history.validation
    assert resumed.network_.history.samples == whole.network_.history.samples
    changed = small_language(**settings | {"weight_dropout": 0.2}, **averaged)
    with pytest.raises(ModelFileError, match="written for other data or settings"):
        changed.fit(text, checkpoint=tmp_path / "c", resume=True)


def test_sklearn_habits(fitted: LanguageModel) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "network_")
    with pytest.raises(UsageError, match="this LanguageModel is not fitted yet"):
        copy.evaluate(["eins"])
    with pytest.raises(UsageError, match="this LanguageModel is not fitted yet"):
        copy.generate("eins")


def test_an_adaptive_softmax_narrow_and_with_clusters_that_do_not_occur() -> None:
    settings: dict[str, Any] = {"cutoffs": (3, 8), "hidden_size": 16, "embedding_size": 4}
    model = small_language(tokens="word", baselines=("fnn",), **settings).fit([story(300)])
    assert model.fnn_ is not None
    assert model.fnn_.module.plan.wiring.layers[0].hidden_size >= 16
    often = model.tokenizer_.vocabulary[4]
    comparison = model.evaluate([f"{often} " * 100], adapt=True)
    adapting = next(score for score in comparison.scores if score.model.endswith("adapting"))
    assert 0 < adapting.loss < comparison.scores[0].loss


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_size": 0}, "hidden_size is 0: it must be at least 1"),
        ({"weight_dropout": 1.0}, "weight_dropout is 1.0: from 0 up to, not including, 1"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"temporal_penalty": -1}, "temporal_penalty is -1: it must be 0 or more"),
        ({"optimizer": "adam"}, "optimizer is 'adam': adamw or sgd"),
        ({"average_after": 0}, "average_after is 0: it must be at least 1"),
        ({"tokens": "letters"}, "tokens is 'letters', expected one of character"),
        ({"cutoffs": (900,)}, "stay below the vocabulary's"),
        (
            {"cutoffs": (9,), "tokens": "bpe"},
            "in the order of their frequency, which 'bpe' are not",
        ),
        ({"baselines": ("arima",)}, "baseline 'arima' is none of fnn, kneser_ney"),
        ({"cell": "lstmm"}, "lstmm"),
    ],
)
def test_arguments_that_cannot_be_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small_language(**settings).fit([story(300)])


def test_data_that_is_not_what_it_should_be(fitted: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is too little text to validate on"):
        small_language().fit(["ab" * 10])
    with pytest.raises(DataError, match="there is no such file"):
        small_language().fit(tmp_path / "no.txt")
    with pytest.raises(DataError, match="is many texts; the model was trained on one long text"):
        fitted.evaluate(["a", "b"])
    with pytest.raises(DataError, match="too little text to compare on"):
        fitted.evaluate(["a"])
    with pytest.raises(DataError, match="there is no column 'text'"):
        small_language().fit(pl.DataFrame({"words": ["a"]}))


def test_a_damaged_model_is_told(fitted: LanguageModel, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.noria")
    file = read_model(tmp_path / "m.noria")
    for change in [{"tokenizer": {}}, {"parts": {}}, {"settings": {"nothing": 1}}]:
        write_model(tmp_path / "d.noria", {**file.document, **change}, file.weights)
        with pytest.raises(ModelFileError, match="damaged"):
            LanguageModel.load(tmp_path / "d.noria")
