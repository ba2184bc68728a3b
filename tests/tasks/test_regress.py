from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.base import clone

from noria import SequenceRegressor
from noria.errors import DataError, ModelFileError, UsageError
from noria.runtime import read_model, write_model
from noria.training.regression_scores import RegressionComparison


def gaps(count: int, seed: int = 0) -> tuple[list[NDArray[Any]], NDArray[np.float64]]:
    """Two bumps; the number is the steps between them, which no summary of values tells."""
    random = np.random.default_rng(seed)
    series, numbers = [], []
    for _ in range(count):
        steps = int(random.integers(30, 40))
        first = int(random.integers(1, 6))
        gap = int(random.integers(3, 20))
        x = 0.05 * random.standard_normal((steps, 1))
        x[[first, first + gap]] += 2.0
        series.append(x)
        numbers.append(100.0 + 10 * gap)
    return series, np.array(numbers)


def small(**given: Any) -> SequenceRegressor:
    """A regressor that trains in no time."""
    quick = {"hidden_size": 4, "steps": 4, "members": 2, "channels": 4, "batch_size": 8}
    return SequenceRegressor(**{**quick, **given})


@pytest.fixture(scope="module")
def fitted() -> SequenceRegressor:
    return small().fit(*gaps(24))


def test_the_steps_between_two_bumps_need_memory() -> None:
    regressor = SequenceRegressor(
        hidden_size=16, members=1, convolutions=0, steps=300, learning_rate=0.01, augmentation=0.0,
        dropout=0.0, baselines=("mean", "nearest_neighbour", "ridge_regression"),
    )  # fmt: skip
    regressor.fit(*gaps(120), test=gaps(60, seed=1))
    rmse = {score.model: score.rmse for score in regressor.comparison_.scores}
    assert rmse["network"] < 0.5 * min(rmse[name] for name in rmse if name != "network")
    assert regressor.comparison_.scores[0].r2 > 0.75
    assert regressor.score(*gaps(60, seed=1)) == pytest.approx(regressor.comparison_.scores[0].r2)
    assert regressor.comparison_.verdict().startswith("network has the lowest RMSE")


def test_the_table(fitted: SequenceRegressor) -> None:
    comparison = fitted.comparison_
    names = [score.model for score in comparison.scores]
    assert names == ["network", "fnn", "mean", "nearest_neighbour", "ridge_regression"]
    assert "cross-validation" in comparison.notes[0]
    X, y = gaps(10, seed=1)
    scores = {score.model: score for score in fitted.evaluate(X, y).scores}
    errors = fitted.predict(X) - y
    assert scores["network"].rmse == pytest.approx(np.sqrt((errors**2).mean()))
    assert scores["network"].mae == pytest.approx(np.abs(errors).mean())
    assert scores["network"].r2 == pytest.approx(fitted.score(X, y))
    assert scores["mean"].mae == pytest.approx(np.abs(gaps(24)[1].mean() - y).mean())
    text = json.dumps(comparison.to_dict(), allow_nan=False)
    assert RegressionComparison.from_dict(json.loads(text)).to_dict() == comparison.to_dict()
    sizes = [part.parameter_count for part in (fitted.network_, fitted.fnn_) if part]
    assert abs(sizes[0] - sizes[1]) < 0.1 * sizes[0]


def test_numbers_have_their_own_unit() -> None:
    """What is regressed may be of any size."""
    X, y = gaps(24)
    one = small(baselines=()).fit(X, y).predict(X)
    other = small(baselines=()).fit(X, 1e6 * y + 5e8).predict(X)
    np.testing.assert_allclose(other, 1e6 * one + 5e8, rtol=1e-4)
    constant = small(baselines=()).fit(X, np.full(24, 7.0))
    assert np.isfinite(constant.predict(X)).all()


def test_saved_and_loaded_is_the_same_bit_for_bit(
    fitted: SequenceRegressor, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "m.noria")
    loaded = SequenceRegressor.load(tmp_path / "m.noria")
    X, y = gaps(10, seed=3)
    assert loaded.predict(X).tobytes() == fitted.predict(X).tobytes()
    one, other = loaded.evaluate(X, y), fitted.evaluate(X, y)
    assert [s.metrics() for s in one.scores] == [s.metrics() for s in other.scores]
    file = read_model(tmp_path / "m.noria")
    for key in ("parts", "scaler", "numbers"):
        document = {name: value for name, value in file.document.items() if name != key}
        write_model(tmp_path / "bad.noria", document, file.weights)
        with pytest.raises(ModelFileError, match=r"bad\.noria is damaged"):
            SequenceRegressor.load(tmp_path / "bad.noria")


