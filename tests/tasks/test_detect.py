from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone

from noria import AnomalyDetector
from noria.errors import DataError, ModelFileError, UsageError
from noria.runtime import Session, read_model, write_model
from noria.training.detection_scores import DetectionComparison
from tests.tasks.readings import fit, readings, small, values


@pytest.fixture(scope="module")
def fitted() -> AnomalyDetector:
    return fit(small(), readings(values(700)))


@pytest.fixture(scope="module")
def model(fitted: AnomalyDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("detect") / "m.noria"
    fitted.save(path)
    return path


@pytest.fixture(scope="module")
def session(model: Path) -> Session:
    return Session.open(model)


def events(table: pl.DataFrame) -> list[dict[str, Any]]:
    return table.with_columns(pl.col("when").dt.to_string("iso:strict")).to_dicts()


def alarms(answers: pl.DataFrame) -> list[int]:
    return np.flatnonzero(answers["alarm"].to_numpy()).tolist()


def test_known_anomalies_alarm_and_name_their_channel() -> None:
    """Two kinds that no limit on the values would show: they lie within the usual range."""
    detector = fit(small(steps=150, hidden_size=16, baselines=()), readings(values(1000)))
    rows = values(800, seed=1)
    rows[300, 0] += 2.5 if rows[300, 0] < 10 else -2.5
    rows[600:630, 1] = 52
    answers = detector.predict_frame(readings(rows))
    found = alarms(answers)
    assert {300} <= set(found) <= {300, 301, *range(600, 650)}
    assert any(603 <= row <= 630 for row in found)
    assert answers["channel"][300] == "load"
    assert {answers["channel"][row] for row in found if row >= 600} == {"heat"}
    assert answers["score"].min() >= 0
    assert answers["score"].max() <= 1
    (network,) = detector.evaluate(
        readings(rows).with_columns(bad=pl.Series([float(r == 300 or 600 <= r < 630)
                                                   for r in range(800)])), label="bad"
    ).scores  # fmt: skip
    assert (network.recall, network.nab > 80) == (1, True)


def test_normal_events_alarm_below_the_rate_asked_for_and_not_never() -> None:
    rate = 5e-3
    detector = small(steps=150, hidden_size=16, false_alarm_rate=rate, quiet=16, baselines=())
    fit(detector, readings(values(2000)))
    share = detector.predict(readings(values(6000, seed=3))).mean()
    assert 0.1 * rate <= share <= rate


def test_nothing_ahead_is_seen(fitted: AnomalyDetector) -> None:
    """The scores of a beginning are those of the whole, bit for bit, whatever comes after."""
    rows = values(400, seed=3)
    whole = fitted.score_samples(readings(rows))
    for count in (1, 15, 16, 17, 255, 256, 257, 399):
        changed = rows.copy()
        changed[count:] = 1e6
        assert fitted.score_samples(readings(rows[:count])).tobytes() == whole[:count].tobytes()
        assert fitted.score_samples(readings(changed))[:count].tobytes() == whole[:count].tobytes()


def test_a_stream_says_what_the_whole_table_does(fitted: AnomalyDetector, session: Session) -> None:
    rows = values(300, seed=4)
    rows[100:103, 0] = np.nan
    rows[150] = np.nan
    table = readings(rows)[[row for row in range(300) if not 200 <= row < 230]]
    expected = fitted.predict_frame(table)
    given = events(table)
    _, chunk = session.feed(session.start(), given)
    state, stepped = session.start(), []
    for event in given:
        state = session.state_from_bytes(session.state_to_bytes(state))
        state, answer = session.step(state, event)
        stepped.append(answer)
    assert stepped == chunk
    assert pl.DataFrame(stepped).equals(expected.drop("when"))
    assert expected["channel"].null_count() == 1
    assert stepped[150]["channel"] is None
    assert np.isfinite(expected["score"].to_numpy()).all()


def test_many_streams_at_once_are_each_as_alone(session: Session) -> None:
    streams = [events(readings(values(20 + n, seed=n))) for n in range(5)]
    together = session.feed_batch([session.start()] * 5, streams)
    for given, outcome in zip(streams, together, strict=True):
        assert outcome.answer == session.feed(session.start(), given)[1]


def test_events_that_did_not_come_do_no_harm(fitted: AnomalyDetector) -> None:
    table = readings(values(1500, seed=5))
    gaps = [row for row in range(1500) if not (400 <= row < 403 or 700 <= row < 900)]
    answers = fitted.predict_frame(table[gaps])
    times = table[gaps]["when"]
    assert answers["when"].equals(times)
    behind = answers.filter(pl.col("when") > times[405])
    assert behind["alarm"].mean() <= 0.005
    rows = values(1500, seed=5)
    rows[np.random.default_rng(0).random(rows.shape) < 0.2] = np.nan
    assert fitted.predict_frame(readings(rows))["alarm"].mean() <= 0.005


def test_a_few_anomalies_to_learn_from_do_no_harm() -> None:
    rows = values(1000)
    rows[200, 0] = 25
    rows[500:505, 1] = 70
    detector = fit(small(steps=150, hidden_size=16, baselines=()), readings(rows))
    later = values(600, seed=6)
    later[300, 0] = 25
    assert 300 in alarms(detector.predict_frame(readings(later)))


def test_it_adapts_to_what_has_come_to_stay(fitted: AnomalyDetector) -> None:
    """Noise four times as large alarms at first, and is normal in the end."""
    rows = values(6000, seed=7)
    rows[1000:, 1] = 50 + 4 * (rows[1000:, 1] - 50)
    found = np.array(alarms(fitted.predict_frame(readings(rows))))
    assert len(found[(found >= 1000) & (found < 1100)]) >= 1
    assert len(found[found >= 4000]) <= 4


def test_an_event_costs_the_same_however_many_came_before(session: Session) -> None:
    given = events(readings(values(4000, seed=8)))
    state, taken, sizes = session.start(), [], set()
    for first in range(0, 4000, 500):
        started = time.process_time()
        for event in given[first : first + 500]:
            state, _ = session.step(state, event)
        taken.append(time.process_time() - started)
        sizes.add(len(session.state_to_bytes(state)))
    assert len(sizes) == 1
    assert min(taken[-3:]) < 2 * min(taken[:3])


BAD_EVENTS: dict[str, tuple[Any, str]] = {
    "no object": ([1.0], "an event is an object with when, load, heat"),
    "no time": ({"load": 1.0, "heat": 1.0}, "'when'"),
    "a time that is none": ({"when": "soon", "load": 1.0, "heat": 1.0}, "'when'"),
    "a step number": ({"when": 3, "load": 1.0, "heat": 1.0}, "'when'"),
    "text": ({"when": "2025-01-01", "load": "much", "heat": 1.0}, "'load'"),
    "not finite": ({"when": "2025-01-01", "load": math.inf, "heat": 1.0}, "'load'"),
    "earlier": ({"when": "2023-01-01", "load": 1.0, "heat": 1.0}, "in order"),
}


@pytest.mark.parametrize("case", BAD_EVENTS)
def test_a_bad_event_is_told_and_changes_nothing(session: Session, case: str) -> None:
    event, words = BAD_EVENTS[case]
    given = events(readings(values(30)))
    state, _ = session.feed(session.start(), given[:20])
    before = session.state_to_bytes(state)
    with pytest.raises(DataError, match=words):
        session.step(state, event)
    assert session.state_to_bytes(state) == before
    assert session.step(state, given[20])[1]["score"] <= 1


def test_the_largest_numbers_do_not_break_it(session: Session) -> None:
    given = events(readings(values(60)))
    given[30]["load"], given[31]["heat"] = 1.7e308, -1.7e308
    given[40]["load"] = 5e-324
    _, answers = session.feed(session.start(), given)
    assert answers[30]["alarm"]
    assert all(0 <= answer["score"] <= 1 for answer in answers)


def test_the_table(fitted: AnomalyDetector) -> None:
    comparison = fitted.comparison_
    assert comparison is not None
    assert [score.model for score in comparison.scores] == [
        "network", "fnn", "last_value", "moving_z_score",
    ]  # fmt: skip
    assert comparison.events == 70
    network = comparison.scores[0]
    assert network.metrics().keys() == {"false_alarm_rate", "mae"}
    assert math.isnan(network.nab)
    assert "Memory" in comparison.verdict()
    text = json.dumps(comparison.to_dict(), allow_nan=False)
    assert DetectionComparison.from_dict(json.loads(text)).to_dict() == comparison.to_dict()
    assert fitted.fnn_ is not None
    sizes = [part.parameter_count for part in (fitted.network_, fitted.fnn_)]
    assert abs(sizes[0] - sizes[1]) < 0.1 * sizes[0]


def test_evaluate_with_labels_windows_and_neither(fitted: AnomalyDetector) -> None:
    rows = values(300, seed=9)
    rows[200, 1] = 90
    table = readings(rows)
    labelled = table.with_columns(bad=pl.int_range(300).is_between(195, 204).cast(pl.Int8))
    times = [str(table["when"][row]) for row in (195, 204)]
    one = fitted.evaluate(labelled, label="bad")
    other = fitted.evaluate(table, windows=[times])
    assert one.windows == other.windows == 1
    for left, right in zip(one.scores, other.scores, strict=True):
        assert left.metrics() == right.metrics()
    assert one.scores[0].recall == 1
    assert one.scores[0].precision == 1 / len(alarms(fitted.predict_frame(table)))
    without = fitted.evaluate(table)
    assert without.windows is None
    assert without.scores[0].metrics().keys() == {"false_alarm_rate", "mae"}
    none = fitted.evaluate(table, windows=[])
    assert none.windows == 0
    assert none.scores[0].false_alarm_rate == without.scores[0].false_alarm_rate
    with pytest.raises(UsageError, match="label or windows, not both"):
        fitted.evaluate(labelled, label="bad", windows=[times])


def test_sklearn_habits(fitted: AnomalyDetector) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "network_")
    assert repr(AnomalyDetector(cell="gru")) == "AnomalyDetector(cell='gru')"


