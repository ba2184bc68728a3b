"""Sessions of forecasters: row by row the bits of `predict` on all rows so far."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.errors import DataError, ModelFileError, StateError
from noria.runtime import Session, StreamState, read_model, write_model
from noria.tasks.forecast import Forecaster
from tests.tasks.series import ROLES, hourly, small, with_covariates

HORIZON = 6
Row = dict[str, Any]


class Case(NamedTuple):
    """A forecaster, a session of its model, and rows to stream."""

    forecaster: Forecaster
    session: Session
    frame: pl.DataFrame

    def events(self) -> list[Row]:
        """Rows as JSON has them, each with what is known in advance of the K after it."""
        columns = self.forecaster.columns_
        rows: list[Row] = json.loads(self.frame.write_json())
        if not columns.future:
            return rows
        keep = (columns.time, *columns.future)
        return [
            row | {"future": [{k: r[k] for k in keep} for r in rows[t + 1 : t + 1 + HORIZON]]}
            for t, row in enumerate(rows[:-HORIZON])
        ]

    def predicted(self, t: int) -> Row:
        """The answer that `predict` gives to rows 0..t."""
        columns = self.forecaster.columns_
        ahead = HORIZON if columns.future else 0
        known = pl.int_range(pl.len()) <= t
        prefix = self.frame[: t + 1 + ahead].with_columns(
            pl.when(known).then(columns.target).alias(columns.target)
        )
        found = self.forecaster.predict(prefix)
        columns_of = {name: found[name].to_list() for name in found.columns[1:]}
        stamps = columns_of[columns.time]
        return columns_of | {
            columns.time: [s if isinstance(s, int) else s.isoformat() for s in stamps]
        }


def made(folder: Path, name: str, data: Any, frame: pl.DataFrame, **options: Any) -> Case:
    settings = {"steps": 3, "test_windows": 0, "baselines": (), **options.pop("settings", {})}
    path = folder / f"{name}.noria"
    small(**settings).fit(data, **options).save(path)
    # what is loaded is what predicts: the file is all that a session has
    return Case(Forecaster.load(path), Session.open(path), frame)


def holed(frame: pl.DataFrame, share: float, seed: int = 0) -> pl.DataFrame:
    """The frame with so many targets missing, the first aside."""
    gone = np.random.default_rng(seed).random(len(frame)) < share
    gone[0] = False
    return frame.with_columns(pl.when(~pl.Series(gone)).then("y").alias("y"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("forecasters")


@pytest.fixture(scope="module")
def covariates(folder: Path) -> Case:
    """Covariates of every kind; a fifth of the targets is missing."""
    frame = holed(with_covariates(110, 0), 0.2)
    data = with_covariates(120, HORIZON)
    return made(folder, "covariates", data, frame, settings={"levels": (50, 95)}, **ROLES)


@pytest.fixture(scope="module")
def plain(folder: Path) -> Case:
    """Hourly values alone; a third of the rows is not there at all."""
    frame = hourly(90, seed=3)
    kept = np.random.default_rng(1).random(len(frame)) < 0.7
    kept[:2] = True
    frame = frame.filter(pl.Series(kept)).drop("unique_id")
    return made(folder, "plain", hourly(120).drop("unique_id"), frame)


def monthly(day: str, count: int = 60) -> pl.DataFrame:
    months = np.datetime64("2001-01", "M") + np.arange(count)
    if day == "end":
        times = (months + 1).astype("M8[D]") - np.timedelta64(1, "D")
    else:
        times = np.minimum(months.astype("M8[D]") + int(day) - 1, (months + 1).astype("M8[D]") - 1)
    y = 10 + np.sin(np.arange(count) / 2) + np.random.default_rng(2).normal(size=count)
    return pl.DataFrame({"ds": times.astype("M8[us]"), "y": y}, strict=False)


@pytest.fixture(scope="module", params=["end", "31", "15"])
def months(request: pytest.FixtureRequest, folder: Path) -> Case:
    frame = holed(monthly(request.param), 0.1)
    data = monthly(request.param)
    settings = {"seasons": None}
    return made(folder, f"months-{request.param}", data, frame, settings=settings)


@pytest.fixture(scope="module")
def numbered(folder: Path) -> Case:
    """Step numbers, no season, feed-forward neurons that carry nothing."""
    random = np.random.default_rng(4)
    frame = pl.DataFrame({"step": 7 + 2 * np.arange(80), "y": np.cumsum(random.normal(size=80))})
    settings = {"seasons": (), "feedback": "none", "cell": "gru"}
    return made(folder, "numbered", frame, frame, settings=settings, time="step")


@pytest.fixture(scope="module")
def segments(folder: Path) -> Case:
    """Windows in segments, two networks, covariates; a fifth of the targets is missing."""
    frame = holed(with_covariates(80, 0), 0.2)
    data = with_covariates(120, HORIZON)
    settings = {"segment_length": 5, "context_length": 30, "cell": "gru", "ensemble": 2}
    return made(folder, "segments", data, frame, settings=settings, **ROLES)


@pytest.fixture(scope="module", params=["student_t", "negative_binomial"])
def distributed(request: pytest.FixtureRequest, folder: Path) -> Case:
    """Counts, by two networks."""
    frame = holed(hourly(60).drop("unique_id"), 0.1).with_columns(pl.col("y").round().clip(0))
    settings = {"distribution": request.param, "ensemble": 2}
    return made(folder, request.param, frame.filter(pl.col("y").is_not_null()), frame,
                settings=settings)  # fmt: skip


def check(case: Case, every: int = 7) -> list[Any]:
    """Step through a case; compare with `predict` on some prefixes, and with feeding."""
    state, answers = case.session.start(), []
    events = case.events()
    for event in events:
        state, answer = case.session.step(state, event)
        answers.append(answer)
    for t in {*range(1, len(events), every), len(events) - 1}:
        assert answers[t] == case.predicted(t), f"row {t}"
    fed, same = case.session.feed(case.session.start(), events)
    assert same == answers
    assert case.session.state_to_bytes(fed) == case.session.state_to_bytes(state)
    return answers


def test_covariates_of_every_kind(covariates: Case) -> None:
    answers = check(covariates)
    assert list(answers[-1]) == ["ds", "forecast", "lo-50", "hi-50", "lo-95", "hi-95"]
    assert np.unique([answer["forecast"][0] for answer in answers]).size > 60


def test_rows_that_are_not_there(plain: Case) -> None:
    check(plain)


def test_months(months: Case) -> None:
    check(months, every=5)


def test_step_numbers_and_no_season(numbered: Case) -> None:
    answers = check(numbered, every=9)
    assert answers[0]["step"] == [9, 11, 13, 15, 17, 19]


def test_windows_in_segments(segments: Case) -> None:
    answers = check(segments)
    assert np.unique([answer["forecast"][0] for answer in answers]).size > 40


def test_distributions(distributed: Case) -> None:
    answers = check(distributed, every=11)
    whole = [answer["forecast"][0].is_integer() for answer in answers]
    assert all(whole) is (distributed.forecaster.distribution == "negative_binomial")


def test_missing_targets_leave_the_last_forecast_standing(plain: Case) -> None:
    session, events = plain.session, plain.events()
    empty = {"ds": "2023-12-31T23:00:00", "y": None}
    state, answer = session.step(session.start(), empty)
    assert answer == {name: [] for name in ("ds", "forecast", "lo-80", "hi-80", "lo-95", "hi-95")}
    assert session.state_to_bytes(state) == session.state_to_bytes(session.start())
    state, answers = session.feed(state, events)
    assert answers == session.feed(session.start(), events)[1]
    for number in range(1, 30):
        stamp = np.datetime_as_string(np.datetime64("2024-01-20T00", "h") + number, unit="s")
        state, answer = session.step(
            state, {"ds": str(stamp), "y": [None, "NA", "nan"][number % 3]}
        )
        assert answer == answers[-1]


def test_series_of_a_panel_are_streams(folder: Path) -> None:
    frames = [hourly(n, name, seed=n) for n, name in ((120, "a"), (80, "b"), (60, "c"))]
    case = made(folder, "panel", pl.concat(frames), frames[0])
    session = case.session
    assert session.describe()["stream"] == ["stream", "unique_id"]
    rows = [json.loads(frame.write_json()) for frame in frames]
    states = [session.start()] * 3
    answers: list[Any] = [None] * 3
    for t in range(60):
        outcomes = session.step_batch(states, [own[t] for own in rows])
        states = [outcome.state for outcome in outcomes if outcome.state is not None]
        answers = [outcome.answer for outcome in outcomes]
        for index in (0, 1, 2) if t % 20 == 0 else ():
            alone, answer = session.feed(session.start(), rows[index][: t + 1])
            assert answer[-1] == answers[index]
            assert session.state_to_bytes(alone) == session.state_to_bytes(states[index])
    found = case.forecaster.predict(pl.concat([frame[:60] for frame in frames]))
    for index, name in enumerate("abc"):
        forecast = found.filter(pl.col("unique_id") == name)["forecast"].to_list()
        assert answers[index]["forecast"] == forecast


@given(st.lists(st.integers(0, 60), max_size=6), st.integers(1, 8))
@settings(max_examples=15, deadline=None)
def test_states_go_on_from_bytes_at_any_place(
    covariates: Case, segments: Case, cuts: list[int], every: int
) -> None:
    case = segments if every % 2 else covariates
    session, events = case.session, case.events()[:60]
    whole, answers = session.feed(session.start(), events)
    state, found, place = session.start(), [], 0
    for cut in [*sorted(cuts), len(events)]:
        state, more = session.feed(state, events[place:cut])
        found += more
        place = cut
        data = session.state_to_bytes(state)
        state = session.state_from_bytes(data)
        assert session.state_to_bytes(state) == data
    assert found == answers
    assert session.state_to_bytes(state) == session.state_to_bytes(whole)


def begun(case: Case, rows: int = 30) -> StreamState:
    return case.session.feed(case.session.start(), case.events()[:rows])[0]


def refuse(case: Case, state: StreamState, event: Any, message: str) -> None:
    before = case.session.state_to_bytes(state)
    with pytest.raises(DataError, match=message):
        case.session.step(state, event)
    assert case.session.state_to_bytes(state) == before


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"y": 1.0}, "the event has no 'ds'"),
        ({"ds": "2024-01-09"}, "the event has no 'y'; a missing value is given as null"),
        ({"ds": "2024-01-01T01:00:00", "y": 1.0}, "is not after 2024-01-0.*give rows in order"),
        ({"ds": "2024-01-09T00:30:00", "y": 1.0}, "2024-01-09T00:30:00 does not fit a step of 1h"),
        ({"ds": "2031-01-09T00:00:00", "y": 1.0}, "steps of 1h after the last row"),
        ({"ds": "tomorrow", "y": 1.0}, "column 'ds': 'tomorrow' is not a timestamp"),
        ({"ds": "2024-02-31", "y": 1.0}, "column 'ds': '2024-02-31' is not a timestamp: day"),
        ({"ds": None, "y": 1.0}, "column 'ds': None is not a timestamp"),
        ({"ds": [1], "y": 1.0}, "column 'ds'"),
        ({"ds": "2024-01-09", "y": "much"}, "column 'y': 'much' is not a number"),
        ({"ds": "2024-01-09", "y": [1.0]}, "column 'y'"),
        ({"ds": "2024-01-09", "y": float("inf")}, "column 'y': the number is infinite"),
        ({"ds": "2024-01-09", "y": 10**400}, "column 'y': the number is infinite"),
        ({"ds": "2024-01-09", "y": -1e201}, "column 'y': -1e\\+201 is so large"),
        ([], "an event is an object"),
        (None, "an event is an object"),
    ],
)
def test_bad_rows_are_refused(plain: Case, event: Any, message: str) -> None:
    refuse(plain, begun(plain), event, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"town": "Oslo"}, "column 'town': the static covariate changes"),
        ({"size": 4.0}, "column 'size': the static covariate changes"),
        ({"sky": 1.5}, "column 'sky': 1.5 is not a text"),
        ({"rain": "wet"}, "column 'rain': 'wet' is not a number"),
        ({"future": None}, "'future' must be a list of the 6 rows after this one, with holiday"),
        ({"future": [{"holiday": 1, "school": "open"}] * 5}, "'future' must be a list"),
        ({"future": [{"holiday": 1}] * 6}, "'future', row 1: the event has no 'school'"),
        (
            {"future": [{"holiday": 1, "school": "open", "ds": "2025-01-01"}] * 6},
            "'future', row 1: column 'ds': it is not 2024-01-02T07:00:00",
        ),
        ({"future": [3] * 6}, "row 1 is no object"),
    ],
)
def test_bad_covariates_are_refused(covariates: Case, change: Row, message: str) -> None:
    events = covariates.events()
    refuse(covariates, begun(covariates), {**events[30], "y": 1.0, **change}, message)


def test_one_bad_row_in_a_batch_leaves_the_others(plain: Case) -> None:
    session = plain.session
    rows = plain.events()
    begins = [5 + k % (len(rows) - 6) for k in range(64)]
    events = [rows[begin] for begin in begins]
    states = [session.feed(session.start(), rows[:begin])[0] for begin in begins]
    good = session.step_batch(states, events)
    for bad in ({**events[40], "y": 1e201}, {**events[40], "y": float("inf")}, {"ds": 1}):
        found = session.step_batch(states, [*events[:40], bad, *events[41:]])
        assert isinstance(found[40].error, DataError)
        for one, other in zip(found[:40] + found[41:], good[:40] + good[41:], strict=True):
            assert one.answer == other.answer
            assert one.state is not None
            assert other.state is not None
            assert session.state_to_bytes(one.state) == session.state_to_bytes(other.state)


def test_the_memory_of_a_stream_is_bounded(plain: Case) -> None:
    session = plain.session
    stamps = np.datetime64("2024-01-01", "h") + np.arange(400)
    texts = np.datetime_as_string(stamps, unit="s").tolist()
    state, sizes = session.start(), []
    for t, text in enumerate(texts):
        state, _ = session.step(state, {"ds": text, "y": float(t % 11)})
        sizes.append(len(session.state_to_bytes(state)))
    assert max(sizes[200:]) == max(sizes[50:200])


def test_another_ways_of_writing_a_row(plain: Case) -> None:
    state = begun(plain)
    (want,) = {
        json.dumps(plain.session.step(state, {"ds": ds, "y": y})[1])
        for ds in ("2024-01-09 05:00", "2024-01-09T05:00:00Z", "2024-01-09T07:00:00+02:00",
                   "9 Jan 2024 05:00", "9.1.2024 5:00 AM")
        for y in (12, 12.0, "12", " 12.0 ", "1.2e1")
    }  # fmt: skip
    assert json.loads(want)["ds"][0] == "2024-01-09T06:00:00"


def test_a_memory_that_does_not_fit_its_model_is_refused(plain: Case) -> None:
    """Right checksums around wrong content."""
    from noria.runtime.state_bytes import seal, unseal

    session = plain.session
    data = session.state_to_bytes(begun(plain))
    content = unseal("state", session.sha256, data)
    memory = session._zeros.nbytes

    def with_whole(place: int, value: int) -> bytes:
        at = memory + 8 * place
        return content[:at] + value.to_bytes(8, "little", signed=True) + content[at + 8 :]

    wrong = [content[:10], content[:memory], content[:-8], content + bytes(8), content[:-3]]
    wrong += [with_whole(place, 2**62) for place in range(6)]
    wrong += [with_whole(place, -1) for place in (0, 2, 3, 4, 5)]
    wrong.append(b"\xff" * len(content))
    wrong.append(content[:memory] + b"\xff" * (len(content) - memory))
    for part in wrong:
        with pytest.raises(StateError, match="damaged"):
            session.state_from_bytes(seal("state", session.sha256, part))


@pytest.mark.parametrize(
    "changes",
    [
        {"seasons": "x"},
        {"seasons": [12, 12]},
        {"seasons": [1.5]},
        {"seasons": [2**80]},
        {"seasons": [0]},
        {"levels": None},
        {"levels": [50]},
        {"columns": {"time": 3}},
        {"columns": None},
        {"freq": "1 hour"},
        {"freq": 3},
        {"calendar": ["phase_of_the_moon"]},
        {"categories": {"y": 3}},
        {"scaler": {"mean": [[1]], "deviation": []}},
        {"scaler": {}},
        {"parts": {}},
        {"network": {"horizon": 10**12}},
        {"network": {"members": 2}},
        {"network": {"distribution": "gamma"}},
        {"network": {"window": 7}},
        {"network": {"window": {"length": 7, "segment": 3}}},
        {"network": {"window": {"length": 8, "segment": 0}}},
        {"settings": {"levels": ["80"]}},
        {"settings": []},
    ],
)
def test_a_document_that_does_not_fit_its_weights(plain: Case, folder: Path, changes: Row) -> None:
    model = plain.session.model
    path = folder / "changed.noria"
    document = {k: v for k, v in model.document.items() if k not in ("format", "version")}
    part = document["parts"]["network"] | changes.get("network", {})
    document = document | {"parts": {"network": part}} | changes
    write_model(path, document, model.weights)
    with pytest.raises(ModelFileError, match=r"damaged|lacks the weight"):
        Session.open(path)
    assert read_model(path).task == "forecast"
