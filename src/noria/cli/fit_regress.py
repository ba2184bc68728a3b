"""`noria fit regress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from noria.cli.arguments import Baselines, Flag, Json, Names, Output, check_output, split_list
from noria.cli.fitting import fit_and_save
from noria.cli.models import task_class

__all__ = ["regress"]


def regress(
    data: Path,
    /,
    *,
    output: Output,
    test: Path | None = None,
    label: str = "label",
    group: str | None = None,
    id: str = "unique_id",  # noqa: A002
    time: str = "ds",
    value: Names = None,
    cell: str = "lstm",
    hidden_size: int = 64,
    num_layers: int = 1,
    feedback: str = "direct+lateral",
    bidirectional: Annotated[bool, Parameter(negative="--one-way")] = True,
    convolutions: int | None = None,
    channels: int = 64,
    kernel_size: int | None = None,
    pooling: str = "mean_max",
    dropout: float = 0.3,
    recurrent_dropout: float = 0.0,
    augmentation: float = 0.1,
    members: int = 5,
    batch_size: int | None = None,
    steps: int | None = None,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-2,
    patience: int | None = None,
    baselines: Baselines = None,
    seed: int = 0,
    checkpoint_every: int = 200,
    resume: Flag = False,
    log_dir: Path | None = None,
    json: Json = False,
) -> None:
    """Train a regressor of whole series, a number each, and compare it with its rivals.

    Parameters
    ----------
    data
        A .ts file, or a CSV or Parquet file with a row for each case and time step.
    output
        Where to write the model file.
    test
        A file of cases to compare on; by cross-validation if left out.
    label
        Column of the number, constant in a case. A .ts file has no columns.
    group
        Column of whom or what a case comes from, constant in a case; cases of one group are never
        on both sides of a validation.
    id
        Column that tells cases apart.
    time
        Column of timestamps or step numbers.
    value
        Columns of the channels, separated by commas; the column value if left out.
    cell
        lstm, gru, rnn_tanh, rnn_relu, peepholelstm, coupledlstm, mgu, leakyrnn or slstm.
    hidden_size
        Neurons of a layer, in each direction.
    num_layers
        Layers.
    feedback
        none, direct, lateral, indirect, full, or a sum of them with +.
    bidirectional
        Run in both directions of time; indirect and full feedback need --one-way.
    convolutions
        Convolutions below the recurrent layers, 0 for none; 3 if left out, 2 for series shorter
        than 64 steps.
    channels
        Width of the convolutions.
    kernel_size
        Steps that one convolution sees, odd; 7 if left out, 3 for series shorter than 64 steps.
    pooling
        last, mean_max or attention.
    dropout
        Probability of dropping a neuron's output on its way up.
    recurrent_dropout
        Probability of dropping it on its way back.
    augmentation
        How far training cases are cut, stretched, scaled and made noisy; 0 for not.
    members
        Networks whose mean is the answer, each validated on another fold.
    batch_size
        Cases in a batch; 16 if left out, up to 64 for thousands of cases.
    steps
        Training steps of a member at the most; 15 rounds, at least 400, if left out.
    learning_rate
        Top of the learning rate's schedule.
    weight_decay
        Of AdamW.
    patience
        Validations without a better one before a member stops; if left out 10, or never where
        fewer than 100 cases are there to validate on.
    baselines
        What to compare with, separated by commas: fnn, mean, nearest_neighbour, ridge_regression.
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
    check_output(output, data, *([] if test is None else [test]))
    regressor = task_class("regress")(
        cell=cell,
        hidden_size=hidden_size,
        num_layers=num_layers,
        feedback=feedback,
        bidirectional=bidirectional,
        convolutions=convolutions,
        channels=channels,
        kernel_size=kernel_size,
        pooling=pooling,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        augmentation=augmentation,
        members=members,
        batch_size=batch_size,
        steps=steps,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        patience=patience,
        **({} if baselines is None else {"baselines": split_list(baselines)}),
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    fit_and_save(
        regressor,
        data,
        output,
        resume=resume,
        json=json,
        test=test,
        label=label,
        group=group,
        id=id,
        time=time,
        **({} if value is None else {"value": split_list(value)}),
        log_dir=log_dir,
    )