def test_saved_and_loaded_is_the_same(fitted: AnomalyDetector, model: Path, tmp_path: Path) -> None:
    loaded = AnomalyDetector.load(model)
    table = readings(values(200, seed=10))
    assert loaded.predict_frame(table).equals(fitted.predict_frame(table))
    assert loaded.get_params() == fitted.get_params() | {"baselines": list(fitted.baselines)}
    one, other = (detector.evaluate(table) for detector in (loaded, fitted))
    assert [s.metrics() for s in one.scores] == [s.metrics() for s in other.scores]
    loaded.save(tmp_path / "again.noria")
    again = read_model(tmp_path / "again.noria")
    assert again.document == read_model(model).document
    for name, weight in read_model(model).weights.items():
        assert again.weights[name].tobytes() == weight.tobytes()


def test_steps_instead_of_dates_and_whatever_form_the_table_has(tmp_path: Path) -> None:
    table = readings(values(200)).with_columns(when=pl.int_range(200))
    table.write_csv(tmp_path / "t.csv")
    expected = fit(small(baselines=()), table).predict(table)
    for form in (tmp_path / "t.csv", table.to_pandas()):
        detector = fit(small(baselines=()), form)
        np.testing.assert_array_equal(detector.predict(form), expected)
        assert type(detector.predict_frame(form)).__module__.split(".")[0] == (
            "pandas" if form is not tmp_path / "t.csv" and not isinstance(form, Path) else "polars"
        )
    with pytest.raises(DataError, match="trained on step numbers, these are dates"):
        detector.predict(readings(values(20)))


