from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noria.runtime.alarms import Alarms, AlarmState

Floats = NDArray[np.float64]

LAWS: dict[str, Any] = {
    "normal": lambda random, size: random.standard_normal(size),
    "heavy tails": lambda random, size: random.standard_t(3, size),
    "skewed": lambda random, size: random.lognormal(0, 1, size),
    "jumps once a day": lambda random, size: random.standard_normal(size)
    + np.where(np.arange(size[0]) % 96 == 50, 8.0, 0.0)[:, None],
    "runs": lambda random, size: np.repeat(random.standard_normal(size), 8, 0)[: size[0]],
}  # fmt: skip


def run(alarms: Alarms, state: AlarmState, errors: Floats) -> tuple[list[int], list[Any]]:
    """Rows that alarm, and all verdicts."""
    rows, verdicts = [], []
    values = np.zeros(errors.shape[1])
    for row, error in enumerate(errors):
        state, said = alarms.step(state, error, values)
        verdicts.append(said)
        if said.fresh and said.score >= alarms.threshold:
            rows.append(row)
    return rows, verdicts


def learned(alarms: Alarms, errors: Floats) -> AlarmState:
    return alarms.learn(errors, np.zeros_like(errors))


@pytest.mark.parametrize("channels", [1, 2])
def test_normal_events_alarm_at_about_the_rate(channels: int) -> None:
    """Whatever the errors' law."""
    alarms = Alarms(rate=5e-3, quiet=16)
    shares = []
    for law in LAWS.values():
        random = np.random.default_rng(0)
        state = learned(alarms, law(random, (1500, channels)))
        rows, _ = run(alarms, state, law(random, (3000, channels)))
        shares.append(len(rows) / (3000 * alarms.rate))
    assert min(shares) >= 0.3
    assert max(shares) <= 1.5
    assert np.mean(shares) == pytest.approx(0.75, abs=0.35)


def test_a_score_is_the_share_of_blocks_as_high() -> None:
    random = np.random.default_rng(1)
    alarms = Alarms(rate=1e-3, quiet=1)
    state = learned(alarms, random.standard_normal((2000, 1)))
    _, verdicts = run(alarms, state, random.standard_normal((4000, 1)))
    highest = np.array([said.score for said in verdicts]).reshape(-1, alarms.block).max(axis=1)
    for score in (0.8, 0.9, 0.95):
        assert np.mean(highest >= score) <= 1.3 * (1 - score)
        assert np.mean(highest >= score) >= 0.2 * (1 - score)


def test_the_channel_that_errs_is_to_blame() -> None:
    random = np.random.default_rng(2)
    alarms = Alarms(rate=1e-3, quiet=64)
    scales = np.array([1.0, 100.0, 0.01])
    state = learned(alarms, random.standard_normal((1000, 3)) * scales)
    errors = random.standard_normal((60, 3)) * scales
    for row, channel in ((20, 2), (30, 0), (40, 1)):
        errors[row, channel] = 15 * scales[channel]
    rows, verdicts = run(alarms, state, errors)
    # another channel's quiet time does not hold it back
    assert {20, 30, 40} <= set(rows)
    assert [verdicts[row].channel for row in (20, 30, 40)] == [2, 0, 1]


def test_an_anomaly_that_goes_on_alarms_once() -> None:
    random = np.random.default_rng(3)
    alarms = Alarms(rate=1e-3, quiet=64)
    state = learned(alarms, random.standard_normal((1000, 1)))
    errors = random.standard_normal((300, 1))
    errors[100:130] = 20.0
    errors[250] = 20.0
    rows, _ = run(alarms, state, errors)
    assert rows[0] == 100
    assert rows[-1] == 250
    assert len(rows) <= 4


def test_many_small_errors_of_one_sign_add_up() -> None:
    random = np.random.default_rng(4)
    alarms = Alarms(rate=1e-3, quiet=64)
    state = learned(alarms, random.standard_normal((1000, 1)))
    errors = 0.5 * random.standard_normal((200, 1))
    errors[100:140] += 1.8
    rows, _ = run(alarms, state, errors)
    assert any(105 <= row <= 139 for row in rows)


@pytest.mark.parametrize("factor", [3.0, 0.0])
def test_errors_that_grow_or_vanish_alarm(factor: float) -> None:
    """Noisier, or a sensor that hangs: with no error that is rare by itself."""
    random = np.random.default_rng(10)
    alarms = Alarms(rate=1e-3, quiet=64)
    state = learned(alarms, random.standard_normal((1000, 2)))
    errors = random.standard_normal((200, 2))
    errors[100:130, 1] = np.clip(factor * errors[100:130, 1], -2.5, 2.5)
    rows, verdicts = run(alarms, state, errors)
    assert rows
    assert 104 <= rows[0] <= 130
    assert verdicts[rows[0]].channel == 1


def test_missing_errors_are_not_small_ones() -> None:
    random = np.random.default_rng(11)
    alarms = Alarms(rate=1e-3, quiet=64)
    state = learned(alarms, random.uniform(-1, 1, (1000, 1)))
    errors = random.uniform(-1, 1, (200, 1))
    errors[100:160] = np.nan
    assert run(alarms, state, errors)[0] == []


def test_values_where_they_have_never_been_alarm_though_every_step_is_expected() -> None:
    random = np.random.default_rng(5)
    alarms = Alarms(rate=1e-3, quiet=64)
    quiet = 0.1 * random.standard_normal((1000, 1))
    state = alarms.learn(quiet, random.standard_normal((1000, 1)))
    scores = []
    for value in np.linspace(0, 20, 200):
        error = 0.1 * random.standard_normal(1)
        state, said = alarms.step(state, error, np.array([value]))
        scores.append(said.score)
    assert max(scores[:10]) < alarms.threshold < max(scores)


def test_what_stays_becomes_normal_and_one_anomaly_does_not() -> None:
    random = np.random.default_rng(6)
    alarms = Alarms(rate=1e-3, quiet=1)
    state = learned(alarms, random.standard_normal((1000, 1)))
    once = random.standard_normal((1000, 1))
    once[[300, 700]] = 30.0
    rows, verdicts = run(alarms, state, once)
    assert {300, 700} <= set(rows)
    assert verdicts[700].score > alarms.threshold
    rows, _ = run(alarms, state, 5 * random.standard_normal((6000, 1)))
    assert len([row for row in rows if row < 500]) >= 3
    assert len([row for row in rows if row >= 3000]) <= 6


def test_a_missing_error_is_none() -> None:
    alarms = Alarms(rate=1e-3, quiet=1)
    state = learned(alarms, np.random.default_rng(7).standard_normal((500, 2)))
    for error in ([np.nan, np.nan], [0.0, 0.0]):
        state, said = alarms.step(state, np.array(error), np.zeros(2))
        assert said.score == 0


def test_a_state_is_a_value_of_constant_size() -> None:
    random = np.random.default_rng(8)
    alarms = Alarms(rate=1e-3, quiet=10)
    state = learned(alarms, random.standard_normal((300, 2)))
    first = state.to_numbers()
    for error in random.standard_normal((400, 2)):
        before = state.to_numbers()
        again = alarms.state(before, 2)
        after, said = alarms.step(state, error, error)
        assert state.to_numbers().tobytes() == before.tobytes()
        other, same = alarms.step(again, error, error)
        assert same == said
        assert other.to_numbers().tobytes() == after.to_numbers().tobytes()
        state = after
    assert state.to_numbers().shape == first.shape
    assert np.isfinite(state.to_numbers()).all()
    with pytest.raises(ValueError):  # noqa: PT011
        alarms.state(first[:-1], 2)
