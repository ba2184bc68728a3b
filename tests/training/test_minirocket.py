from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noria import SequenceClassifier
from noria.training import class_baselines
from noria.training.class_baselines import PlainBaselines
from noria.training.minirocket import MINIROCKET_MISSING, has_minirocket
from tests.tasks.bumps import bumps, small

installed = pytest.mark.skipif(not has_minirocket(), reason="sktime and numba are not installed")


@installed
def test_it_tells_slow_waves_from_fast_ones() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(30) % 2
    sequences = []
    for label in labels:
        steps = np.arange(random.integers(30, 40))
        wave = np.sin(steps * (0.4 if label else 1.1) + random.uniform(0, 6))
        x = np.stack([wave, random.standard_normal(len(steps))], axis=1)
        sequences.append(x.astype(np.float32))
    plain = PlainBaselines.fit(["minirocket"], sequences[:20], labels[:20], 35, 2)
    assert plain.names == ["minirocket"]
    assert plain.notes == []
    found = plain.probabilities("minirocket", sequences[20:])
    assert found.tolist() == np.eye(2)[labels[20:]].tolist()


@installed
def test_series_shorter_than_a_kernel_are_stretched() -> None:
    sequences = [np.float32([[n % 2], [0], [n % 2]]) for n in range(8)]
    labels = np.arange(8) % 2
    plain = PlainBaselines.fit(["minirocket"], sequences, labels, 3, 2)
    assert plain.probabilities("minirocket", sequences).shape == (8, 2)


@installed
def test_it_stands_in_the_table() -> None:
    X, y = bumps(24)
    comparison = small(members=5, baselines=["minirocket"]).fit(X, y).comparison_
    assert [score.model for score in comparison.scores] == ["network", "minirocket"]
    assert np.isnan(comparison.scores[1].log_loss)


def test_where_it_is_not_installed_it_is_left_out_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_baselines, "has_minirocket", lambda: False)
    X, y = bumps(20)
    settings: dict[str, Any] = {"baselines": ["minirocket", "logistic_regression"]}
    classifier = small(**settings).fit(X, y, test=(X, y))
    for comparison in (classifier.comparison_, classifier.evaluate(X, y)):
        assert [score.model for score in comparison.scores] == ["network", "logistic_regression"]
        assert comparison.notes == (MINIROCKET_MISSING,)
    assert small(**settings).fit(X, y).comparison_.notes[1:] == (MINIROCKET_MISSING,)
    assert small(baselines=["logistic_regression"]).fit(X, y, test=(X, y)).comparison_.notes == ()
    classifier.save(tmp_path / "m.noria")
    monkeypatch.setattr(class_baselines, "has_minirocket", lambda: True)
    assert SequenceClassifier.load(tmp_path / "m.noria").plain_.names == [
        "logistic_regression", "minirocket",
    ]  # fmt: skip
