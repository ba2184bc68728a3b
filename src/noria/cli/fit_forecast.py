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
    horizon: int | None = None,
    time: str | None = None,
    target: str | None = None,
    id: str | None = None,  # noqa: A002
    past: Names = None,
    future: Names = None,
    static: Names = None,
    freq: str | None = None,
    level: Level = None,
    season: Season = None,
    cell: str | None = None,
    hidden_size: int | None = None,
    num_layers: int | None = None,
    feedback: str | None = None,
    context_length: int | None = None,
    segment_length: int | None = None,
    distribution: str | None = None,
    ensemble: int | None = None,
    truncation_length: int | None = None,
    dropout: float | None = None,
    recurrent_dropout: float | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    patience: int | None = None,
    validation_windows: int | None = None,
    test_windows: int | None = None,
    baselines: Baselines = None,
    search: int | None = None,
    from_: From = None,
    seed: int | None = None,
    checkpoint_every: int | None = None,
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
        Steps to forecast; 24.
    time
        Column of timestamps or step numbers, or several that make one (year,month,day,hour); ds.
    target
        Column to forecast; y.
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
        Season lengths in steps, separated by commas; those of the frequency if left out, or for
        step numbers one found in the data.
    cell
        lstm, gru, rnn_tanh, rnn_relu, peepholelstm, coupledlstm, mgu, leakyrnn or slstm; lstm.
    hidden_size
        Neurons of a layer; by the amount of data if left out.
    num_layers
        Layers; 1.
    feedback
        none, direct, lateral, indirect, full, or a sum of them with +; direct+lateral.
    context_length
        Steps of a training stretch, or of the window with segments; by the longest season if left
        out.
    segment_length
        Steps that the network takes at once, of a window of its own for every forecast; left out,
        it goes on step by step.
    distribution
        quantiles, student_t, or negative_binomial for counts; quantiles.
    ensemble
        Networks whose forecasts are averaged; 1.
    truncation_length
        Steps of back-propagation, in pieces of which a longer stretch is trained; 256.
    dropout
        Probability of dropping a neuron's output on its way up; 0.2.
    recurrent_dropout
        Probability of dropping it on its way back; 0.2.
    batch_size
        Stretches in a batch; 32.
    steps
        Training steps at the most; 1500.
    learning_rate
        Top of the learning rate's schedule; 0.002.
    weight_decay
        Of AdamW; 0.01.
    patience
        Validations without a better one before training stops; 8.
    validation_windows
        Horizons kept for validation; a tenth of the data if left out.
    test_windows
        Horizons kept for the comparison; a tenth of the data if left out, 0 for none.
    baselines
        What to compare with, separated by commas: fnn, seasonal_naive, auto_ets, auto_arima; all
        but the last if left out.
    search
        Other settings to try, each a training; those that validate best are taken. A search that
        was interrupted starts anew, also with --resume; 0.
    from_
        A model to train on from; columns, sizes and seasons stay as they are there.
    seed
        Of everything random; 0.
    checkpoint_every
        Steps between two checkpoints; 100.
    resume
        Go on with a training that was interrupted or killed.
    log_dir
        Folder for TensorBoard's event files.
    json
        Print one JSON object instead of a table.
    """
    given: dict[str, Any] = {name: flag for name, flag in locals().items() if flag is not None}
    for name in ("data", "output", "from_", "resume", "log_dir", "json"):
        given.pop(name, None)
    check_output(output, data)
    for name in ("past", "future", "static", "baselines"):
        if name in given:
            given[name] = split_list(given[name])
    for flag, name in _RENAMED.items():
        if flag in given:
            given[name] = integers(flag, given.pop(flag))
    columns = {}
    if from_ is None:
        names = inspect.signature(task_class("forecast").fit).parameters
        columns = {name: given.pop(name) for name in list(given) if name in names}
        forecaster = task_class("forecast")(**given)
    else:
        forecaster = _to_go_on(from_, given)
    fit_and_save(
        forecaster,
        data,
        output,
        from_ is not None,
        resume=resume,
        json=json,
        log_dir=log_dir,
        **columns,
    )


_RENAMED = {"level": "levels", "season": "seasons"}
"""Flags that take one or more, and the settings' names."""


def _to_go_on(model: Path, given: Mapping[str, Any]) -> Any:
    """The forecaster in a model file, with the settings that were given for its new training."""
    from noria.tasks.forecast_settings import OF_A_TRAINING

    for name in given:
        if name not in OF_A_TRAINING:
            flag = {new: old for old, new in _RENAMED.items()}.get(name, name.replace("_", "-"))
            raise UsageError(f"--{flag}: with --from it stays as in {model}; leave it out")
    task, forecaster = load_model(model)
    if task != "forecast":
        raise ModelFileError(f"{model} is a model for {task}, not for forecast")
    for name in given:
        forecaster.chosen_.pop(name, None)
    return forecaster.set_params(**given)
