from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone

from noria import SequenceClassifier
from noria.errors import DataError, ModelFileError, UsageError
from noria.runtime import read_model, write_model
from noria.tasks.whole_series import recipe_settings
from noria.training.class_scores import ClassComparison
from noria.training.sequences import class_probabilities, split_folds
from tests.tasks.bumps import bumps, long_table, small, ts_text


@pytest.fixture(scope="module")
def fitted() -> SequenceClassifier:
    return small().fit(*bumps(24))


def test_the_order_of_two_bumps_needs_memory() -> None:
    """No summary tells the classes apart, and where the bumps stand says nothing."""
    settings: dict[str, Any] = {"hidden_size": 16, "members": 1, "convolutions": 0}
    classifier = SequenceClassifier(**settings, steps=400, learning_rate=0.01, batch_size=16)
    classifier.fit(*bumps(120), test=bumps(100, seed=1))
    comparison = classifier.comparison_
    accuracy = {score.model: score.accuracy for score in comparison.scores}
    assert accuracy["network"] > 0.95
    assert accuracy["fnn"] < accuracy["network"] - 0.1
    assert accuracy["nearest_neighbour"] < accuracy["network"]
    assert accuracy["logistic_regression"] < 0.7
    assert comparison.verdict().startswith("Memory pays here: network has the highest accuracy")
    assert np.array(comparison.confusion).sum(axis=1).tolist() == [50, 50]
    assert np.trace(comparison.confusion) == round(100 * accuracy["network"])
    assert classifier.score(*bumps(100, seed=1)) == accuracy["network"]
    assert classifier.fnn_ is not None
    sizes = [part.parameter_count for part in (classifier.network_, classifier.fnn_)]
    assert abs(sizes[0] - sizes[1]) < 0.02 * sizes[0]


def test_groups_of_one_class_each_can_be_compared() -> None:
    """What is left of a fold then lacks a class; every model says the other one."""
    X, y = bumps(24)
    classifier = small().fit(X, y, groups=np.arange(24) % 2)
    for score in classifier.comparison_.scores:
        if score.model in ("nearest_neighbour", "logistic_regression"):
            assert score.accuracy == 0


def test_sklearn_habits(fitted: SequenceClassifier) -> None:
    baselines = ["fnn"]
    classifier = SequenceClassifier(baselines=baselines, cell="gru")
    assert classifier.get_params()["baselines"] is baselines
    assert not [name for name in vars(classifier) if name.endswith("_")]
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "network_")
    assert copy.set_params(cell="gru") is copy
    assert repr(SequenceClassifier(cell="gru")) == "SequenceClassifier(cell='gru')"
    assert fitted.classes_.tolist() == ["falling", "rising"]
    assert fitted.n_features_in_ == 1


