from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noria.training.nab import NabFile, best_threshold, nab_score, probation

ROWS = 100
WINDOW = (40, 49)  # ten rows, the anomaly in their middle


def sigmoid(y: float) -> float:
    """Equation 1 of the paper with A_TP = 1 and A_FP = -1."""
    return 2 / (1 + math.exp(5 * y)) - 1


def one(*rows: int, length: int = ROWS) -> NDArray[np.bool_]:
    alarms = np.zeros(length, dtype=bool)
    alarms[list(rows)] = True
    return alarms


def scored(*rows: int) -> float:
    return nab_score([NabFile.from_windows(ROWS, [WINDOW])], [one(*rows)])


def of_sum(total: float, windows: int = 1) -> float:
    """Equation 4: 0 for the null detector, 100 for the perfect one."""
    return 100 * (total + windows) / (2 * windows)


def test_the_ends_of_the_scale() -> None:
    assert scored() == 0
    assert scored(40) == pytest.approx(100)
    files = [NabFile.from_windows(ROWS, [(10, 19), WINDOW])] * 2
    assert nab_score(files, [one(10, 40)] * 2) == pytest.approx(100)
    assert nab_score(files, [one(10, 40), one()]) == pytest.approx(50)


@pytest.mark.parametrize(("row", "position"), [(40, -1.0), (45, -0.5), (48, -0.2), (49, -0.1)])
def test_a_hit_is_worth_more_the_earlier_it_comes(row: int, position: float) -> None:
    assert scored(row) == pytest.approx(of_sum(sigmoid(position) / sigmoid(-1)))


@pytest.mark.parametrize(
    ("row", "cost"),
    [
        (0, 0.11),  # before any window
        (39, 0.11),
        (50, -0.11 * sigmoid(1 / 9)),  # the nearer behind a window, the cheaper
        (58, -0.11 * sigmoid(1.0)),
        (76, -0.11 * sigmoid(3.0)),
        (77, 0.11),  # more than three windows behind
        (99, 0.11),
    ],
)
def test_a_false_alarm_costs(row: int, cost: float) -> None:
    assert scored(40, row) == pytest.approx(of_sum(1 - cost))
    assert scored(row) == pytest.approx(of_sum(-1 - cost))


def test_only_the_first_alarm_of_a_window_counts_but_every_false_one() -> None:
    assert scored(45, 46, 49) == scored(45)
    assert scored(1, 2, 3, 4, 40) == pytest.approx(of_sum(1 - 4 * 0.11))


def test_a_false_alarm_is_held_against_the_window_before_it() -> None:
    file = NabFile.from_windows(ROWS, [(10, 19), (40, 49)])
    assert file.value(one(10, 21, 40)) == pytest.approx(2 + 0.11 * sigmoid(2 / 9))


def test_rows_of_the_probation_do_not_count() -> None:
    file = NabFile.from_windows(ROWS, [WINDOW], first=45)
    assert file.value(one(0, 30, 42)) == -1
    assert file.value(one(0, 42, 45)) == pytest.approx(sigmoid(-0.5) / sigmoid(-1))
    assert (probation(100), probation(10_000)) == (15, 750)


def test_files_without_a_window_cost_their_false_alarms() -> None:
    files = [NabFile.from_windows(ROWS, [WINDOW]), NabFile.from_windows(ROWS, [])]
    assert nab_score(files, [one(40), one(1, 99)]) == pytest.approx(of_sum(1 - 0.22))
    assert math.isnan(nab_score(files[1:], [one(1)]))


def test_a_window_of_one_row() -> None:
    file = NabFile.from_windows(10, [(4, 4)])
    assert file.value(one(4, length=10)) == pytest.approx(1)
    assert np.isfinite(file.worth).all()


@given(
    st.lists(st.lists(st.integers(0, 6), min_size=40, max_size=40), min_size=2, max_size=2),
    st.integers(0, 12),
)
def test_the_best_threshold_is_the_best_of_all(levels: list[list[int]], first: int) -> None:
    files = [
        NabFile.from_windows(40, [(8, 12), (20, 29)], first),
        NabFile.from_windows(40, [], first),
    ]
    scores = [np.array(part, dtype=float) for part in levels]
    threshold, found = best_threshold(files, scores)
    every = [nab_score(files, [part >= level for part in scores]) for level in [*range(7), 99]]
    assert found == pytest.approx(max(every))
    assert nab_score(files, [part >= threshold for part in scores]) == pytest.approx(found)