def test_tables_and_groups() -> None:
    X, y = gaps(24)
    table = pl.DataFrame(
        {
            "unique_id": [f"case{i:02d}" for i, x in enumerate(X) for _ in x],
            "ds": [t for x in X for t in range(len(x))],
            "value": [v for x in X for v in x[:, 0].tolist()],
            "wear": [number for x, number in zip(X, y, strict=True) for _ in x],
            "tool": [str(i // 6) for i, x in enumerate(X) for _ in x],
        }
    )
    regressor = small(baselines=()).fit(table, label="wear", group="tool")
    same = small(baselines=()).fit(X, y, groups=np.arange(24) // 6)
    np.testing.assert_allclose(regressor.predict(table), same.predict(X))
    frame = regressor.predict_frame(table.drop("wear", "tool"))
    assert frame.columns == ["unique_id", "prediction"]
    assert regressor.evaluate(table.drop("tool")).cases == 24
    with pytest.raises(DataError, match="4 groups are too few for 5 members"):
        small(members=5).fit(table, label="wear", group="tool")


def test_sklearn_habits(fitted: SequenceRegressor) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "network_")
    assert repr(SequenceRegressor(cell="gru")) == "SequenceRegressor(cell='gru')"
    assert fitted.n_features_in_ == 1


def test_data_and_arguments_that_cannot_be_meant(fitted: SequenceRegressor) -> None:
    X, y = gaps(10)
    with pytest.raises(DataError, match="case 0: 'high' is no finite number to regress"):
        small().fit(X, ["high"] * 10)
    with pytest.raises(DataError, match="case 3: nan is no finite number"):
        small().fit(X, np.where(np.arange(10) == 3, np.nan, y))
    with pytest.raises(DataError, match="case 3: 1e\\+300 is too large a number"):
        small().fit(X, np.where(np.arange(10) == 3, 1e300, y))
    with pytest.raises(DataError, match="X, case 1, step 2, channel 0: 1e\\+60 is too far from"):
        fitted.predict([[1.0, 2.0], [1.0, 2.0, 1e60]])
    with pytest.raises(UsageError, match="requires y to be passed"):
        small().fit(X)
    with pytest.raises(UsageError, match="label names a column, and an array has none"):
        small().fit(X, y, label="wear")
    with pytest.raises(UsageError, match="baseline 'svm' is none of fnn, mean"):
        small(baselines=["svm"]).fit(X, y)
    with pytest.raises(UsageError, match="kernel_size is 4: it must be odd"):
        small(kernel_size=4).fit(X, y)
    with pytest.raises(DataError, match="X, channel 'channel_0': has no value in any case"):
        small().fit([np.full_like(x, np.nan) for x in X], y)
    with pytest.raises(DataError, match="has 2 channels, the model was trained on 1"):
        fitted.predict([np.zeros((5, 2))])
    with pytest.raises(UsageError, match="not fitted yet"):
        small().predict(X)


def test_a_ts_file_of_numbers_to_predict(tmp_path: Path) -> None:
    X, y = gaps(16)
    X = [np.round(x, 4) for x in X]
    lines = [",".join(map(str, x[:, 0])) + f":{number}" for x, number in zip(X, y, strict=True)]
    path = tmp_path / "gaps.ts"
    path.write_text("\n".join(["@targetlabel true", "@data", *lines, ""]))
    regressor = small(baselines=["mean"]).fit(path, test=path)
    expected = small(baselines=["mean"]).fit(X, y).predict(X)
    np.testing.assert_array_equal(regressor.predict(path), expected)
    rmse = regressor.comparison_.scores[0].rmse
    assert rmse == pytest.approx(((expected - y) ** 2).mean() ** 0.5)
    lines[3] = lines[3].rpartition(":")[0] + ":?"
    path.write_text("\n".join(["@targetlabel true", "@data", *lines, ""]))
    assert len(regressor.predict(path)) == 16
    with pytest.raises(DataError, match=r"gaps\.ts, case 3: nan is no finite number to regress"):
        small().fit(path)
