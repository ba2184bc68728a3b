from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from noria.errors import DataError, UsageError
from noria.features.text_table import TextTable, read_text_table

ROWS = {"id": [1, 2, 3], "text": ["¡bien, muy bien!", "mal\ndos", '"sí"; 好'], "label": [1, 0, 1]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame = pl.DataFrame(ROWS)
    frame.write_csv(tmp_path / "a.csv")
    frame.write_csv(tmp_path / "b.csv", separator=";")
    frame.write_csv(tmp_path / "a.tsv", separator="\t")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ndjson(tmp_path / "a.jsonl")
    return tmp_path


def test_the_same_from_every_form(folder: Path) -> None:
    files = [folder / name for name in ("a.csv", "b.csv", "a.tsv", "a.parquet", "a.jsonl")]
    for source in [*files, pl.DataFrame(ROWS), pl.LazyFrame(ROWS), pd.DataFrame(ROWS)]:
        read = read_text_table(source, ["label", "text"])
        assert read.columns == {"label": ["1", "0", "1"], "text": ROWS["text"]}
    assert read_text_table(folder / "a.csv", ["text"]).rows == [2, 3, 5]
    assert read_text_table(folder / "a.jsonl", ["text"]).rows == [1, 2, 3]


def test_rows_without_a_value_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,text\n1,a\n2,\n\n3,b\n")
    read = read_text_table(tmp_path / "a.csv", ["text"])
    assert (read.columns["text"], read.rows) == (["a", "b"], [2, 5])
    frame = pd.DataFrame({"text": ["a", None, "b"], "label": [1.0, None, 0.5]})
    assert read_text_table(frame, ["text", "label"]) == TextTable(
        "the data frame", {"text": ["a", "b"], "label": ["1", "0.5"]}, [0, 2]
    )
    error = read.error(1, "text", "is bad")
    assert str(error).endswith("a.csv, row 5, column 'text': is bad")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "x,y\n1,2\n", "there is no column 'text'; the columns are x, y"),
        ("a.csv", "text,text\n1,2\n", "2 columns are named 'text'"),
        ("a.csv", "text,y\n1,2\n3\n", "row 3: the number of fields is 1, not 2"),
        ("a.csv", 'text,y\n1,"2\n3,4\n', "row 2: a quote opens a field and is never closed"),
        ("a.csv", 'text,y\n"1,2\n3 "x",4\n', "row 2: cannot be read: ',' expected after '\"', on"),
        ("a.tsv", 'text\ty\n"1\t2\n3\n', "row 3: the number of fields is 1, not 2"),
        ("a.tsv", 'text\ty\n"1\n2"\t3\n4\n', "row 2: the number of fields is 1, not 2"),
        ("a.csv", "text\n \n", "holds no rows"),
        ("a.csv", "", "the file is empty"),
        ("a.xyz", "text\na\n", "cannot tell what the file holds; give one that ends in .csv"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "row 2: is not JSON"),
        ("a.jsonl", "[1]\n", "row 1: is no JSON object"),
        ("a.jsonl", '{"txt": "a"}\n', "row 1: there is no column 'text' (did you mean 'txt'?)"),
        ("a.jsonl", '{"text": {}}\n', "row 1, column 'text': is no text or number"),
        ("a.jsonl", '{"text": "a"}\n{"text": "\\ud83d"}\n', "row 2, column 'text': holds half a"),
        ("a.jsonl", '{"text": NaN}\n', "holds no rows"),
        ("a.parquet", "text\na\n", "cannot be read as Parquet"),
    ],
)
def test_bad_tables(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        read_text_table(tmp_path / name, ["text"])
    assert message in str(caught.value)


def test_a_quote_in_tabbed_text_swallows_no_rows(tmp_path: Path) -> None:
    texts = ['"good film', "bad", '"nice" and "mild"', 'he said no"', '"', '"all of ""it"""', '""']
    rows = "".join(f"{text}\t{i}\n" for i, text in enumerate(texts))
    (tmp_path / "a.tsv").write_text("text\ty\n" + rows)
    read = read_text_table(tmp_path / "a.tsv", ["text", "y"])
    assert read.columns["text"] == [*texts[:5], 'all of "it"', ""]
    assert read.columns["y"] == [*"0123456"]
    assert read.rows == [*range(2, 9)]


@pytest.mark.parametrize("value", [b"a", ["a"], {"a": 1}, np.ones(2)])
def test_cells_that_are_no_text(value: object) -> None:
    for frame in (pl.DataFrame({"text": [value]}), pd.DataFrame({"text": [value]})):
        with pytest.raises(DataError, match="row 0, column 'text': is no text or number"):
            read_text_table(frame, ["text"])


def test_what_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_text_table(tmp_path / "no.csv", ["text"])
    with pytest.raises(UsageError, match="a path or a data frame, not int"):
        read_text_table(3, ["text"])
    with pytest.raises(UsageError, match="named twice"):
        read_text_table(pl.DataFrame(ROWS), ["text", "text"])


def test_long_fields_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n" + "x" * 200_000 + "\n")
    assert len(read_text_table(tmp_path / "a.csv", ["text"]).columns["text"][0]) == 200_000
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": 3.0, "y": None}) + "\n")
    assert read_text_table(tmp_path / "b.jsonl", ["text", "y"]).columns == {
        "text": ["3"],
        "y": [""],
    }
