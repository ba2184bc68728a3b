"""`noria fit forecast`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from noria.cli.arguments import (
    Baselines,
    Flag,
    Json,
    Level,
    Names,
    Output,
    Season,
    check_output,
    integers,
    split_list,
)
from noria.cli.fitting import fit_and_save
from noria.cli.models import load_model, task_class
from noria.errors import ModelFileError, UsageError

__all__ = ["forecast"]

From = Annotated[Path | None, Parameter(name="--from")]


def forecast(
    data: Path,
    /,
    *,
    output: Output,
    horizon: int = 24,
    time: str = "ds",
    target: str = "y",
    id: str | None = None,  # noqa: A002
    past: Names = None,
    future: Names = None,
    static: Names = None,
    freq: str | None = None,
    level: Level = None,
    season: Season = None,
    cell: str = "lstm",
    hidden_size: int | None = None,
    num_layers: int = 1,
    feedback: str = "direct+lateral",
    context_length: int | None = None,
    segment_length: int | None = None,
    distribution: str = "quantiles",
    ensemble: int = 1,
    truncation_length: int = 256,
    dropout: float = 0.2,
    recurrent_dropout: float = 0.2,
    batch_size: int = 32,
    steps: int = 1500,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-2,
    patience: int = 8,
    validation_windows: int | None = None,
    test_windows: int | None = None,
    baselines: Baselines = None,
    search: int = 0,
    from_: From = None,
    seed: int = 0,
    checkpoint_every: int = 100,
    resume: Flag = False,
    log_dir: Path | None = None,
    json: Json = False,
) -> None:
    """Train a forecaster and compare it with its rivals on held-out windows.

    Parameters
    ----------
    data
        CSV or Parquet file, a row for each series and time step.
    output
        Where to write the model file.
    horizon
        Steps to forecast.
    time
        Column of timestamps or step numbers; or several that make one: year,month,day,hour.
    target
        Column to forecast.
    id
        Column that tells series apart; unique_id is taken if it is there.
    past
        Columns known up to now, separated by commas.
    future
        Columns known in advance, separated by commas.
    static
        Columns that are constant in a series, separated by commas.
    freq
        Step of the grid, such as 30m, 1h, 1d, 1mo; found in the data if left out.
    level
        Levels of the intervals in %, separated by commas; 80,95 if left out.
    season
        Season lengths in steps, separated by commas; those of the frequency if left out.
    cell
        lstm, gru, rnn_tanh, rnn_relu, peepholelstm, coupledlstm, mgu, leakyrnn or slstm.
    hidden_size
        Neurons of a layer; by the amount of data if left out.
    num_layers
        Layers.
    feedback
        none, direct, lateral, indirect, full, or a sum of them with +.
    context_length
        Steps of a training stretch, or of the window with segments; by the longest season if left
        out.
    segment_length
        Steps that the network takes at once, of a window of its own for every forecast; left out,
        it goes on step by step.
    distribution
        quantiles, student_t, or negative_binomial for counts.
    ensemble
        Networks whose forecasts are averaged.
    truncation_length
        Steps of back-propagation; a longer stretch is trained piece by piece.
    dropout
        Probability of dropping a neuron's output on its way up.
    recurrent_dropout
        Probability of dropping it on its way back.
    batch_size
        Stretches in a batch.
    steps
        Training steps at the most.
    learning_rate
        Top of the learning rate's schedule.
    weight_decay
        Of AdamW.
    patience
        Validations without a better one before training stops.
    validation_windows
        Horizons kept for validation; a tenth of the data if left out.
    test_windows
        Horizons kept for the comparison; a tenth of the data if left out, 0 for none.
    baselines
        What to compare with, separated by commas: fnn, seasonal_naive, auto_ets, auto_arima; all
        but the last if left out.
    search
        Other settings to try, each a training; those that validate best are taken.
    from_
        A model to train on from; columns, sizes and seasons stay as they are there.
    seed
        Of everything random.
    checkpoint_every
        Steps between two checkpoints.
    resume
        Go on with a training that was interrupted or killed.
    log_dir
        Folder for TensorBoard's event files.
    json
        Print one JSON object instead of a table.
    """
    check_output(output, data)
    given = {
        "horizon": horizon,
        "cell": cell,
        "hidden_size": hidden_size,
        "num_layers": num_layers,
        "feedback": feedback,
        "levels": (80, 95) if level is None else integers("level", level),
        "seasons": None if season is None else integers("season", season),
        "context_length": context_length,
        "segment_length": segment_length,
        "distribution": distribution,
        "ensemble": ensemble,
        "truncation_length": truncation_length,
        "dropout": dropout,
        "recurrent_dropout": recurrent_dropout,
        "batch_size": batch_size,
        "steps": steps,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "patience": patience,
        "validation_windows": validation_windows,
        "test_windows": test_windows,
        **({} if baselines is None else {"baselines": split_list(baselines)}),
        "search": search,
        "checkpoint_every": checkpoint_every,
        "seed": seed,
    }
    columns = {
        "time": time,
        "target": target,
        "id": id,
        "past": split_list(past),
        "future": split_list(future),
        "static": split_list(static),
        "freq": freq,
    }
    old = None if from_ is None else _to_go_on(from_, given, columns)
    fit_and_save(
        old or task_class("forecast")(**given),
        data,
        output,
        old is not None,
        resume=resume,
        json=json,
        log_dir=log_dir,
        **({} if old else columns),
    )


_OF_A_TRAINING = (
    *("truncation_length", "dropout", "recurrent_dropout", "batch_size", "steps", "learning_rate"),
    *("weight_decay", "patience", "validation_windows", "test_windows", "baselines", "seed"),
    "checkpoint_every",
)
"""Settings that may be others when a model is trained on."""


def _to_go_on(model: Path, given: Mapping[str, Any], columns: Mapping[str, Any]) -> Any:
    """The forecaster in a model file, with the settings that were given for its new training."""
    flags = inspect.signature(forecast).parameters
    usual = {"levels": (80, 95), "seasons": None, "baselines": None}
    changed = {
        name: value
        for name, value in {**given, **columns}.items()
        if value != usual.get(name, flags[name].default if name in flags else None) and value != []
    }
    for name in changed:
        if name not in _OF_A_TRAINING:
            flag = {"levels": "level", "seasons": "season"}.get(name, name.replace("_", "-"))
            raise UsageError(f"--{flag}: with --from it stays as in {model}; leave it out")
    task, forecaster = load_model(model)
    if task != "forecast":
        raise ModelFileError(f"{model} is a model for {task}, not for forecast")
    for name in changed:
        forecaster.chosen_.pop(name, None)
    return forecaster.set_params(**changed)
