from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

from noria import SequenceTagger
from noria.errors import DataError, ModelFileError, UsageError
from noria.features.tagged import read_tagged
from noria.features.tags import first_fault, legal_steps, read_spans, write_spans
from noria.runtime import read_model, write_model
from noria.training.tagging import tag_with
from tests.tasks.chunks import chunks, small, write_columns


@pytest.fixture(scope="module")
def fitted() -> SequenceTagger:
    return small().fit(*chunks(30))


def test_a_type_told_long_before_needs_memory() -> None:
    """The feed-forward rival sees five words, its chain of tags remembers one tag."""
    settings: dict[str, Any] = {"hidden_size": 12, "embedding_size": 8, "character_size": 0}
    tagger = SequenceTagger(
        **settings, members=1, steps=160, batch_size=16, learning_rate=0.03, dropout=0.0,
        word_dropout=0.0, embedding_dropout=0.0,
    ).fit(*chunks(150), test=chunks(60, seed=1))  # fmt: skip
    scores = {score.model: score for score in tagger.comparison_.scores}
    f1 = {model: score.f1 for model, score in scores.items()}
    assert f1["network"] is not None
    assert f1["network"] > 0.97
    assert f1["most_frequent_tag"] is not None
    assert f1["most_frequent_tag"] < 0.5
    assert f1["logistic_regression"] is not None
    assert f1["logistic_regression"] < 0.6
    assert {part.name for part in tagger.comparison_.types} == {"LOC", "PER"}
    assert tagger.fnn_ is not None
    sizes = [part.parameter_count for part in (tagger.network_, tagger.fnn_)]
    assert abs(sizes[0] - sizes[1]) < 0.05 * sizes[0]
    X, y = chunks(60, seed=1)
    found = tagger.predict(X)
    assert sum(a == b for a, b in zip(found, y, strict=True)) > 50
    assert first_fault(found, "iob2") is None


def test_characters_tell_the_tags_of_words_never_seen() -> None:
    random = np.random.default_rng(0)

    def made(count: int) -> tuple[list[list[str]], list[list[str]]]:
        words = [
            ["".join(random.choice(list("abcde"), 5)) + random.choice(["ing", "ed"]) for _ in "123"]
            for _ in range(count)
        ]
        return words, [["G" if w.endswith("ing") else "D" for w in s] for s in words]

    tagger = small(
        character_size=8, steps=80, learning_rate=0.03, members=1, word_dropout=0.5, dropout=0.0,
        embedding_dropout=0.0, baselines=(),
    ).fit(*made(100), test=made(40))  # fmt: skip
    assert tagger.scheme_ == "plain"
    assert tagger.comparison_.scores[0].accuracy > 0.95
    assert tagger.comparison_.scores[0].f1 is None


def test_features_help(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = [[f"w{random.integers(1000)}" for _ in range(4)] for _ in range(100)]
    features = [[str(random.choice(["p", "q"])) for _ in s] for s in words]
    tags = [["YES" if f == "p" else "NO" for f in s] for s in features]
    path = write_columns(tmp_path / "a.txt", words, features, tags)
    settings: dict[str, Any] = {
        "steps": 40,
        "members": 1,
        "learning_rate": 0.05,
        "baselines": (),
        "dropout": 0.0,
    }
    with_it = small(**settings).fit(path, features=[2])
    without = small(**settings).fit(path)
    assert with_it.comparison_.scores[0].accuracy > 0.95
    assert without.comparison_.scores[0].accuracy < 0.7
    # a file without the tags serves to predict
    bare = write_columns(tmp_path / "b.txt", words, features)
    assert with_it.predict(bare) == with_it.predict(path)
    rows = [list(zip(*pair, strict=True)) for pair in zip(words, features, strict=True)]
    assert with_it.predict(rows) == with_it.predict(path)


@pytest.mark.parametrize(
    ("words", "language"),
    [
        ("señor Núñez vive aquí", "Spanish"),
        ("東京 は 日本 です", "Japanese"),
        ("هذا بيت كبير جدا", "Arabic"),
    ],
)
def test_any_script(words: str, language: str) -> None:
    sentence = words.split()
    tagger = small(steps=30, learning_rate=0.05, members=1, dropout=0.0, baselines=()).fit(
        [sentence] * 20, [["A", "B", "A", "C"]] * 20
    )
    assert tagger.predict([sentence]) == [["A", "B", "A", "C"]], language


def test_sklearn_habits(fitted: SequenceTagger) -> None:
    baselines = ["fnn"]
    tagger = SequenceTagger(baselines=baselines, cell="gru")
    assert tagger.get_params()["baselines"] is baselines
    assert not [name for name in vars(tagger) if name.endswith("_")]
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "network_")
    assert repr(SequenceTagger(cell="gru")) == "SequenceTagger(cell='gru')"
    assert fitted.tags_ == ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
    assert fitted.scheme_ == "iob2"


