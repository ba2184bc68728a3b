from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from noria.errors import DataError, UsageError
from noria.features.cases import CaseColumns, read_cases
from noria.features.labelled import SequenceScaler, from_arrays
from noria.features.labelled_text import read_texts

COLUMNS = CaseColumns(id="who", time="t", value=("x", "y"), label="kind")
TABLE = pl.DataFrame(
    {
        "who": ["b", "a", "a", "b", "a"],
        "t": [2, 3, 1, 1, 2],
        "x": [20.0, 3.0, 1.0, 10.0, None],
        "y": [1, 2, 3, 4, 5],
        "kind": ["up", "down", "down", "up", "down"],
    }
)


def test_a_table_in_any_order(tmp_path: Path) -> None:
    TABLE.write_csv(tmp_path / "t.csv")
    TABLE.write_parquet(tmp_path / "t.parquet")
    for source in (TABLE, TABLE.to_pandas(), tmp_path / "t.csv", str(tmp_path / "t.parquet")):
        cases = read_cases(source, COLUMNS)
        assert cases.ids == ("a", "b")
        np.testing.assert_array_equal(cases.sequences[0], [[1, 3], [np.nan, 5], [3, 2]])
        np.testing.assert_array_equal(cases.sequences[1], [[10, 4], [20, 1]])
        assert cases.labels is not None
        assert cases.labels.tolist() == ["down", "up"]


def test_labels_are_not_looked_at_where_they_are_not_needed() -> None:
    cases = read_cases(TABLE.drop("kind"), COLUMNS, labelled=False)
    assert cases.labels is None
    assert len(cases) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": ["up", "down", "down", "up", "up"]}, "row 4, column 'kind': the label 'up' of"),
        ({"kind": ["up", None, "down", "up", "down"]}, "row 1, column 'kind': the label is miss"),
        ({"t": [2, 3, 1, 2, 2]}, "rows 0 and 3, column 't': both are 2 of series 'b'"),
        ({"x": ["1", "much", "1", "1", "1"]}, "row 1, column 'x': 'much' is not a number"),
        ({"y": [1.0, 2.0, 1e300, 4.0, 5.0]}, "row 2, column 'y': 1e+300 is too large a number"),
    ],
)
def test_what_is_wrong_is_told_with_its_row(change: dict[str, list[object]], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_cases(TABLE.with_columns(**{k: pl.Series(v) for k, v in change.items()}), COLUMNS)
    assert message in str(caught.value)


def test_columns_that_cannot_be_meant() -> None:
    with pytest.raises(UsageError, match="column 'x' is named twice: as value and as label"):
        CaseColumns(value=("x",), label="x")
    with pytest.raises(UsageError, match="value names no column"):
        CaseColumns(value=())


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (3, None, "X is int: expected an array"),
        (np.zeros(3), None, "X has shape (3,): expected (N, T, I) or (N, T)"),
        ([], None, "X holds no sequences"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], None, "X[1] has 4 channels, X[0] has 3"),
        ([np.zeros((0, 3))], None, "X[0] has shape (0, 3): expected (T, I), at least one step"),
        ([["a"]], None, "X[0] holds what is not a number"),
        (np.full((1, 2), np.inf), None, "X[0] holds an infinite number"),
        ([[[1, 2]], [[3, 4], [5, -1e300]]], None, "X[1], step 1, channel 1: -1e+300 is too large"),
        (np.zeros((2, 3)), ["a"], "y has shape (1,): expected (2,), one for each case"),
    ],
)
def test_arrays_that_do_not_fit(X: object, y: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        from_arrays(X, y)
    assert message in str(caught.value)


def test_the_scaler_measures_what_is_observed() -> None:
    parts = [np.float32([[1, 5], [np.nan, 5]]), np.float32([[3, 5]])]
    scaler = SequenceScaler.fit(parts)
    np.testing.assert_array_equal(scaler.mean, [2, 5])
    np.testing.assert_array_equal(scaler.deviation, [1, 1])
    assert scaler.size == 4
    np.testing.assert_array_equal(scaler.scale(parts[0]), [[-1, 0, 0, 0], [0, 0, 1, 0]])
    assert SequenceScaler.fit(parts[1:]).size == 2


def test_a_missing_label_is_named() -> None:
    labels = np.array(["a", None, "b"], dtype=object)
    for y in (labels, labels.tolist()):
        with pytest.raises(DataError, match=r"^y\[1\] is None: fill it in or leave the case out"):
            from_arrays(np.zeros((3, 5)), y)
        with pytest.raises(
            DataError, match=r"^y\[1\] is None: expected a text or number as the label"
        ):
            read_texts(["one", "two", "three"], y)


@pytest.mark.parametrize(("offset", "unit"), [(1e9, 1.0), (-1e9, 1e-3), (0.0, 1e-12), (5.0, 1e-6)])
def test_a_channel_keeps_its_course_whatever_its_offset_and_unit(
    tmp_path: Path, offset: float, unit: float
) -> None:
    """Values are drawn to their unit before they lose digits, whatever form they come in."""
    course = np.random.default_rng(0).standard_normal((3, 20))
    X = offset + unit * course
    table = pl.DataFrame(
        {
            "unique_id": [str(case) for case in range(3) for _ in range(20)],
            "ds": list(range(20)) * 3,
            "value": X.ravel(),
            "label": ["a"] * 60,
        }
    )
    (tmp_path / "t.ts").write_text(
        "@data\n" + "\n".join(",".join(map(repr, x)) for x in X.tolist())
    )
    expected = (course - course.mean()) / course.std()
    ts = read_cases(tmp_path / "t.ts", labelled=False)
    for cases in (from_arrays(X), read_cases(table), ts):
        scaler = SequenceScaler.fit(cases.sequences)
        scaled = np.stack([scaler.scale(sequence)[:, 0] for sequence in cases.sequences])
        np.testing.assert_allclose(scaled, expected, atol=1e-3)


def test_a_constant_channel_stays_at_zero() -> None:
    for value in (0.1, -1e9 / 3, 1e80):
        scaler = SequenceScaler.fit([np.full((100_000, 1), value)])
        assert (scaler.mean, scaler.deviation) == ([value], [max(1.0, 1e-14 * abs(value))])


def test_what_no_network_can_take_is_told() -> None:
    scaler = SequenceScaler.fit([np.array([[0.0, 1.0], [1.0, 2.0]])])
    with pytest.raises(DataError, match="step 1, channel 1: -1e\\+60 is too far from the values"):
        scaler.scale(np.array([[0.0, 1.0], [np.nan, -1e60]]))
