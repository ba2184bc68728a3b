"""The estimator of a task, the one in a model file, and which flags it has a use for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noria.errors import ModelFileError, UsageError

__all__ = ["ask", "load_model", "set_search", "task_class"]

_TASKS = {
    "forecast": ("noria.tasks.forecast", "Forecaster"),
    "classify": ("noria.tasks.classify", "SequenceClassifier"),
    "classify_text": ("noria.tasks.classify_text", "TextClassifier"),
    "regress": ("noria.tasks.regress", "SequenceRegressor"),
    "language": ("noria.tasks.language", "LanguageModel"),
    "translate": ("noria.tasks.translate", "Translator"),
    "tag": ("noria.tasks.tag", "SequenceTagger"),
    "detect": ("noria.tasks.detect", "AnomalyDetector"),
}


def task_class(name: str) -> Any:
    """The estimator class of a task, imported only now."""
    module, attribute = _TASKS[name]
    return getattr(importlib.import_module(module), attribute)


def load_model(model: Path) -> tuple[str, Any]:
    """The task of a model file and the estimator in it.

    Raises:
        ModelFileError: if it is missing, damaged, or of a task that is not known.
    """
    from noria.runtime import read_model

    name = read_model(model).task
    if name == "network":
        raise ModelFileError(f"{model} is a plain network: only noria stream and info take it")
    if name not in _TASKS:
        raise ModelFileError(f"{model} is for the task {name!r}, which this Noria does not know")
    return name, task_class(name).load(model)


def set_search(task: str, estimator: Any, **flags: Any) -> None:
    """Set how a translator searches, by the flags that were given.

    Args:
        task: The model's task, for the message.
        estimator: The model.
        **flags: None where a flag was left out.

    Raises:
        UsageError: naming a flag that the task has no use for.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for name in given:
        if not hasattr(estimator, name):
            raise UsageError(f"--{name.replace('_', '-')} is of no use to a model for {task}")
    estimator.set_params(**given)


def ask(task: str, method: Callable[..., Any], data: Path, **flags: Any) -> Any:
    """Call a method of an estimator with the flags that were given.

    Args:
        task: The model's task, for the message.
        method: Takes the data and, by their names, the flags that the task knows.
        data: The data.
        **flags: None where a flag was left out.

    Raises:
        UsageError: naming a flag that the task has no use for.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for name in given:
        if name not in inspect.signature(method).parameters:
            flag = "level" if name == "levels" else name.replace("_", "-")
            raise UsageError(f"--{flag} is of no use to a model for {task}")
    return method(data, **given)