@pytest.mark.parametrize("scheme", ["iob1", "iobes", "bilou"])
def test_tags_come_back_in_the_scheme_they_came_in(scheme: str) -> None:
    X, y = chunks(40)
    tags = [write_spans(read_spans(own), len(own), scheme) for own in y]
    settings: dict[str, Any] = {"steps": 60, "learning_rate": 0.05, "dropout": 0.0}
    settings |= {"members": 1, "baselines": (), "embedding_dropout": 0.0, "character_size": 0}
    tagger = small(**settings).fit(X, tags)
    assert tagger.scheme_ == scheme
    found = tagger.predict(X)
    assert first_fault(found, scheme) is None
    assert {tag for own in found for tag in own} - {"O"}


def test_a_stretch_may_be_of_a_length_that_was_never_seen() -> None:
    X, y = [["a", "b"], ["b", "a"]] * 10, [["B-X", "I-X"]] * 20
    tagger = small(members=1, baselines=(), character_size=0).fit(X, y)
    labels = tagger.names_.labels
    assert labels == ("B-X", "E-X", "I-X", "S-X")
    module = tagger.network_.modules[0]
    with torch.no_grad():
        module.output.weight.zero_()
        module.output.bias.copy_(torch.tensor([0.0, 0.0, 9.0, 0.0]))
    legal = legal_steps(labels)
    sentences = [["a"], ["a", "b", "a"], ["b"] * 5]
    for chain in tagger.network_.tag(tagger.encoder_.encode(read_tagged(sentences, tagged=False))):
        assert legal[[-1, *chain], [*chain, -1]].all()
    assert tagger.predict(sentences) == [["B-X"], ["B-X", "I-X", "I-X"], ["B-X", *["I-X"] * 4]]
    assert tagger.predict_frame(sentences)["probability"].is_between(0, 1).all()


