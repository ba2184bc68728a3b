"""scikit-learn's own checks of estimators, with every one that cannot apply named and explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from noria import (
    AnomalyDetector,
    Forecaster,
    LanguageModel,
    SequenceClassifier,
    SequenceRegressor,
    SequenceTagger,
    TextClassifier,
    Translator,
)
from noria.errors import DataError, UsageError
from tests.tasks.bumps import bumps, small

_ANY_LENGTH = "a row of X is a series of one channel, and series of other lengths are welcome"
_CHANNELS = "n_features_in_ counts channels, of which a table (N, T) has one"

_DATAFRAME = "a dataframe is a table with a row for each case and time step, with its own labels"

EXPECTED = {
    "check_n_features_in": _CHANNELS,
    "check_n_features_in_after_fitting": _CHANNELS,
    "check_classifiers_train": _ANY_LENGTH,
    "check_regressors_train": _ANY_LENGTH,
    "check_dtype_object": "a dict among the values is a DataError that names the case",
    "check_classifier_data_not_an_array": _DATAFRAME,
    "check_regressor_data_not_an_array": _DATAFRAME,
    "check_class_weight_classifiers": "two steps of training are too few to learn from",
}


def _expected(estimator: Any) -> dict[str, str]:
    return EXPECTED


def _quick(kind: Callable[..., Any]) -> Any:
    return kind(hidden_size=2, members=1, steps=2, channels=2, batch_size=64, baselines=())


@parametrize_with_checks(
    [_quick(SequenceClassifier), _quick(SequenceRegressor)],
    expected_failed_checks=_expected,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_set_params,
        estimator_checks.check_valid_tag_types,
    ],
)
@pytest.mark.parametrize(
    "kind",
    [AnomalyDetector, Forecaster, LanguageModel, SequenceTagger, TextClassifier, Translator],
)
def test_those_that_take_no_arrays_keep_scikit_learns_habits(
    kind: Callable[[], Any], check: Callable[[str, Any], None]
) -> None:
    check(kind.__name__, kind())


def test_other_lengths_are_welcome_and_other_channels_are_not() -> None:
    """What the checks for a fixed number of features would have seen to."""
    X, y = bumps(20)
    classifier = small().fit(X, y)
    assert not hasattr(small(), "n_features_in_")
    assert classifier.n_features_in_ == 1
    assert classifier.predict([np.zeros((n, 1)) for n in (1, 7, 90)]).shape == (3,)
    with pytest.raises(DataError, match="has 2 channels, the model was trained on 1"):
        classifier.predict([np.zeros((5, 2))])
    with pytest.raises(NotFittedError, match="this SequenceClassifier is not fitted yet"):
        small().predict(X)
    with pytest.raises(NotFittedError, match="this TextClassifier is not fitted yet"):
        TextClassifier().predict(["a"])


def test_weights_of_single_classes_count() -> None:
    X, y = bumps(30)
    rising = np.where(y == "rising", 1, 0)
    shares = []
    for weights in ({0: 20}, {1: 20.0}):
        classifier = small(
            class_weight=weights, steps=30, learning_rate=0.02, convolutions=0, baselines=()
        )
        shares.append(classifier.fit(X, rising).predict_proba(X)[:, 1].mean())
    assert shares[1] > shares[0] + 0.2
    assert clone(classifier).class_weight == {1: 20.0}
    with pytest.raises(UsageError, match="class_weight names 2; the classes are 0, 1"):
        small(class_weight={2: 1.0}).fit(X, rising)
    with pytest.raises(UsageError, match="class_weight is 0 for 1: it must be above 0"):
        small(class_weight={1: 0}).fit(X, rising)


def test_weights_of_single_classes_are_in_the_model_file(tmp_path: Path) -> None:
    X, y = bumps(16)
    classifier = small(class_weight={1: 3.0}, steps=1, baselines=())
    classifier.fit(X, np.where(y == "rising", 1, 0)).save(tmp_path / "m.noria")
    assert SequenceClassifier.load(tmp_path / "m.noria").class_weight == {1: 3.0}


def test_labels_and_values_of_the_wrong_kind_are_told() -> None:
    X, y = bumps(10)
    with pytest.raises(DataError, match="Unknown label type: continuous, such as 0"):
        small().fit(X, np.linspace(0, 4.5, 10))
    with pytest.raises(DataError, match="X is csr_array: sparse data is not read"):
        small().fit(csr_array(np.eye(10)), y)
    with pytest.raises(DataError, match=r"X\[0\] is complex"):
        small().fit([x * 1j for x in X], y)
    with pytest.raises(DataError, match=r"X has 0 feature\(s\) \(shape=\(10, 0\)\)"):
        small().fit(np.zeros((10, 0)), y)
    with pytest.raises(DataError, match=r"X has shape \(3,\).*Reshape your data: X\[None\] is one"):
        small().fit(np.zeros(3), y)


def test_labels_as_a_column_are_taken_with_a_warning() -> None:
    X, y = bumps(16)
    with pytest.warns(DataConversionWarning, match="column-vector"):
        column = small(baselines=()).fit(X, y[:, None])
    assert column.predict(X).tolist() == small(baselines=()).fit(X, y).predict(X).tolist()


def test_a_tensor_is_an_array() -> None:
    torch = pytest.importorskip("torch")
    X, y = np.random.default_rng(0).standard_normal((12, 9, 2)), np.arange(12) % 2
    given = small(baselines=()).fit(torch.from_numpy(X), y).predict_proba(torch.from_numpy(X))
    np.testing.assert_array_equal(given, small(baselines=()).fit(X, y).predict_proba(X))


def test_cross_validation_in_a_pipeline() -> None:
    X, y = bumps(24)
    scores = cross_val_score(
        make_pipeline(small(baselines=())),
        np.array([x[:20] for x in X]),
        y,
        groups=np.arange(24) // 2,
        cv=GroupKFold(2),
    )
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()
