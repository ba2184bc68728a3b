from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest

from noria.cells import LSTM
from noria.errors import MissingExtraError, ModelFileError, ResourceError
from noria.report import write_report
from noria.runtime import read_model
from noria.wiring import Wiring
from tests.report.reading import ParsedPage

Make = Callable[[dict[str, Any]], Path]

HOSTILE = "</script><script>alert(1)</script><img src=http://x.test/a onerror=alert(2)>\"'&amp;"


@pytest.fixture
def report(make_model: Make, tmp_path: Path) -> Callable[[dict[str, Any]], ParsedPage]:
    def write(document: dict[str, Any]) -> ParsedPage:
        output = tmp_path / "report.html"
        write_report(make_model(document), output)
        return ParsedPage(output.read_text(encoding="utf-8"))

    return write


def test_loads_nothing(report: Any, document: dict[str, Any]) -> None:
    page = report(document)
    loading = {"src", "srcset", "data", "poster", "action", "background", "xlink:href"}
    for tag, attributes in page.tags:
        assert not loading & attributes.keys(), tag
        assert tag not in {"iframe", "object", "embed", "base", "img"}
        assert (attributes.get("href") or "data:,") == "data:,", tag
    assert "url(" not in "".join(page.styles)
    assert "@import" not in "".join(page.styles)
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy[0].startswith("default-src 'none'")
    assert not re.search(r"https?:", policy[0])


def test_embeds_plotly_once(report: Any, document: dict[str, Any]) -> None:
    page = report(document)
    assert [len(script) > 1_000_000 for script in page.scripts] == [True, False]


def test_tells_every_score(report: Any, document: dict[str, Any]) -> None:
    page = report(document)
    heading, network, fnn, naive = page.tables[0]
    assert heading == [
        "model", "MAE", "MASE", "sMAPE %", "CRPS", "in 50%", "in 80%", "in 95%",
        "parameters", "seconds",
    ]  # fmt: skip
    assert network == [
        "network", "612.2", "0.8125", "6.122", "306.1", "50.0", "78.6", "93.8", "9,876", "12.3",
    ]  # fmt: skip
    assert fnn[:3] == ["fnn", "744.5", "0.9700"]
    assert naive[:2] == ["seasonal_naive", "1,913.8"]
    assert naive[8] == "–"
    # the lowest error, and the coverage nearest to its level: equal cells are equally good
    assert page.best == [
        "612.2", "0.8125", "6.122", "306.1", "50.0", "93.8",
        "50.0", "93.8", "50.0", "79.9", "93.8",
    ]  # fmt: skip


def test_says_what_it_is_about(report: Any, document: dict[str, Any], tmp_path: Path) -> None:
    page = report(document)
    for words in [
        "Forecast of load",
        "Memory pays here: network has the lowest MASE, 0.8125.",
        "2 steps (2 days)",
        "auto_ets: 1 of 6 windows fell back to seasonal_naive",
        "forecast from 2024-01-04 on",
        "30, early",
        "7 steps (1 week)",
        "holiday",
        "ab" * 32,
        read_model(tmp_path / "model.noria").sha256,
    ]:
        assert words in page.text
    assert ("svg", "wiring") in [(tag, attributes.get("class")) for tag, attributes in page.tags]


def test_pictures_hold_what_plotly_knows(report: Any, document: dict[str, Any]) -> None:
    page = report(document)
    pictures = page.pictures()
    places = {a["id"] for tag, a in page.tags if tag == "div" and "id" in a}
    assert [picture["id"] in places for picture in pictures] == [True] * 3
    for picture in pictures:
        plotly.graph_objects.Figure(data=picture["data"], layout=picture["layout"])


def test_fan_of_intervals(report: Any, document: dict[str, Any]) -> None:
    picture = report(document).pictures()[0]
    *bands, median, actual = picture["data"]
    ahead = document["exhibits"][0]["time"][3:]
    assert [band["y"] for band in bands] == [
        [10, 11], [16, 17], [11, 12], [15, 16], [12, 13], [14, 15],
    ]  # fmt: skip
    assert [band["hovertemplate"][:4] for band in bands[1::2]] == ["95%:", "80%:", "50%:"]
    assert {tuple(line["x"]) for line in [*bands, median]} == {tuple(ahead)}
    assert median["y"] == [13, 14]
    assert actual["y"] == [10.0, 11.0, None, 13.0, 14.0]
    assert picture["layout"]["shapes"][0]["x0"] == ahead[0]


def test_learning_curves_mark_the_best_step(report: Any, document: dict[str, Any]) -> None:
    picture = report(document).pictures()[-1]
    stars = [line for line in picture["data"] if line["mode"] == "markers"]
    assert [(star["x"], star["y"]) for star in stars] == [([20], [0.45])] * 2
    del document["parts"]["fnn"]
    assert len(report(document).pictures()[-1]["data"]) == 3


