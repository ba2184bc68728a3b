"""What the estimators of all tasks do alike: check arguments, write and read their model files."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import sklearn.exceptions
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from noria.errors import ModelFileError, UsageError
from noria.runtime import ModelFile, plain_value, read_model, write_model

__all__ = [
    "NotFittedError",
    "Part",
    "check_at_least_one",
    "check_at_least_zero",
    "check_baselines",
    "check_choice",
    "check_class_weight",
    "check_fitted",
    "check_number",
    "check_shares",
    "check_training",
    "reading",
    "settings",
    "write_parts",
]


class NotFittedError(UsageError, sklearn.exceptions.NotFittedError):  # type: ignore[misc]
    """An estimator that is asked before `fit`; scikit-learn's error of this name, too."""


class Part(Protocol):
    """A trained part of a model: the network, or its feed-forward rival."""

    def document(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""

    def weights(self) -> dict[str, NDArray[Any]]:
        """Weights by name."""


def settings(estimator: BaseEstimator) -> dict[str, Any]:
    """The arguments of an estimator as plain JSON values."""
    return {name: plain_value(value) for name, value in estimator.get_params(deep=False).items()}


def check_fitted(estimator: BaseEstimator) -> None:
    """Refuse an estimator without a trained network.

    Raises:
        NotFittedError: if it is not fitted.
    """
    if not hasattr(estimator, "network_"):
        raise NotFittedError(f"this {type(estimator).__name__} is not fitted yet: call fit first")


def check_number(name: str, value: Any, *, whole: bool = False) -> None:
    """Refuse what is no number, such as the text of one.

    Raises:
        UsageError: naming it.
    """
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind):
        wanted = "whole number" if whole else "number"
        raise UsageError(f"{name} is {value!r}: it must be a {wanted}")


def check_at_least_one(estimator: BaseEstimator, *names: str) -> None:
    """Refuse arguments that are no whole numbers from 1 on; None is the caller's to allow.

    Raises:
        UsageError: naming the first.
    """
    for name in names:
        value = getattr(estimator, name)
        if value is None:
            continue
        check_number(name, value, whole=True)
        if value < 1:
            raise UsageError(f"{name} is {value}: it must be at least 1")


def check_at_least_zero(estimator: BaseEstimator, *names: str) -> None:
    """Refuse arguments that are no whole numbers from 0 on; None is the caller's to allow.

    Raises:
        UsageError: naming the first.
    """
    for name in names:
        value = getattr(estimator, name)
        if value is None:
            continue
        check_number(name, value, whole=True)
        if value < 0:
            raise UsageError(f"{name} is {value}: it must be 0 or more")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Refuse what is none of a few choices.

    Raises:
        UsageError: naming it and them.
    """
    if value not in choices:
        raise UsageError(f"{name} is {value!r}, expected one of {', '.join(choices)}")


def check_class_weight(class_weight: str | None) -> None:
    """Refuse a weighing of classes that there is not.

    Raises:
        UsageError: naming it.
    """
    if class_weight not in (None, "balanced"):
        raise UsageError(f"class_weight is {class_weight!r}: it is 'balanced' or None")


def check_shares(estimator: BaseEstimator, *names: str) -> None:
    """Refuse shares and probabilities outside [0, 1).

    Raises:
        UsageError: naming the first.
    """
    for name in names:
        value = getattr(estimator, name)
        check_number(name, value)
        if not 0 <= value < 1:
            raise UsageError(f"{name} is {value}: from 0 up to, not including, 1")


def check_training(estimator: BaseEstimator) -> None:
    """Refuse a learning rate, a weight decay or a seed that cannot be meant.

    Raises:
        UsageError: naming it.
    """
    for name in ("learning_rate", "weight_decay"):
        check_number(name, getattr(estimator, name))
    check_number("seed", estimator.seed, whole=True)
    if not estimator.weight_decay >= 0:
        raise UsageError(f"weight_decay is {estimator.weight_decay}: it must be 0 or more")
    if not 0 <= estimator.seed < 2**63:
        raise UsageError(f"seed is {estimator.seed}: it must be at least 0 and below 2**63")


def check_baselines(chosen: Collection[str], known: Collection[str]) -> None:
    """Refuse baselines that do not exist.

    Raises:
        UsageError: naming the first.
    """
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise UsageError(f"baseline {unknown[0]!r} is none of {', '.join(known)}")


def write_parts(
    path: Path | str,
    document: Mapping[str, Any],
    parts: Mapping[str, Part | None],
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write a model file of trained parts.

    Args:
        path: The file to make or replace.
        document: All but the parts.
        parts: Trained parts by name; None for one that there is not.
        arrays: Further arrays by name.

    Raises:
        ResourceError: if the disk does not take it.
    """
    trained = {name: part for name, part in parts.items() if part is not None}
    weights = {
        f"{name}.{key}": value
        for name, part in trained.items()
        for key, value in part.weights().items()
    }
    described = {name: part.document() for name, part in trained.items()}
    write_model(Path(path), {**document, "parts": described}, weights | dict(arrays or {}))


@contextlib.contextmanager
def reading(path: Path | str, task: str) -> Iterator[ModelFile]:
    """A model file, while an estimator is made of it: what does not fit together is damage.

    Args:
        path: The model file.
        task: The task that it must be for.

    Raises:
        ModelFileError: if it is missing, damaged, or of another task.
    """
    file = read_model(path)
    if file.task != task:
        raise ModelFileError(f"{path} is a model for {file.task}, not for {task}")
    try:
        yield file
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path} is damaged: {error}") from error
