from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from noria.features.frames import frame_like

COLUMNS = {
    "id": ["a", "b"],
    "ds": np.array(["2024-01-01T05", "2024-01-02"], "datetime64[us]"),
    "step": np.array([3, 4]),
    "y": np.array([1.5, np.nan]),
}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (pd.DataFrame({"a": [1]}), pd.DataFrame),
        (pl.DataFrame({"a": [1]}), pl.DataFrame),
        (pa.table({"a": [1]}), pa.Table),
        (pl.LazyFrame({"a": [1]}), pl.DataFrame),
        ("power.csv", pl.DataFrame),
        (Path("power.csv"), pl.DataFrame),
        (None, pl.DataFrame),
    ],
)
def test_a_frame_is_of_the_kind_given(given: Any, kind: type) -> None:
    frame = frame_like(given, COLUMNS)
    assert isinstance(frame, kind)
    rows = pl.DataFrame(frame)
    assert rows.columns == ["id", "ds", "step", "y"]
    assert rows["id"].to_list() == ["a", "b"]
    np.testing.assert_array_equal(rows["ds"].to_numpy().astype("datetime64[us]"), COLUMNS["ds"])
    assert rows["step"].to_list() == [3, 4]
    np.testing.assert_array_equal(rows["y"].to_numpy(), [1.5, np.nan])
    assert rows["ds"].dtype.is_temporal()
    assert rows["step"].dtype == pl.Int64
    assert rows["y"].dtype == pl.Float64
