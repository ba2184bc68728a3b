"""What classifying and regressing whole series share: reading cases, folds, and the network."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import column_or_1d

from noria.errors import DataError, UsageError
from noria.features.cases import CaseColumns, is_ts, read_cases
from noria.features.labelled import LabelledSequences, SequenceScaler, from_arrays
from noria.modules.classify import ClassifyPlan
from noria.modules.convolution import front_kernel, front_strides
from noria.modules.pooling import POOLINGS
from noria.tasks.estimator import (
    check_at_least_one,
    check_at_least_zero,
    check_choice,
    check_shares,
    check_training,
    settings,
)
from noria.training.sequences import split_folds, split_groups

__all__ = [
    "about_cases",
    "case_columns",
    "check_network",
    "deal_folds",
    "fit_scaler",
    "network_plan",
    "read_sequences",
    "recipe_settings",
    "scale_sequences",
    "scaler_from_dict",
    "scaler_to_dict",
    "window_of",
]

_FOLDS = 5
_FEWEST_STEPS, _EPOCHS = 400, 15
_PATIENCE, _ENOUGH = 10, 100
"""Validations without a better one; and cases to be validated on, so that one can be trusted."""

_BATCHES, _BATCH_SIZES = 32, (16, 64)  # of an epoch; of a batch
_LONGEST_WINDOW = 256


def check_network(estimator: Any) -> None:
    """Refuse settings of the network and its training that cannot be meant.

    Raises:
        UsageError: naming the first.
    """
    check_at_least_one(
        estimator,
        *("hidden_size", "num_layers", "channels", "kernel_size", "members", "batch_size"),
        *("steps", "patience", "checkpoint_every"),
    )
    check_training(estimator)
    check_at_least_zero(estimator, "convolutions")
    if estimator.kernel_size is not None and estimator.kernel_size % 2 == 0:
        raise UsageError(f"kernel_size is {estimator.kernel_size}: it must be odd")
    check_choice("pooling", estimator.pooling, POOLINGS)
    check_shares(estimator, "augmentation")


def case_columns(X: Any, test: Any, **columns: Any) -> CaseColumns:
    """Which column of a table is what, where there is a table.

    Args:
        X: What is trained on; see the estimators' `fit`.
        test: What is compared on, or None.
        **columns: As `CaseColumns` takes them.

    Raises:
        UsageError: if a column is named though nothing given has columns, or is named twice.
    """
    named = CaseColumns(**columns)
    if not any(_is_table(part[0] if isinstance(part, tuple) else part) for part in (X, test)):
        for field in dataclasses.fields(CaseColumns):
            if getattr(named, field.name) != field.default:
                where = f"the file {X}" if isinstance(X, str | os.PathLike) else "an array"
                raise UsageError(f"{field.name} names a column, and {where} has none: leave it out")
    return named


def _is_table(source: Any) -> bool:
    if isinstance(source, str | os.PathLike):
        return not is_ts(source)
    return hasattr(source, "columns")


def read_sequences(
    X: Any, y: Any, columns: CaseColumns, groups: Any = None, *, labelled: bool
) -> LabelledSequences:
    """Cases in whatever form they are given; see the estimators' `fit`.

    Raises:
        DataError: if the data is not what it should be.
        UsageError: if labels are given twice or not at all.
    """
    if isinstance(X, str | os.PathLike) or hasattr(X, "columns"):
        if y is not None or groups is not None:
            raise UsageError("y is given, but a file or dataframe brings its own labels")
        return read_cases(X, columns, labelled=labelled)
    if labelled and y is None:
        raise UsageError(
            "this estimator requires y to be passed, but the target y is None: arrays bring no"
            " labels"
        )
    y = None if y is None else np.asarray(y)
    if y is not None and y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)  # as scikit-learn does
    return from_arrays(X, y, groups)


def fit_scaler(cases: LabelledSequences) -> SequenceScaler:
    """Measure the channels of the cases to train on.

    Raises:
        DataError: naming the first channel that has no value.
    """
    empty = np.all([np.isnan(sequence).all(axis=0) for sequence in cases.sequences], axis=0)
    if empty.any():
        raise DataError(
            f"{cases.name}, channel {cases.channels[int(np.argmax(empty))]!r}: has no value in any"
            " case; fill it in or leave it out"
        )
    return SequenceScaler.fit(cases.sequences)


def scale_sequences(
    cases: LabelledSequences, scaler: SequenceScaler, channels: int
) -> list[NDArray[np.float32]]:
    """Cases as the networks take them.

    Raises:
        DataError: if they have another number of channels than those of training, or values far
            beyond theirs.
    """
    if len(cases.channels) != channels:
        raise DataError(
            f"{cases.name}: has {len(cases.channels)} channels, the model was trained on {channels}"
        )
    scaled = []
    for case, sequence in zip(cases.ids, cases.sequences, strict=True):
        try:
            scaled.append(scaler.scale(sequence))
        except DataError as error:
            raise DataError(f"{cases.name}, case {case}, {error}") from None
    return scaled


def deal_folds(
    cases: LabelledSequences, strata: NDArray[np.int64], members: int, seed: int
) -> NDArray[np.int64]:
    """The fold that each case is dealt to, whole groups together, shape (N,).

    Args:
        cases: N.
        strata: What is dealt out evenly, such as the number of the class, shape (N,).
        members: Folds that are needed.
        seed: Of the order.

    Raises:
        DataError: if a member would have nothing to be validated on.
    """
    count = max(_FOLDS, members)
    if cases.groups is None:
        folds = split_folds(strata, count, seed)
    else:
        groups = len(np.unique(cases.groups))
        if groups < max(2, members):
            raise DataError(
                f"{cases.name}: {groups} groups are too few for {members} members, each of which"
                " leaves another one out"
            )
        folds = split_groups(strata, cases.groups, min(count, groups), seed)
    for fold in range(members):
        if not (folds == fold).any():
            raise DataError(
                f"{cases.name}: {'one sample is' if len(cases) == 1 else f'{len(cases)} cases are'}"
                f" too few for {count} folds: each needs one of a class that has two"
            )
    return folds


def window_of(cases: LabelledSequences) -> int:
    """Steps at which a feed-forward network sees the cases at once."""
    return int(min(np.median(cases.lengths), _LONGEST_WINDOW))


def network_plan(
    estimator: Any, cases: LabelledSequences, inputs: int, outputs: int
) -> ClassifyPlan:
    """The network of an estimator's settings.

    Args:
        estimator: Whose settings.
        cases: Those of training.
        inputs: Channels once scaled.
        outputs: Classes, or 1 for a number.
    """
    length = int(np.median(cases.lengths))
    return ClassifyPlan.build(
        inputs,
        outputs,
        estimator.cell,
        estimator.hidden_size,
        estimator.num_layers,
        estimator.feedback,
        bidirectional=estimator.bidirectional,
        strides=front_strides(estimator.convolutions, length),
        channels=estimator.channels,
        kernel_size=front_kernel(estimator.kernel_size, length),
        pooling=estimator.pooling,
    )


def recipe_settings(estimator: Any, folds: NDArray[np.int64]) -> dict[str, Any]:
    """The settings with the size of a batch, the number of steps and the patience of None.

    Args:
        estimator: Whose settings.
        folds: Fold of each case, −1 for none, shape (N,).
    """
    cases = len(folds)
    size = estimator.batch_size or int(np.clip(cases // _BATCHES, *_BATCH_SIZES))
    steps = estimator.steps or max(_FEWEST_STEPS, _EPOCHS * -(-cases // size))
    fewest = np.bincount(folds[folds >= 0])[: estimator.members].min()
    patience = estimator.patience or (_PATIENCE if fewest >= _ENOUGH else None)
    return settings(estimator) | {"batch_size": size, "steps": steps, "patience": patience}


def about_cases(cases: LabelledSequences, **more: Any) -> dict[str, Any]:
    """What a model file says of the cases that it was trained on."""
    return {
        "cases": len(cases),
        **more,
        "channels": len(cases.channels),
        "shortest": int(cases.lengths.min()),
        "longest": int(cases.lengths.max()),
        "data_sha256": cases.sha256(),
    }


def scaler_to_dict(scaler: SequenceScaler) -> dict[str, Any]:
    """As plain JSON values."""
    return {
        "mean": scaler.mean.tolist(),
        "deviation": scaler.deviation.tolist(),
        "gaps": scaler.gaps,
    }


def scaler_from_dict(document: dict[str, Any]) -> SequenceScaler:
    """Read what `scaler_to_dict` wrote."""
    mean, deviation = (np.array(document[name]) for name in ("mean", "deviation"))
    return SequenceScaler(mean, deviation, document["gaps"])
