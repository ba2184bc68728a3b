from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from noria.errors import DataError
from noria.features.anomalies import read_windows, windows_of
from noria.features.channels import ChannelTable, read_channels


def hours(count: int = 10) -> ChannelTable:
    start = np.datetime64("2024-01-01T00:00", "us")
    times = start + np.arange(count) * np.timedelta64(1, "h")
    return read_channels(pl.DataFrame({"t": times, "x": [0.0] * count}), time="t", value=("x",))


@pytest.mark.parametrize(
    ("labels", "windows"),
    [([0, 0], []), ([1, 1, 0, 1], [(0, 1), (3, 3)]), ([0, 1, 1], [(1, 2)]), ([1], [(0, 0)])],
)
def test_neighbouring_labels_are_one_anomaly(
    labels: list[int], windows: list[tuple[int, int]]
) -> None:
    assert windows_of(np.array(labels, dtype=bool)) == windows


def test_windows_of_times() -> None:
    pairs = [["2024-01-01 06:00", "2024-01-01 08:30"], ["2024-01-01 00:30", "2024-01-01 02:00"]]
    assert read_windows(pairs, hours()) == [(1, 2), (6, 8)]
    steps = read_channels(pl.DataFrame({"t": [1, 5, 9], "x": [0.0] * 3}), time="t", value=("x",))
    assert read_windows([[2, 9]], steps) == [(1, 2)]


def test_windows_of_a_file_by_the_name_of_the_data(tmp_path: Path) -> None:
    pairs = {"other/a.csv": [], "group/a.csv": [["2024-01-01 01:00", "2024-01-01 01:00"]]}
    (tmp_path / "w.json").write_text(json.dumps(pairs))
    (tmp_path / "group").mkdir()
    hours_csv = tmp_path / "group" / "a.csv"
    pl.DataFrame({"t": hours().times, "x": [0.0] * 10}).write_csv(hours_csv)
    table = read_channels(hours_csv, time="t", value=("x",))
    assert read_windows(tmp_path / "w.json", table) == [(1, 1)]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (["a.csv", "data.csv"], "data.csv"),
        (["ata.csv", "up/data.csv", "other/data.csv"], None),
        (["other/data.csv", "data.csv"], "data.csv"),
        (["data.csv", "group/data.csv", "her/group/data.csv"], "group/data.csv"),
        (["", ".", "/"], None),
    ],
)
def test_a_file_is_named_by_whole_parts_of_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: list[str], found: str | None
) -> None:
    number = {key: index for index, key in enumerate(keys)}
    windows = {key: [[f"2024-01-01 0{n}:00"] * 2] for key, n in number.items()}
    (tmp_path / "w.json").write_text(json.dumps(windows))
    (tmp_path / "group").mkdir()
    pl.DataFrame({"t": hours().times, "x": [0.0] * 10}).write_csv(tmp_path / "group" / "data.csv")
    monkeypatch.chdir(tmp_path / "group")
    for name in (tmp_path / "group" / "data.csv", "data.csv"):
        table = read_channels(name, time="t", value=("x",))
        if found is None:
            with pytest.raises(DataError, match=r"names no file data\.csv"):
                read_windows(tmp_path / "w.json", table)
        else:
            assert read_windows(tmp_path / "w.json", table) == [(number[found],) * 2]


@pytest.mark.parametrize("pair", [[1, float("inf")], [None, 1], ["soon", 1], [10**40, 1]])
def test_a_step_that_is_none_is_told(pair: list[Any]) -> None:
    steps = read_channels(pl.DataFrame({"t": [1, 5, 9], "x": [0.0] * 3}), time="t", value=("x",))
    with pytest.raises(DataError, match="is not a first and a last time"):
        read_windows([pair], steps)


BAD: dict[str, tuple[Any, str]] = {
    "not a pair": ([["2024-01-01"]], "is not a first and a last time"),
    "not a time": ([["soon", "later"]], "is not a first and a last time"),
    "nothing": ([[None, None]], "is not a first and a last time"),
    "a number for a date": ([[1, 2]], "is not a first and a last time"),
    "between events": ([["2024-01-01 01:10", "2024-01-01 01:20"]], "no event of"),
    "backwards": ([["2024-01-01 03:00", "2024-01-01 01:00"]], "no event of"),
    "overlapping": (
        [["2024-01-01 01:00", "2024-01-01 03:00"], ["2024-01-01 03:00", "2024-01-01 05:00"]],
        "two windows overlap at 2024-01-01T03:00",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_says_what_is_wrong(case: str) -> None:
    windows, words = BAD[case]
    with pytest.raises(DataError, match=words):
        read_windows(windows, hours())


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "is not JSON"), ("3", "expected a list"), ('{"b.csv": []}', "names no file"),
     ('"ab"', "expected a list")],
)  # fmt: skip
def test_says_what_is_wrong_with_a_file(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "w.json").write_text(text)
    with pytest.raises(DataError, match=words):
        read_windows(tmp_path / "w.json", hours())
    with pytest.raises(DataError, match="cannot be read"):
        read_windows(tmp_path / "none.json", hours())
