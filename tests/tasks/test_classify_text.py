from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from safetensors.numpy import save_file
from sklearn.base import clone

from noria import TextClassifier
from noria.errors import DataError, ModelFileError, UsageError
from noria.runtime import read_model, write_model
from noria.training.explaining import log_odds
from tests.tasks.reviews import reviews, small

LEARNS: dict[str, Any] = {
    "learning_rate": 0.03, "dropout": 0.0, "embedding_dropout": 0.0, "word_dropout": 0.0,
    "members": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> TextClassifier:
    return small().fit(*reviews(24))


@pytest.fixture(scope="module")
def learned() -> TextClassifier:
    """Knows that great is good and awful is bad."""
    texts = [f"the film was {word} today" for word in ("great", "awful")] * 20
    settings = {**LEARNS, "steps": 60, "baselines": (), "pooling": "attention"}
    return small(**settings).fit(texts, ["good", "bad"] * 20)


def test_the_order_of_words_needs_memory() -> None:
    """Both classes have the same words, and pairs of neighbours say nothing."""
    classifier = TextClassifier(
        **LEARNS, hidden_size=12, embedding_size=12, buckets=0, steps=160, batch_size=20,
        feedback="direct+lateral", pooling="last", bidirectional=False,
    ).fit(*reviews(200), test=reviews(100, seed=1))  # fmt: skip
    accuracy = {score.model: score.accuracy for score in classifier.comparison_.scores}
    assert accuracy["network"] > 0.9
    assert accuracy["fnn"] < 0.75
    assert accuracy["tfidf_logistic_regression"] < 0.75
    assert classifier.comparison_.verdict().startswith("Memory pays here")
    assert classifier.fnn_ is not None
    sizes = [part.parameter_count for part in (classifier.network_, classifier.fnn_)]
    assert abs(sizes[0] - sizes[1]) < 0.05 * sizes[0]
    assert classifier.score(*reviews(100, seed=1)) == accuracy["network"]


def test_held_out_texts_that_were_learned_from_are_noted() -> None:
    texts, labels = reviews(24)
    test = [texts[0].replace(" ", "  "), "quite new", texts[3]]
    settings: dict[str, Any] = {"steps": 1, "members": 1, "baselines": ()}
    fitted = small(**settings).fit(texts, labels, test=(test, labels[:3]))
    assert fitted.comparison_.notes[0].startswith("2 of the 3 held-out cases stand word for word")
    fitted = small(**settings).fit(texts, labels, test=(test[1:2], labels[:1]))
    assert fitted.comparison_.notes == ()
    twice = small(**settings).fit(texts * 2, labels * 2).comparison_.notes
    assert "held-out cases stand word for word" in twice[1]


def test_words_alone_suffice_for_the_bag() -> None:
    texts = [f"a {word} b" for word in ("great", "awful", "plain")] * 12
    comparison = small().fit(texts, ["good", "bad", "none"] * 12).comparison_
    scores = {score.model: score for score in comparison.scores}
    assert scores["tfidf_logistic_regression"].accuracy == 1
    assert "cross-validation" in comparison.notes[0]


def test_several_labels_or_none() -> None:
    random = np.random.default_rng(0)
    texts, labels = [], []
    for _ in range(120):
        chosen = random.random(2) < 0.5
        names = [name for name, has in zip(("sport", "money"), chosen, strict=True) if has]
        texts.append(" ".join([*names, "w1", "w2"]))
        labels.append(names)
    classifier = small(**LEARNS, steps=120).fit(
        texts[:80], labels[:80], test=(texts[80:], labels[80:])
    )
    assert classifier.multi_label_
    assert classifier.classes_.tolist() == ["money", "sport"]
    assert classifier.comparison_.scores[0].accuracy > 0.95
    assert classifier.comparison_.scores[2].accuracy > 0.95
    found = classifier.predict(["sport and money", "w1 w2", "money w2"])
    assert found.tolist() == [[True, True], [False, False], [True, False]]
    frame = classifier.predict_frame(["sport and money", "w1 w2"])
    assert frame["prediction"].to_list() == ["money,sport", ""]
    shown = [(exhibit["found"], ", ".join(exhibit["actual"])) for exhibit in classifier.exhibits_]
    assert "money, sport" in [found for found, _ in shown]
    assert all(found == actual for found, actual in shown[:3])
    with pytest.raises(UsageError, match="several labels each"):
        classifier.evaluate(["sport"], ["sport"])


@pytest.mark.parametrize(
    ("tokens", "texts"),
    [
        ("word", ["qué película más buena", "¡qué horror de película!"]),
        ("word", ["这部电影很好看", "这部电影很难看"]),
        ("bpe", ["фильм был отличный", "фильм был ужасный"]),
        ("character", ["映画は良かった", "映画は悪かった"]),
        ("byte", ["فيلم جيد جدا", "فيلم سيء جدا"]),
    ],
)
def test_any_language(tokens: str, texts: list[str], tmp_path: Path) -> None:
    classifier = small(
        **LEARNS, tokens=tokens, steps=60, hidden_size=8, vocabulary_size=400, baselines=()
    )
    classifier.fit(texts * 12, ["good", "bad"] * 12)
    assert classifier.predict(texts).tolist() == ["good", "bad"]
    classifier.save(tmp_path / "m.noria")
    loaded = TextClassifier.load(tmp_path / "m.noria")
    assert loaded.predict_proba(texts).tobytes() == classifier.predict_proba(texts).tobytes()


def test_an_unknown_word_is_read_by_its_parts() -> None:
    stems = ["lent", "dulc", "clar", "viv", "tont", "sec", "roj", "alt"]
    texts = [f"es {stem}{end}" for stem in stems for end in ("ísimo", "ito")] * 3
    settings: dict[str, Any] = {**LEARNS, "word_dropout": 0.3, "steps": 100, "buckets": 500}
    classifier = small(**settings, baselines=()).fit(texts, ["very", "little"] * 24)
    assert classifier.predict(["es feísimo", "es patito"]).tolist() == ["very", "little"]


def test_what_decided_sums_to_the_mean_of_the_members_log_odds() -> None:
    texts, labels = reviews(24)
    classifier = small(**{**LEARNS, "members": 3, "steps": 20}, baselines=()).fit(texts, labels)
    for text, found in zip(texts[:3], classifier.explain(texts[:3]), strict=True):
        x = torch.from_numpy(classifier.encoder_.encode([text])[0])[None]
        lengths = torch.tensor([x.shape[1]])
        label = int(classifier.predict_proba([text])[0].argmax())
        differences = []
        with torch.no_grad():
            for module in classifier.network_.modules:
                embedded = module.embedding(x)
                there, nothing = (
                    log_odds(module.classify(v, lengths), label, multi_label=False).item()
                    for v in (embedded, torch.zeros_like(embedded))
                )
                differences.append(there - nothing)
        assert np.ptp(differences) > 0.1  # the members are of several minds
        told = sum(weight for _, weight in found)
        assert told == pytest.approx(np.mean(differences), abs=0.02)


def test_what_decided_sums_to_the_log_odds(learned: TextClassifier) -> None:
    texts = ["the film was great today", "an awful film"]
    for text, found in zip(texts, learned.explain(texts), strict=True):
        assert [word for word, _ in found] == text.split()
        loudest = max(found, key=lambda pair: abs(pair[1]))
        assert loudest[0] in ("great", "awful")
        assert loudest[1] > 0
        module = learned.network_.modules[0]
        x = torch.from_numpy(learned.encoder_.encode([text])[0])[None]
        lengths = torch.tensor([x.shape[1]])
        label = int(learned.predict_proba([text])[0].argmax())
        with torch.no_grad():
            embedded = module.embedding(x)
            ends = [
                log_odds(module.classify(v, lengths), label, multi_label=False).item()
                for v in (embedded, torch.zeros_like(embedded))
            ]
        assert sum(weight for _, weight in found) == pytest.approx(ends[0] - ends[1], abs=0.02)
    frame = learned.predict_frame(texts, explain=True)
    assert frame["because"][0].startswith("great +")
    exhibit = learned.exhibits_[0]
    assert len(exhibit["words"]) == len(exhibit["weights"]) == len(exhibit["attention"])
    assert sum(exhibit["attention"]) == pytest.approx(1, abs=1e-5)


def test_sklearn_habits(fitted: TextClassifier) -> None:
    baselines = ["fnn"]
    classifier = TextClassifier(baselines=baselines, cell="lstm")
    assert classifier.get_params()["baselines"] is baselines
    assert not [name for name in vars(classifier) if name.endswith("_")]
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "network_")
    assert repr(TextClassifier(cell="lstm")) == "TextClassifier(cell='lstm')"