def test_a_resumed_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = readings(values(200))
    whole = fit(small(checkpoint_every=1), table)
    from noria.training import detecting

    calls = 0
    draw = detecting._Objective.batch

    def interrupted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 60:  # in the rival
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(detecting._Objective, "batch", interrupted)
    halves = small(checkpoint_every=1)
    with pytest.raises(KeyboardInterrupt):
        fit(halves, table, checkpoint=tmp_path / "c")
    fit(halves, table, checkpoint=tmp_path / "c", resume=True)
    assert halves.predict_frame(table).equals(whole.predict_frame(table))
    assert halves.evaluate(table).scores[1].mae == whole.evaluate(table).scores[1].mae
    assert set(tmp_path.iterdir()) == set(halves.checkpoints(tmp_path / "c"))
    with pytest.raises(ModelFileError, match="was written for other data or settings"):
        fit(small(seed=9), table, checkpoint=tmp_path / "c", resume=True)


def test_constant_and_tiny_channels() -> None:
    """What never moves has a law too: the first movement alarms."""
    for level in (0.0, 7.0, 1e-12):
        rows = values(400)
        rows[:, 1] = level
        detector = fit(small(baselines=()), readings(rows))
        later = values(100, seed=1)
        later[:, 1] = level
        assert detector.predict(readings(later))[16:].mean() < 0.03
        later[60, 1] = level + 1
        answers = detector.predict_frame(readings(later))
        assert answers["alarm"][60]
        assert answers["channel"][60] == "heat"


