from __future__ import annotations

import numpy as np
import pytest

from noria.errors import UsageError
from noria.features.calendar import calendar_features


def values_of(timestamp: str, freq: str) -> dict[str, float]:
    names, values = calendar_features(np.array([timestamp], "datetime64[us]"), freq)
    assert values.dtype == np.float32
    assert values.shape == (1, len(names))
    return dict(zip(names, values[0].tolist(), strict=True))


@pytest.mark.parametrize(
    ("freq", "cycles"),
    [
        ("1m", ["minute_of_hour", "hour_of_day", "day_of_week", "day_of_year"]),
        ("1h", ["hour_of_day", "day_of_week", "day_of_year"]),
        ("1d", ["day_of_week", "day_of_month", "day_of_year"]),
        ("1w", ["week_of_year"]),
        ("1mo", ["month_of_year"]),
        ("1q", ["month_of_year"]),
        ("1y", []),
        ("52w", []),
    ],
)
def test_the_frequency_alone_decides_the_cycles(freq: str, cycles: list[str]) -> None:
    expected = [f"{cycle}_{part}" for cycle in cycles for part in ("sin", "cos")]
    assert list(values_of("2024-05-06", freq)) == expected
    empty = np.empty(0, "datetime64[us]")
    assert calendar_features(empty, freq)[1].shape == (0, len(expected))


def test_values() -> None:
    # A Wednesday, 2 days of 7 after Monday; the 92nd day of 365.
    found = values_of("2025-04-02T15:15", "15m")
    expected = {
        "minute_of_hour": 0.25,
        "hour_of_day": 15.25 / 24,
        "day_of_week": 2 / 7,
        "day_of_year": 91 / 365,
    }
    for cycle, phase in expected.items():
        assert found[f"{cycle}_sin"] == pytest.approx(np.sin(2 * np.pi * phase), abs=1e-6)
        assert found[f"{cycle}_cos"] == pytest.approx(np.cos(2 * np.pi * phase), abs=1e-6)
    # Half of February 2024, and October, three quarters of the year.
    assert values_of("2024-02-15T12", "1d")["day_of_month_cos"] == pytest.approx(
        np.cos(2 * np.pi * 14 / 29), abs=1e-6
    )
    assert values_of("2024-10-01", "1mo")["month_of_year_sin"] == pytest.approx(-1)


def test_before_1970() -> None:
    # 1969-12-29 was a Monday.
    found = values_of("1969-12-29T18", "1h")
    assert found["day_of_week_cos"] == pytest.approx(1)
    assert found["hour_of_day_sin"] == pytest.approx(-1)


def test_integer_time_has_no_calendar() -> None:
    names, values = calendar_features(np.arange(4), "1")
    assert names == ()
    assert values.shape == (4, 0)


def test_timestamps_that_do_not_go_with_the_frequency() -> None:
    with pytest.raises(UsageError, match="timestamps of type int64 do not go with freq='1h'"):
        calendar_features(np.arange(4), "1h")
    with pytest.raises(UsageError, match="do not go with freq='1'"):
        calendar_features(np.array(["2024-01-01"], "datetime64[us]"), "1")