def test_saved_and_loaded_is_the_same_bit_for_bit(fitted: SequenceTagger, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.noria")
    loaded = SequenceTagger.load(tmp_path / "m.noria")
    X, y = chunks(10, seed=3)
    assert loaded.predict(X) == fitted.predict(X)
    assert loaded.predict_frame(X).equals(fitted.predict_frame(X))
    assert loaded.get_params() == fitted.get_params() | {"baselines": list(fitted.baselines)}
    assert loaded.comparison_ == fitted.comparison_
    one, other = loaded.evaluate(X, y), fitted.evaluate(X, y)
    assert [s.metrics() for s in one.scores] == [s.metrics() for s in other.scores]
    assert [s.model for s in one.scores] == [
        "network", "fnn", "most_frequent_tag", "logistic_regression",
    ]  # fmt: skip
    loaded.save(tmp_path / "again.noria")
    again = read_model(tmp_path / "again.noria").weights
    for name, weight in read_model(tmp_path / "m.noria").weights.items():
        assert again[name].tobytes() == weight.tobytes()


def test_a_damaged_document_is_told(fitted: SequenceTagger, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.noria")
    file = read_model(tmp_path / "m.noria")
    for key in ("parts", "names", "encoder"):
        document = {name: value for name, value in file.document.items() if name != key}
        write_model(tmp_path / "bad.noria", document, file.weights)
        with pytest.raises(ModelFileError, match=r"bad\.noria is damaged"):
            SequenceTagger.load(tmp_path / "bad.noria")


def test_a_resumed_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = chunks(20)
    whole = small(checkpoint_every=1).fit(X, y)
    from noria.training import tagging

    calls, draw = 0, tagging.chosen_of_step

    def interrupted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 7:  # in the second member
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(tagging, "chosen_of_step", interrupted)
    halves, checkpoint = small(checkpoint_every=1), tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        halves.fit(X, y, checkpoint=checkpoint)
    assert set(tmp_path.iterdir()) == set(halves.checkpoints(checkpoint)[:2])
    halves.fit(X, y, checkpoint=checkpoint, resume=True)
    for name, weight in whole.network_.weights().items():
        assert halves.network_.weights()[name].tobytes() == weight.tobytes()
    with pytest.raises(ModelFileError, match="was written for other data or settings"):
        small(seed=9).fit(X, y, checkpoint=checkpoint, resume=True)


def test_without_test_sentences_each_is_judged_by_who_did_not_learn_it() -> None:
    X, y = chunks(30)
    tagger = small(members=10, steps=1, baselines=["most_frequent_tag"]).fit(X, y)
    assert tagger.comparison_.sentences == 30
    assert "cross-validation" in tagger.comparison_.notes[0]
    test = [*X[:2], ["new"]], [*y[:2], ["O"]]
    noted = small(members=1, steps=1, baselines=()).fit(X, y, test=test).comparison_.notes
    assert noted[0].startswith("2 of the 3 held-out cases stand word for word")
    assert small(members=2, steps=1, baselines=()).fit(X, y).comparison_.sentences == 6


def test_a_sentence_is_tagged_alike_alone_and_among_longer_ones(fitted: SequenceTagger) -> None:
    X, _ = chunks(12, seed=5)
    together = fitted.predict_frame([*X, ["w1"] * 70])
    alone = [fitted.predict_frame([sentence]) for sentence in X]
    words = sum(map(len, X))
    np.testing.assert_allclose(
        together["probability"][:words],
        np.concatenate([f["probability"] for f in alone]),
        atol=1e-5,
    )
    assert together["prediction"].to_list()[:words] == [t for f in alone for t in f["prediction"]]


def test_members_are_one_field_of_their_mean_scores(fitted: SequenceTagger) -> None:
    X, _ = chunks(4, seed=5)
    sequences = fitted.encoder_.encode(read_tagged(X, tagged=False))
    both = [fitted.network_.modules[i].chain.transitions() for i in range(2)]
    assert not torch.equal(*both)
    module = fitted.network_.modules[0]
    one, sure = tag_with([module], sequences)
    twice, same = tag_with([module, module], sequences)
    for a, b, p, q in zip(one, twice, sure, same, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(p, q, atol=1e-6)


def test_vectors_learned_elsewhere_are_begun_with(tmp_path: Path) -> None:
    X, y = chunks(20)
    (tmp_path / "v.txt").write_text("mr 1 2 3\nto 4 5 6\nzebra 7 8 9\n")
    tagger = small(vectors=tmp_path / "v.txt", learning_rate=1e-9, steps=1).fit(X, y)
    table = tagger.network_.modules[0].embedding.words.weight
    assert table.shape[1] == 3
    number = tagger.encoder_.words["to"]
    np.testing.assert_allclose(table[number].detach().numpy(), [4, 5, 6], atol=1e-4)
    tagger.save(tmp_path / "m.noria")
    assert SequenceTagger.load(tmp_path / "m.noria").predict(X) == tagger.predict(X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": 0}, "members is 0: it must be at least 1"),
        ({"character_size": -1}, "character_size is -1: it must be 0 or more"),
        ({"word_dropout": 1.0}, "word_dropout is 1.0: from 0 up to, not including, 1"),
        ({"baselines": ["svm"]}, "baseline 'svm' is none of fnn, most_frequent_tag"),
        ({"scheme": "bio"}, "scheme is 'bio', expected one of iob1, iob2"),
        ({"feedback": "full", "num_layers": 2}, "bidirectional"),
        ({"cell": "lstn"}, "cell 'lstn' is unknown"),
    ],
)
def test_arguments_that_cannot_be_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        small(**settings).fit(*chunks(12))
    assert message in str(caught.value)


def test_data_that_is_not_what_it_should_be(fitted: SequenceTagger) -> None:
    X, _ = chunks(12)
    with pytest.raises(DataError, match="X: all words have the tag 'O'"):
        small().fit([["a"]] * 12, [["O"]] * 12)
    with pytest.raises(DataError, match="X: 3 sentences are too few for 10 folds"):
        small().fit([["a", "b"]] * 3, [["A", "B"]] * 3)
    with pytest.raises(UsageError, match="y is missing"):
        small().fit(X)
    with pytest.raises(DataError, match="the tag 'NN' marks no stretch of words"):
        fitted.evaluate([["a"]], [["NN"]])
    with pytest.raises(UsageError, match="not fitted yet"):
        small().predict(X)


def test_every_wiring_tags() -> None:
    X, y = chunks(20)
    settings: dict[str, Any] = {
        "bidirectional": False,
        "num_layers": 2,
        "baselines": (),
        "steps": 2,
    }
    for feedback in ("none", "direct", "full"):
        found = small(feedback=feedback, **settings).fit(X, y).predict(X)
        assert [len(tags) for tags in found] == [len(words) for words in X]
