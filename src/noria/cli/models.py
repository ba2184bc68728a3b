"""The estimator of a task, and the one in a model file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from noria.errors import ModelFileError

__all__ = ["load_model", "task_class"]

_TASKS = {
    "forecast": ("noria.tasks.forecast", "Forecaster"),
    "classify": ("noria.tasks.classify", "SequenceClassifier"),
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
    if name not in _TASKS:
        raise ModelFileError(f"{model} is for the task {name!r}, which this Noria does not know")
    return name, task_class(name).load(model)
