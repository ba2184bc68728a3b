"""A forecaster's settings: what cannot be meant, what the data says, what a search finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from noria.cells import make_cell
from noria.errors import DataError, UsageError
from noria.features.panel import Panel
from noria.features.running import Window
from noria.features.series import SeriesTable
from noria.runtime.distribution import DISTRIBUTIONS
from noria.tasks.estimator import (
    check_at_least_one,
    check_at_least_zero,
    check_baselines,
    check_number,
    check_training,
)
from noria.training.forecasting import Recipe, train_forecaster
from noria.training.loop import TrainingConfig
from noria.training.rivals import BASELINES, MORE_BASELINES
from noria.training.search import Space, search
from noria.training.split import Split
from noria.training.trained import TrainingRun
from noria.wiring import Wiring

__all__ = [
    "OF_A_TRAINING",
    "check_settings",
    "recipe_of",
    "require_counts",
    "search_settings",
    "sizes",
    "wiring_of",
]

OF_A_TRAINING = (
    *("truncation_length", "dropout", "recurrent_dropout", "batch_size", "steps", "learning_rate"),
    *("weight_decay", "patience", "validation_windows", "test_windows", "baselines", "seed"),
    "checkpoint_every",
)
"""Settings that may be others when a model is trained on."""

_FORKS = 16
"""Forecasts made from each piece of a training stretch."""

_FEW_STEPS = 2_000
"""Below so many steps to train on, a smaller network."""

_LONGEST_CONTEXT = 1024


def check_settings(forecaster: BaseEstimator) -> None:
    """Refuse arguments that cannot be meant.

    Raises:
        UsageError: naming the first.
    """
    check_at_least_one(
        forecaster,
        *("horizon", "hidden_size", "num_layers", "batch_size", "steps", "truncation_length"),
        *("patience", "checkpoint_every", "context_length", "validation_windows"),
        *("segment_length", "ensemble"),
    )
    check_training(forecaster)
    check_at_least_zero(forecaster, "test_windows", "search")
    for name in ("dropout", "recurrent_dropout"):
        check_number(name, getattr(forecaster, name))
    for name in ("levels", "seasons"):
        several = getattr(forecaster, name)
        if several is not None and (isinstance(several, str) or not isinstance(several, Iterable)):
            raise UsageError(f"{name} is {several!r}: give several, as in [{several}]")
    for level in forecaster.levels:
        check_number("a level", level)
        if not (0 < level < 100 and level == int(level)):
            raise UsageError(f"level {level}: levels are whole percentages from 1 to 99")
    for season in () if forecaster.seasons is None else forecaster.seasons:
        check_number("a season", season, whole=True)
        if season < 2:
            raise UsageError(f"season {season}: a season has at least 2 steps")
    if forecaster.distribution not in DISTRIBUTIONS:
        raise UsageError(
            f"distribution {forecaster.distribution!r} is none of {', '.join(DISTRIBUTIONS)}"
        )
    segment, context = forecaster.segment_length, forecaster.context_length
    if segment is not None and context is not None and context % segment:
        raise UsageError(
            f"context_length is {context}: with segments of {segment} steps it must be a multiple"
            " of that"
        )
    check_baselines(forecaster.baselines, (*BASELINES, *MORE_BASELINES))


def require_counts(table: SeriesTable) -> None:
    """Check that every target is a count.

    Raises:
        DataError: naming the first series of which one is not.
    """
    for series in table.series:
        y = series.y[np.isfinite(series.y)]
        wrong = y[(y < 0) | (y != np.rint(y))]
        if wrong.size:
            raise DataError(
                f"series {series.id!r}: {table.columns.target} has the value {wrong[0]:g};"
                " negative_binomial is for counts, whole numbers from 0 on"
            )


def sizes(given: Mapping[str, Any], panel: Panel, split: Split) -> dict[str, int]:
    """Neurons and context by the data, where they were left to it.

    Args:
        given: Settings by name.
        panel: The series.
        split: Which steps are for training.
    """
    segment = given["segment_length"]
    size = given["hidden_size"]
    if size is None:
        size = 32 if split.train_ends.sum() < _FEW_STEPS else 64
        size = size if segment is None else 2 * size
    longest, end = max(panel.seasons, default=32), int(split.train_ends.max())
    repeats, least = (2, 64) if segment is None else (4, 4 * segment)
    context = given["context_length"] or min(max(repeats * longest, least), _LONGEST_CONTEXT)
    context = int(min(context, end))
    if segment is not None:
        context = max(context // segment, 1) * segment
    return {"hidden_size": size, "context_length": context}


def recipe_of(given: Mapping[str, Any], levels: tuple[int, ...]) -> Recipe:
    """How to train with settings whose sizes are known."""
    loop = ("steps", "learning_rate", "weight_decay", "patience", "checkpoint_every", "seed")
    kept = ("truncation_length", "batch_size", "dropout", "recurrent_dropout", "distribution")
    segment, context = given["segment_length"], given["context_length"]
    return Recipe(
        levels=levels,
        context_length=context,
        forks=_FORKS,
        **{name: given[name] for name in kept},
        members=given["ensemble"],
        window=None if segment is None else Window(context, segment),
        direct=segment is not None,
        training=TrainingConfig(
            **{name: given[name] for name in loop},
            validate_every=max(1, min(100, given["steps"] // 10)),
        ),
    )


def wiring_of(given: Mapping[str, Any], panel: Panel) -> Wiring:
    """The network of settings whose sizes are known."""
    cells = [make_cell(given["cell"], given["hidden_size"])] * given["num_layers"]
    return Wiring.build(panel.input_size + (given["segment_length"] or 0), cells, given["feedback"])


def search_settings(
    given: Mapping[str, Any],
    levels: tuple[int, ...],
    panel: Panel,
    split: Split,
    run: TrainingRun,
) -> dict[str, Any]:
    """Try settings, a training each, and give those that validate best.

    The first trial is of the settings as they are. Only the training and the validation part of
    the data are looked at.

    Args:
        given: Settings by name, `search` of them the number of trials beyond the first.
        levels: Levels of the intervals in %.
        panel: The series.
        split: What is for training and what for validation.
        run: Its logs and checkpoints are not used.
    """
    segments = {None, given["segment_length"], min(panel.seasons, default=None)}
    space: Space = {
        "cell": sorted({"lstm", "gru", given["cell"]}),
        "num_layers": sorted({1, 2, given["num_layers"]}),
        "segment_length": sorted(segments, key=lambda length: length or 0),
        "dropout": (0.0, 0.5),
        "recurrent_dropout": (0.0, 0.5),
        "learning_rate": (given["learning_rate"] / 4, given["learning_rate"] * 4),
    }
    shares: Space = {"hidden_share": [0.5, 1.0, 2.0], "context_share": [0.5, 1.0, 2.0]}
    first = {name: given[name] for name in space} | dict.fromkeys(shares, 1.0)

    def settings_of(trial: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: trial[name] for name in space}
        plain = {**given, **found}
        if found["segment_length"] != given["segment_length"]:
            plain["context_length"] = None
        usual = sizes(plain, panel, split)
        for name, share in (("hidden_size", "hidden_share"), ("context_length", "context_share")):
            plain[name] = max(1, round(usual[name] * trial[share]))
        return found | sizes(plain, panel, split)

    def score(trial: Mapping[str, Any]) -> float:
        tried = {**given, **settings_of(trial), "ensemble": 1}
        part = train_forecaster(
            wiring_of(tried, panel),
            panel,
            split,
            recipe_of(tried, levels),
            TrainingRun(run.trained_on, progress=run.progress),
            title="trial",
        )
        return min(part.history.validation)

    found = search({**space, **shares}, score, first, given["search"], given["seed"])
    return settings_of(found)
