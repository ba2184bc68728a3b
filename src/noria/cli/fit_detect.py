"""`noria fit detect`."""

from __future__ import annotations

from pathlib import Path

from noria.cli.arguments import Baselines, Flag, Json, Names, Output, check_output, split_list
from noria.cli.fitting import fit_and_save
from noria.cli.models import task_class

__all__ = ["detect"]


def detect(
    data: Path,
    /,
    *,
    output: Output,
    time: str = "timestamp",
    value: Names = None,
    cell: str = "lstm",
    hidden_size: int = 32,
    num_layers: int = 1,
    feedback: str = "direct+lateral",
    false_alarm_rate: float = 1e-3,
    quiet: int | None = None,
    context_length: int = 128,
    dropout: float = 0.1,
    recurrent_dropout: float = 0.0,
    batch_size: int = 16,
    steps: int = 400,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-2,
    patience: int = 8,
    validation_share: float = 0.15,
    test_share: float = 0.1,
    baselines: Baselines = None,
    seed: int = 0,
    checkpoint_every: int = 200,
    resume: Flag = False,
    log_dir: Path | None = None,
    json: Json = False,
) -> None:
    """Learn from unlabelled events what is normal, to tell what is not.

    Parameters
    ----------
    data
        CSV or Parquet file, a row an event.
    output
        Where to write the model file.
    time
        Column of timestamps or step numbers.
    value
        Columns of the channels, separated by commas; the column value if left out.
    cell
        lstm, gru, rnn_tanh, rnn_relu, peepholelstm, coupledlstm, mgu, leakyrnn or slstm.
    hidden_size
        Neurons of a layer.
    num_layers
        Layers.
    feedback
        none, direct, lateral, indirect, full, or a sum of them with +.
    false_alarm_rate
        Share of normal events that may raise an alarm.
    quiet
        Events after an alarm within which only a much rarer one of that channel alarms again; half
        of the events learned from, at most 256, if left out.
    context_length
        Steps of a training stretch.
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
    validation_share
        Share of the events learned from that is kept for validation.
    test_share
        Share of the events, the last ones, kept for the comparison; 0 for none.
    baselines
        What to compare with, separated by commas: fnn, last_value, moving_z_score.
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
    detector = task_class("detect")(
        cell=cell,
        hidden_size=hidden_size,
        num_layers=num_layers,
        feedback=feedback,
        false_alarm_rate=false_alarm_rate,
        quiet=quiet,
        context_length=context_length,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        batch_size=batch_size,
        steps=steps,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        patience=patience,
        validation_share=validation_share,
        test_share=test_share,
        **({} if baselines is None else {"baselines": split_list(baselines)}),
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    fit_and_save(
        detector,
        data,
        output,
        resume=resume,
        json=json,
        time=time,
        **({} if value is None else {"value": split_list(value)}),
        log_dir=log_dir,
    )