def test_whatever_form_the_texts_have(tmp_path: Path) -> None:
    texts, labels = reviews(24)
    table = pl.DataFrame({"review": texts, "mood": labels, "other": range(24)})
    table.write_csv(tmp_path / "a.csv")
    table.write_csv(tmp_path / "a.tsv", separator="\t")
    table.write_ndjson(tmp_path / "a.jsonl")
    table.write_parquet(tmp_path / "a.parquet")
    expected = small(baselines=()).fit(texts, labels).predict_proba(texts)
    forms: list[Any] = [*(tmp_path / f"a.{e}" for e in ("csv", "tsv", "jsonl", "parquet")), table]
    for form in [*forms, table.to_pandas()]:
        classifier = small(baselines=()).fit(form, text="review", label="mood")
        np.testing.assert_array_equal(classifier.predict_proba(form), expected)
    frame = classifier.predict_frame(tmp_path / "a.csv")
    assert frame.columns == ["row", "prediction", "p_down", "p_up"]
    assert frame["row"].to_list() == list(range(2, 26))  # the file's lines
    several = table.with_columns(mood=pl.col("mood") + ";" + pl.col("mood").str.head(1))
    classifier = small(baselines=()).fit(several, text="review", label="mood", label_separator=";")
    assert classifier.classes_.tolist() == ["d", "down", "u", "up"]


