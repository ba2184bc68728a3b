"""A search for settings: trials, each a training, the next chosen by what came of those before."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from noria.errors import MissingExtraError

__all__ = ["Space", "search"]

Space = Mapping[str, Sequence[Any] | tuple[float, float]]
"""Choices by name: a list of them, or a pair of the least and the most of a number."""


def search(
    space: Space,
    score: Callable[[Mapping[str, Any]], float],
    first: Mapping[str, Any],
    trials: int,
    seed: int,
) -> dict[str, Any]:
    """The settings of the lowest score.

    Args:
        space: What to choose from. A number whose least is above 0 is chosen by its logarithm.
        score: Of settings by name; lower is better.
        first: The settings to begin with.
        trials: How many more to try.
        seed: Of the choices.

    Raises:
        MissingExtraError: if optuna is not installed.

    Source: tree-structured Parzen estimator, Bergstra et al. 2011, as in optuna.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "a search for settings needs optuna: pip install 'noria[series]'"
        ) from error

    def choose(trial: optuna.Trial) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, choices in space.items():
            if isinstance(choices, tuple):
                least, most = choices
                found[name] = trial.suggest_float(name, least, most, log=least > 0)
            else:
                found[name] = trial.suggest_categorical(name, list(choices))
        return found

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            # a setting outside the space is tried all the same
            warnings.filterwarnings("ignore", "Fixed parameter", UserWarning)
            study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
            study.enqueue_trial(dict(first))
            study.optimize(lambda trial: score(choose(trial)), n_trials=trials + 1)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return dict(study.best_params)