@pytest.mark.parametrize("where", ["series", "target", "future", "model", "notes", "settings"])
def test_text_of_the_user_stays_text(report: Any, document: dict[str, Any], where: str) -> None:
    clean = report(document)
    if where == "series":
        document["exhibits"][0]["series"] = HOSTILE
    elif where == "target":
        document["columns"]["target"] = HOSTILE
    elif where == "future":
        document["columns"]["future"] = [HOSTILE]
    elif where == "model":
        document["comparison"]["scores"][1]["model"] = HOSTILE
    elif where == "notes":
        document["comparison"]["notes"] = [HOSTILE]
    else:
        document["settings"]["cell"] = HOSTILE
    page = report(document)
    assert HOSTILE in page.text
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in clean.tags]
    known = [set(attributes) for _, attributes in clean.tags]
    assert [set(attributes) for _, attributes in page.tags] == known


def test_hostile_names_in_scripts_stay_text(report: Any, document: dict[str, Any]) -> None:
    document["exhibits"][0]["time"] = [HOSTILE] * 5
    page = report(document)
    assert len(page.scripts) == 2
    assert page.pictures()[0]["data"][-1]["x"] == [HOSTILE] * 5


def test_hostile_cell_in_the_drawing(report: Any, document: dict[str, Any]) -> None:
    document["wiring"]["layers"][0]["cell"] = "<script>x"
    page = report(document)
    assert len(page.scripts) == 2
    assert "<script>x" in page.text


def test_without_a_comparison(report: Any, document: dict[str, Any]) -> None:
    document["comparison"], document["exhibits"] = None, []
    page = report(document)
    assert "nothing says whether memory pays here" in page.text
    assert "keeps no forecasts" in page.text
    assert len(page.pictures()) == 1


def test_a_score_that_is_no_number(report: Any, document: dict[str, Any]) -> None:
    for score in document["comparison"]["scores"]:
        score["mase"] = None
    page = report(document)
    assert [row[2] for row in page.tables[0][1:]] == ["–"] * 3
    assert "lowest MAE" in page.text


def test_integer_time(report: Any, document: dict[str, Any]) -> None:
    document |= {"freq": "1", "seasons": []}
    document["exhibits"][0]["time"] = ["7", "8", "9", "10", "11"]
    page = report(document)
    picture = page.pictures()[0]
    assert picture["data"][-1]["x"] == [7, 8, 9, 10, 11]
    assert "type" not in picture["layout"]["xaxis"]
    assert "forecast from 10 on" in page.text
    assert "from one step to the next" in page.text


def test_horizon_of_one_step_is_seen(report: Any, document: dict[str, Any]) -> None:
    exhibit = document["exhibits"][0]
    exhibit["quantiles"], exhibit["actual"][2] = exhibit["quantiles"][:1], 12.5
    *_, median, _ = report(document).pictures()[0]["data"]
    assert median["x"] == exhibit["time"][2:4]
    assert median["y"] == [12.5, 13]


def test_any_wiring(report: Any, document: dict[str, Any]) -> None:
    adjacency = np.random.default_rng(0).random((9, 9)) < 0.3
    document["wiring"] = Wiring.build(3, [LSTM(4), LSTM(5)], adjacency).to_dict()
    document["settings"]["feedback"] = adjacency.tolist()
    page = report(document)
    assert "adjacency, 9 × 9" in page.text
    assert sum("data-edge" in attributes for _, attributes in page.tags) == 4


@pytest.mark.parametrize("task", ["paint", None, ["forecast"]])
def test_task_without_a_report(make_model: Make, document: Any, task: Any, tmp_path: Path) -> None:
    document["task"] = task
    with pytest.raises(ModelFileError, match="there are reports for forecast"):
        write_report(make_model(document), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("key", ["comparison", "parts", "columns", "exhibits", "freq"])
def test_document_that_lacks_something(
    make_model: Make, document: dict[str, Any], key: str, tmp_path: Path
) -> None:
    del document[key]
    with pytest.raises(ModelFileError, match=f"damaged.*{key}"):
        write_report(make_model(document), tmp_path / "report.html")


def test_no_model_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such model file"):
        write_report(tmp_path / "none.noria", tmp_path / "report.html")


def test_a_page_that_cannot_be_written(make_model: Make, document: Any, tmp_path: Path) -> None:
    with pytest.raises(ResourceError):
        write_report(make_model(document), tmp_path / "nowhere" / "report.html")


def test_without_plotly(
    make_model: Make, document: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(MissingExtraError, match=r"noria\[train\]"):
        write_report(make_model(document), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