def test_saved_and_loaded_is_the_same_bit_for_bit(fitted: TextClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.noria")
    loaded = TextClassifier.load(tmp_path / "m.noria")
    texts, labels = reviews(10, seed=3)
    assert loaded.predict_proba(texts).tobytes() == fitted.predict_proba(texts).tobytes()
    assert loaded.get_params() == fitted.get_params() | {"baselines": list(fitted.baselines)}
    assert loaded.comparison_.to_dict() == fitted.comparison_.to_dict()
    one, other = loaded.evaluate(texts, labels), fitted.evaluate(texts, labels)
    assert [s.metrics() for s in one.scores] == [s.metrics() for s in other.scores]
    loaded.save(tmp_path / "again.noria")
    again = read_model(tmp_path / "again.noria").weights
    for name, weight in read_model(tmp_path / "m.noria").weights.items():
        assert again[name].tobytes() == weight.tobytes()


def test_labels_keep_their_type(tmp_path: Path) -> None:
    texts, labels = reviews(20)
    numbers = np.where(np.array(labels) == "up", 7, 3)
    small(steps=1, baselines=()).fit(texts, numbers).save(tmp_path / "m.noria")
    loaded = TextClassifier.load(tmp_path / "m.noria")
    assert loaded.classes_.tolist() == [3, 7]
    assert loaded.predict(texts).dtype == np.int64
    table = pl.DataFrame({"text": texts, "label": numbers.astype(str)})
    for other in ((texts, numbers * 1.0), (table,), (table.with_columns(label=numbers * 1.0),)):
        assert loaded.evaluate(*other).confusion == loaded.evaluate(texts, numbers).confusion


def test_a_damaged_document_is_told(fitted: TextClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.noria")
    file = read_model(tmp_path / "m.noria")
    for key in ("parts", "encoder", "classes"):
        document = {name: value for name, value in file.document.items() if name != key}
        write_model(tmp_path / "bad.noria", document, file.weights)
        with pytest.raises(ModelFileError, match=r"bad\.noria is damaged"):
            TextClassifier.load(tmp_path / "bad.noria")


def test_a_resumed_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, labels = reviews(24)
    whole = small(checkpoint_every=1).fit(texts, labels)
    from noria.training import sequences

    calls, draw = 0, sequences.chosen_of_step

    def interrupted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 7:  # in the second member
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(sequences, "chosen_of_step", interrupted)
    halves, checkpoint = small(checkpoint_every=1), tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        halves.fit(texts, labels, checkpoint=checkpoint)
    assert set(tmp_path.iterdir()) == set(halves.checkpoints(checkpoint)[:2])
    halves.fit(texts, labels, checkpoint=checkpoint, resume=True)
    assert halves.predict_proba(texts).tobytes() == whole.predict_proba(texts).tobytes()


def test_a_text_is_classed_alike_alone_and_among_longer_ones(fitted: TextClassifier) -> None:
    texts, _ = reviews(8, seed=3)
    together = fitted.predict_proba([*texts, "w1 " * 90])[:-1]
    alone = [fitted.predict_proba([text])[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["glove", "word2vec", "safetensors"])
def test_vectors_learned_elsewhere_are_begun_with(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("v.safetensors" if kind == "safetensors" else "v.txt")
    if kind == "safetensors":
        rows = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
        save_file({"vectors": rows}, path, {"words": '["good", "bad"]'})
    else:
        path.write_text(("2 3\n" if kind == "word2vec" else "") + "good 1 2 3\nbad 4 5 6\n")
    texts, labels = reviews(24)
    settings: dict[str, Any] = {"vectors": path, "learning_rate": 1e-9, "steps": 1, "baselines": ()}
    classifier = small(**settings).fit(texts, labels)
    table = classifier.network_.modules[0].embedding.words.weight.detach().numpy()
    places = [classifier.encoder_.tokenizer.vocabulary.index(word) for word in ("good", "bad")]
    np.testing.assert_allclose(table[places], [[1, 2, 3], [4, 5, 6]], atol=1e-4)
    assert table.shape[1] == 3
    classifier.save(tmp_path / "m.noria")
    path.unlink()  # the model file holds all it needs
    loaded = TextClassifier.load(tmp_path / "m.noria")
    assert loaded.predict_proba(texts).tobytes() == classifier.predict_proba(texts).tobytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": 0}, "members is 0: it must be at least 1"),
        ({"tokens": "phrase"}, "tokens is 'phrase', expected one of character, byte, word"),
        ({"buckets": -1}, "buckets is -1: it must be 0 or more"),
        ({"pooling": "sum"}, "pooling is 'sum', expected one of last, mean_max, attention"),
        ({"class_weight": "heavy"}, "class_weight is 'heavy': it is 'balanced' or None"),
        ({"word_dropout": 1.0}, "word_dropout is 1.0: from 0 up to, not including, 1"),
        ({"baselines": ["svm"]}, "baseline 'svm' is none of fnn, tfidf_logistic_regression"),
        ({"seed": -1}, "seed is -1"),
        ({"feedback": "full", "num_layers": 2}, "bidirectional"),
        ({"cell": "lstn"}, "cell 'lstn' is unknown"),
        ({"vocabulary_size": 2}, "vocabulary_size is 2: tokens 'word' need at least 5"),
    ],
)
def test_arguments_that_cannot_be_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        small(**settings).fit(*reviews(24))
    assert message in str(caught.value)


def test_data_that_is_not_what_it_should_be(fitted: TextClassifier, tmp_path: Path) -> None:
    texts, labels = reviews(24)
    with pytest.raises(DataError, match="X: all texts have the label 'a'"):
        small().fit(texts, ["a"] * 24)
    with pytest.raises(DataError, match="X: no text has a label"):
        small().fit(texts, [[]] * 24)
    with pytest.raises(DataError, match="X: 3 texts are too few for 10 folds"):
        small(members=3).fit(texts[:3], ["a", "b", "a"])
    with pytest.raises(UsageError, match="y is missing"):
        small().fit(texts)
    for label in (None, float("nan"), "", "\ud83d", b"x", pd.Timestamp(0)):
        with pytest.raises(
            DataError, match=r"y\[1\] is .*: expected a text or number as the label"
        ):
            small().fit(texts, ["a", label, *labels[2:]])
        with pytest.raises(DataError, match=r"y\[1\] is \[.*: expected a text or number as the"):
            small().fit(texts, [["a"], [label], *([name] for name in labels[2:])])
    with pytest.raises(DataError, match=r"y has shape \(24, 2\): expected a label, or a"):
        small().fit(texts, np.eye(2)[[0, 1] * 12])
    with pytest.raises(UsageError, match="X is NoneType: expected a list of texts, a path"):
        fitted.predict(None)
    with pytest.raises(DataError, match=r"X\[0\] holds half a surrogate pair"):
        small().fit(["a\ud83d", "b"], ["x", "y"])
    with pytest.raises(DataError, match=r"X\[1\] is an empty text"):
        fitted.predict(["a", " "])
    with pytest.raises(DataError, match=r"X\[0\] is int: expected a text"):
        fitted.predict([3])
    with pytest.raises(DataError, match="row 0: the label 'level' was not trained; the classes"):
        fitted.evaluate(texts[:1], ["level"])
    with pytest.raises(DataError, match="y has 1 labels, X has 2 texts"):
        fitted.evaluate(texts[:2], ["up"])
    with pytest.raises(UsageError, match="not fitted yet"):
        small().predict(texts)
    (tmp_path / "v.txt").write_text("zebra 1 2\n")
    with pytest.raises(DataError, match="has a vector for none of the"):
        small(vectors=tmp_path / "v.txt").fit(texts, labels)


def test_balanced_weights_make_a_rare_class_count() -> None:
    texts = ["a b"] * 50 + ["a c"] * 5
    shares = [
        small(class_weight=weight, steps=20, learning_rate=0.02, baselines=())
        .fit(texts, ["often"] * 50 + ["seldom"] * 5)
        .predict_proba(["a c"])[0, 1]
        for weight in (None, "balanced")
    ]
    assert shares[1] > shares[0] + 0.05