def test_probabilities_and_classes(fitted: SequenceClassifier) -> None:
    X, _ = bumps(10, seed=3)
    probabilities = fitted.predict_proba(X)
    assert probabilities.shape == (10, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    chosen = [fitted.classes_[index] for index in probabilities.argmax(axis=1)]
    assert fitted.predict(X).tolist() == chosen


def test_a_case_is_classed_alike_alone_and_among_longer_ones(fitted: SequenceClassifier) -> None:
    X, _ = bumps(10, seed=3)
    together = fitted.predict_proba([*X, np.zeros((90, 1))])[:-1]
    alone = [fitted.predict_proba([x])[0] for x in X]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_whatever_form_the_cases_have(tmp_path: Path) -> None:
    X, y = bumps(20)
    X = [np.round(x, 6) for x in X]
    (tmp_path / "bumps.ts").write_text(ts_text(X, y))
    table = long_table(X, y)
    table.write_csv(tmp_path / "bumps.csv")
    forms: list[Any] = [tmp_path / "bumps.ts", tmp_path / "bumps.csv", table, table.to_pandas()]
    expected = small().fit(X, y).predict_proba(X)
    for form in forms:
        classifier = small().fit(form)
        np.testing.assert_array_equal(classifier.predict_proba(form), expected)
    frame = classifier.predict_frame(table)
    assert frame.columns == ["unique_id", "prediction", "p_falling", "p_rising"]
    assert frame["unique_id"].to_list() == [f"case{i:03d}" for i in range(20)]
    assert classifier.predict_frame(forms[0]).columns[0] == "case"
    even = np.stack([x[:20] for x in X])
    np.testing.assert_array_equal(
        small().fit(even, y).predict_proba(even), small().fit(even[..., 0], y).predict_proba(even)
    )


def test_labels_keep_their_type(tmp_path: Path) -> None:
    X, y = bumps(16)
    numbers = np.where(y == "rising", 7, 3)
    classifier = small(steps=1, baselines=()).fit(X, numbers)
    classifier.save(tmp_path / "m.noria")
    loaded = SequenceClassifier.load(tmp_path / "m.noria")
    assert loaded.classes_.tolist() == [3, 7]
    assert loaded.predict(X).dtype == classifier.predict(X).dtype == np.int64
    assert set(loaded.predict(X).tolist()) <= {3, 7}


@pytest.mark.parametrize("values", [(3, 7), (3.0, 7.0), (False, True)])
def test_labels_are_the_same_in_whatever_source(tmp_path: Path, values: tuple[Any, Any]) -> None:
    X, y = bumps(16)
    labels = np.where(y == "rising", values[1], values[0])
    texts = {"falling": str(values[0]), "rising": str(values[1])}
    table = long_table(X, y)
    typed = table.with_columns(
        label=pl.col("label").replace_strict(dict(zip(texts, values, strict=True)))
    )
    written = table.with_columns(label=pl.col("label").replace_strict(texts))
    typed.write_csv(tmp_path / "polars.csv")
    written.write_csv(tmp_path / "python.csv")
    files = [tmp_path / "polars.csv", tmp_path / "python.csv"]
    sources: list[tuple[Any, ...]] = [
        *((source,) for source in (*files, typed, typed.to_pandas())),
        (X, labels),
        (X, labels.astype(object)),
        (X, labels.astype(int) if values[0] == 3 else labels),
    ]
    for source in sources:
        fitted = small(steps=1, members=1, baselines=()).fit(*source)
        expected = (fitted.predict(X) == fitted.classes_[(y == "rising").astype(int)]).mean()
        found = [fitted.evaluate(*other).scores[0].accuracy for other in sources]
        assert found == [expected] * len(sources)
    with pytest.raises(DataError, match="the label '8' was not trained"):
        fitted.evaluate(X, [8] * len(X))


def test_saved_and_loaded_is_the_same_bit_for_bit(
    fitted: SequenceClassifier, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "m.noria")
    loaded = SequenceClassifier.load(tmp_path / "m.noria")
    X, y = bumps(10, seed=3)
    assert loaded.predict_proba(X).tobytes() == fitted.predict_proba(X).tobytes()
    assert loaded.get_params() == fitted.get_params() | {"baselines": list(fitted.baselines)}
    assert loaded.comparison_.to_dict() == fitted.comparison_.to_dict()
    one, other = loaded.evaluate(X, y), fitted.evaluate(X, y)
    assert [s.metrics() for s in one.scores] == [s.metrics() for s in other.scores]
    loaded.save(tmp_path / "again.noria")
    again = read_model(tmp_path / "again.noria").weights
    for name, weight in read_model(tmp_path / "m.noria").weights.items():
        assert again[name].tobytes() == weight.tobytes()


def test_a_damaged_document_is_told(fitted: SequenceClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.noria")
    file = read_model(tmp_path / "m.noria")
    for key in ("parts", "scaler", "classes"):
        document = {name: value for name, value in file.document.items() if name != key}
        write_model(tmp_path / "bad.noria", document, file.weights)
        with pytest.raises(ModelFileError, match=r"bad\.noria is damaged"):
            SequenceClassifier.load(tmp_path / "bad.noria")
    write_model(tmp_path / "bad.noria", {**file.document, "task": "forecast"}, file.weights)
    with pytest.raises(ModelFileError, match="is a model for forecast, not for classify"):
        SequenceClassifier.load(tmp_path / "bad.noria")


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    X, y = bumps(16)
    one, same, other = (small(seed=s, baselines=()).fit(X, y).predict_proba(X) for s in (1, 1, 2))
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()


def test_a_resumed_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = bumps(16)
    whole = small(checkpoint_every=1).fit(X, y)
    from noria.training import sequences

    calls = 0
    draw = sequences.distorted

    def interrupted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 40:  # in the second member
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(sequences, "distorted", interrupted)
    halves = small(checkpoint_every=1)
    checkpoint = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        halves.fit(X, y, checkpoint=checkpoint)
    assert set(tmp_path.iterdir()) == set(halves.checkpoints(checkpoint)[:2])
    halves.fit(X, y, checkpoint=checkpoint, resume=True)
    assert halves.predict_proba(X).tobytes() == whole.predict_proba(X).tobytes()
    assert set(tmp_path.iterdir()) == set(halves.checkpoints(checkpoint))
    with pytest.raises(ModelFileError, match="was written for other data or settings"):
        small(seed=9).fit(X, y, checkpoint=checkpoint, resume=True)


def test_without_test_cases_each_one_is_judged_by_who_did_not_learn_it() -> None:
    X, y = bumps(24)
    comparison = small(members=5).fit(X, y).comparison_
    assert comparison.cases == 24
    assert "cross-validation" in comparison.notes[0]
    assert [s.model for s in comparison.scores[1:]] == [
        "fnn", "nearest_neighbour", "logistic_regression",
    ]  # fmt: skip
    # a neighbour that had seen the case itself would always be right
    assert comparison.scores[2].accuracy < 1
    assert small(members=1, baselines=()).fit(X, y).comparison_.cases in (4, 5)


def test_a_case_is_held_against_the_member_of_its_own_fold() -> None:
    X, y = bumps(24)
    network = small(members=5, baselines=()).fit(X, y).network_
    sequences = [x.astype(np.float32) for x in X]
    folds = split_folds(np.arange(24) % 2, 6, seed=1)
    probabilities = network.out_of_fold(sequences, folds)
    for number, fold in enumerate(folds.tolist()):
        if fold == 5:  # nobody left it out
            assert np.isnan(probabilities[number]).all()
            continue
        own = class_probabilities(network.modules[fold], [sequences[number]])[0]
        np.testing.assert_allclose(probabilities[number], own, atol=1e-6)


def test_missing_values_are_seen_as_such() -> None:
    """The class is where a value is missing."""
    X, y = [], []
    for number in range(40):
        x = np.zeros((12, 1))
        x[3 if number % 2 else 8] = np.nan
        X.append(x)
        y.append(number % 2)
    classifier = small(hidden_size=8, steps=150, learning_rate=0.02, baselines=(), augmentation=0.0)
    assert classifier.fit(X, y).score(X, y) == 1


def test_a_comparison_survives_json(fitted: SequenceClassifier) -> None:
    text = json.dumps(fitted.comparison_.to_dict(), allow_nan=False)
    again = ClassComparison.from_dict(json.loads(text))
    assert again.to_dict() == fitted.comparison_.to_dict()
    neighbour = again.scores[2]
    assert (neighbour.model, np.isnan(neighbour.log_loss)) == ("nearest_neighbour", True)
    assert neighbour.metrics().keys() == {"accuracy", "macro_f1"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": 0}, "members is 0: it must be at least 1"),
        ({"steps": 0}, "steps is 0: it must be at least 1"),
        ({"convolutions": -1}, "convolutions is -1: it must be 0 or more"),
        ({"kernel_size": 4}, "kernel_size is 4: it must be odd"),
        ({"pooling": "sum"}, "pooling is 'sum', expected one of last, mean_max, attention"),
        ({"class_weight": "heavy"}, "class_weight is 'heavy': it is 'balanced' or None"),
        ({"augmentation": 1.0}, "augmentation is 1.0: from 0 up to, not including, 1"),
        ({"baselines": ["svm"]}, "baseline 'svm' is none of fnn, nearest_neighbour"),
        ({"seed": -1}, "seed is -1"),
        ({"feedback": "full", "num_layers": 2}, "bidirectional"),
        ({"cell": "lstn"}, "cell 'lstn' is unknown"),
    ],
)
def test_arguments_that_cannot_be_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        small(**settings).fit(*bumps(10))
    assert message in str(caught.value)


def test_data_that_is_not_what_it_should_be(fitted: SequenceClassifier) -> None:
    X, y = bumps(10)
    with pytest.raises(DataError, match="X: all cases are of one class, 'a'"):
        small().fit(X, ["a"] * 10)
    with pytest.raises(DataError, match="X: 3 cases are too few for 5 folds"):
        small(members=5).fit(X[:3], ["a", "b", "a"])
    with pytest.raises(UsageError, match="requires y to be passed"):
        small().fit(X)
    with pytest.raises(DataError, match="case 0: the label 'level' was not trained; the classes"):
        fitted.evaluate(X[:1], ["level"])
    with pytest.raises(DataError, match="has 2 channels, the model was trained on 1"):
        fitted.predict([np.zeros((5, 2))])
    with pytest.raises(DataError, match="X, channel 'channel_1': has no value in any case; fill"):
        small().fit([np.column_stack([x, np.full(len(x), np.nan)]) for x in X], y)
    few = [np.column_stack([x, np.where(x > 1, x, np.nan)]) for x in X]
    assert small(baselines=()).fit(few, y).predict(few).shape == (10,)
    with pytest.raises(UsageError, match="brings its own labels"):
        small().fit(long_table(X, y), y)
    with pytest.raises(UsageError, match="not fitted yet"):
        small().predict(X)


def test_cases_of_one_group_are_never_on_both_sides() -> None:
    """Each group has a shape of its own and either class: across groups it tells nothing."""
    random = np.random.default_rng(0)
    shapes = 3 * random.standard_normal((10, 20, 1))
    groups = np.repeat(np.arange(10), 6)
    X = [shapes[group] + 0.01 * random.standard_normal((20, 1)) for group in groups]
    y = np.where(groups % 2 == 0, "even", "odd")
    settings: dict[str, Any] = {"members": 5, "baselines": ["nearest_neighbour"]}
    alone, grouped = (
        small(**settings).fit(X, y, groups=own).comparison_.scores[1].accuracy
        for own in (None, groups)
    )
    assert alone == 1
    assert grouped < 0.9
    table = long_table(X, y).with_columns(
        who=pl.Series([str(group) for group in groups for _ in range(20)])
    )
    same = small(**settings).fit(table, group="who").comparison_.scores[1].accuracy
    assert same == grouped
    with pytest.raises(DataError, match="4 groups are too few for 5 members"):
        small(**settings).fit(X, y, groups=groups % 4)
    with pytest.raises(DataError, match=r"groups has shape \(3,\): expected \(60,\)"):
        small().fit(X, y, groups=[1, 2, 3])


def test_only_enough_cases_to_validate_on_stop_a_training() -> None:
    folds = np.repeat(np.arange(5), [100, 100, 100, 100, 99])
    few = recipe_settings(SequenceClassifier(), folds)
    enough = recipe_settings(SequenceClassifier(members=4), folds)
    own = recipe_settings(SequenceClassifier(patience=3), folds)
    assert [each["patience"] for each in (few, enough, own)] == [None, 10, 3]


def test_balanced_weights_make_a_rare_class_count() -> None:
    X, y = bumps(60)
    rare = np.flatnonzero(y == "rising")[5:]
    keep = np.setdiff1d(np.arange(60), rare)
    shares = [
        small(class_weight=weight, steps=20, convolutions=0, baselines=())
        .fit([X[i] for i in keep], y[keep])
        .predict_proba(X)[:, 1]
        .mean()
        for weight in (None, "balanced")
    ]
    assert shares[1] > shares[0] + 0.05


@pytest.mark.long
def test_japanese_vowels(shared_data: Path) -> None:
    folder = shared_data / "series" / "classification" / "JapaneseVowels"
    classifier = SequenceClassifier(members=2, baselines=("nearest_neighbour",))
    comparison = classifier.fit(folder / "JapaneseVowels_TRAIN.ts").comparison_
    assert comparison.scores[0].accuracy > 0.93
