from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noria.features.season import find_season

PASSENGERS = """
112 118 132 129 121 135 148 148 136 119 104 118 115 126 141 135 125 149 170 170 158 133 114 140
145 150 178 163 172 178 199 199 184 162 146 166 171 180 193 181 183 218 230 242 209 191 172 194
"""
"""Of airlines, thousands a month, 1949 to 1952: Box & Jenkins 1976, series G."""


def wave(length: int, season: float, noise: float, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return 3 * np.sin(np.arange(length) * 2 * np.pi / season) + noise * random.normal(size=length)


@pytest.mark.parametrize("season", [2, 3, 7, 12, 24, 100])
def test_a_season_is_found_through_noise_trend_and_gaps(season: int) -> None:
    y = np.tile(np.random.default_rng(season).normal(size=season), 12)
    assert find_season([y]) == season
    y += 0.2 * np.random.default_rng(1).normal(size=len(y)) + 0.05 * np.arange(len(y))
    y[5:9] = np.nan
    y[len(y) // 2] = np.nan
    assert find_season([y]) == season


def test_passengers_have_a_year() -> None:
    assert find_season([np.array(PASSENGERS.split(), float)]) == 12


def test_series_are_looked_at_together() -> None:
    series = [wave(100, 12, 1.8, seed) for seed in range(30)]
    assert find_season(series) == 12
    assert find_season([*series, np.full(80, 3.0), np.full(80, np.nan), np.zeros(1)]) == 12


def test_the_shorter_of_two_seasons_is_taken() -> None:
    assert find_season([wave(1_000, 24, 0.3) + 0.5 * wave(1_000, 168, 0.3)]) == 24


@pytest.mark.parametrize("length", [60, 300, 1_000])
def test_noise_walks_and_lines_have_no_season(length: int) -> None:
    random = np.random.default_rng(length)
    noise = random.normal(size=(100, length))
    found = [find_season([y]) for y in (*noise, *noise.cumsum(axis=1))]
    assert found.count(None) >= 196
    assert find_season(list(noise.cumsum(axis=1))) is None
    for line in (np.arange(length) * 0.1, np.arange(length) ** 2.0, np.full(length, 2.0)):
        assert find_season([line]) is None


@given(st.lists(st.floats(-1e3, 1e3) | st.just(float("nan")), max_size=40))
def test_a_season_has_room_thrice(values: list[float]) -> None:
    found = find_season([np.array(values)])
    assert found is None or 2 <= found <= len(values) / 3