@pytest.mark.parametrize(("offset", "unit"), [(1e9, 0.1), (0.0, 1e-12)])
def test_a_channel_is_watched_whatever_its_offset_and_unit(offset: float, unit: float) -> None:
    rows = np.concatenate([values(400), values(100, seed=1)])
    expected = fit(small(baselines=()), readings(rows[:400])).score_samples(readings(rows[400:]))
    rows[:, 1] = offset + unit * (rows[:, 1] - 50)
    detector = fit(small(baselines=()), readings(rows[:400]))
    found = detector.score_samples(readings(rows[400:]))
    assert np.corrcoef(found, expected)[0, 1] > 0.9


BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no neurons": ({"hidden_size": 0}, "hidden_size is 0: it must be at least 1"),
    "rate of 0": ({"false_alarm_rate": 0.0}, "false_alarm_rate is 0.0: it must be above 0"),
    "rate too high": ({"false_alarm_rate": 0.5}, "it must be below 0.0625, one in 16"),
    "no quiet": ({"quiet": 0}, "quiet is 0: it must be at least 1"),
    "all for validation": ({"validation_share": 0.9}, "validation_share is 0.9"),
    "test share": ({"test_share": 0.7}, "test_share is 0.7: it must be from 0 to 0.5"),
    "unknown baseline": ({"baselines": ["svm"]}, "baseline 'svm' is none of fnn, last_value"),
    "unknown cell": ({"cell": "lstn"}, "cell 'lstn' is unknown"),
    "dropout": ({"dropout": 1.5}, "dropout"),
    "seed": ({"seed": -1}, "seed is -1"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_arguments_that_cannot_be_meant(case: str) -> None:
    given, words = BAD_ARGUMENTS[case]
    with pytest.raises(UsageError) as caught:
        fit(small(**given), readings(values(200)))
    assert words in str(caught.value)


def test_data_that_is_not_what_it_should_be(fitted: AnomalyDetector) -> None:
    table = readings(values(200))
    with pytest.raises(DataError, match="holds 45 events to learn from; at least 64"):
        fit(small(), table[:50])
    with pytest.raises(DataError, match="'heat': has no value"):
        fit(small(), table.with_columns(heat=pl.lit(None, pl.Float64)))
    with pytest.raises(UsageError, match="column 'score' has the name of a result"):
        small().fit(table.rename({"heat": "score"}), time="when", value=("score",))
    with pytest.raises(DataError, match="no column 'heat'"):
        fitted.predict(table.drop("heat"))
    with pytest.raises(UsageError, match="not fitted yet"):
        small().predict(table)


def test_a_damaged_document_is_told(model: Path, tmp_path: Path) -> None:
    file = read_model(model)
    for key in ("parts", "detection", "trained_on", "exhibit"):
        document = {name: value for name, value in file.document.items() if name != key}
        write_model(tmp_path / "bad.noria", document, file.weights)
        with pytest.raises(ModelFileError, match=r"bad\.noria is damaged"):
            AnomalyDetector.load(tmp_path / "bad.noria")
    detection = file.document["detection"]
    wrong: list[dict[str, Any]] = [
        {"normal": {"network": [1.0, 2.0]}},
        {"channels": {**detection["channels"], "names": ["load"]}},
        {"channels": {**detection["channels"], "scale": [0.0, 1.0]}},
        {"channels": {**detection["channels"], "cycles": ["month"]}},
        {"alarms": {**detection["alarms"], "rate": 2.0}},
        {"alarms": {**detection["alarms"], "block": 0}},
    ]
    for change in wrong:
        document = {**file.document, "detection": {**detection, **change}}
        write_model(tmp_path / "bad.noria", document, file.weights)
        for read in (Session.open, AnomalyDetector.load):
            with pytest.raises(ModelFileError, match="damaged"):
                read(tmp_path / "bad.noria")


@pytest.mark.parametrize(("first", "last", "what"), [(590, 700, "validate"), (1, 540, "learn")])
def test_a_part_without_a_value_is_refused(first: int, last: int, what: str) -> None:
    """Of 700 events the last tenth is held out; the last 15 % before it are for validation."""
    rows = values(700)
    rows[first:last] = np.nan
    if what == "validate":
        rows[530:630] = np.nan
    with pytest.raises(DataError, match=f"no channel has a value in the .* steps to {what}"):
        fit(small(steps=1), readings(rows))


def test_of_a_detector_without_memory_nothing_is_said_of_memory(tmp_path: Path) -> None:
    detector = fit(small(feedback="none", steps=1, baselines=("fnn",)), readings(values(400)))
    detector.save(tmp_path / "m.noria")
    for comparison in (
        detector.comparison_,
        AnomalyDetector.load(tmp_path / "m.noria").comparison_,
    ):
        assert not comparison.verdict().startswith("Memory")
        assert "no memory" in comparison.verdict()
