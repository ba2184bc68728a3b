"""`noria fit language`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from noria.cli.arguments import (
    Baselines,
    Flag,
    Json,
    Names,
    Output,
    check_output,
    integers,
    split_list,
)
from noria.cli.fitting import fit_and_save
from noria.cli.models import task_class

__all__ = ["language"]


def language(
    data: Path,
    /,
    *,
    output: Output,
    test: Path | None = None,
    text: str = "text",
    condition: str | None = None,
    encoding: str = "utf-8",
    tokens: str = "character",
    vocabulary_size: int = 10_000,
    min_count: int = 1,
    lower_case: Flag = False,
    cell: str = "lstm",
    embedding_size: int = 64,
    hidden_size: int = 256,
    num_layers: int = 1,
    feedback: str = "direct+lateral",
    tied: Flag = False,
    cutoffs: Names = None,
    dropout: float = 0.0,
    embedding_dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    weight_dropout: float = 0.0,
    activation_penalty: float = 0.0,
    temporal_penalty: float = 0.0,
    batch_size: int = 32,
    stretch: int = 64,
    steps: int | None = None,
    learning_rate: float = 8e-3,
    weight_decay: float = 1e-4,
    clip_norm: float = 1.0,
    optimizer: Literal["adamw", "sgd"] = "adamw",
    schedule: Literal["cosine", "constant"] = "cosine",
    average_after: int | None = None,
    patience: int = 8,
    validation_size: float = 0.05,
    test_size: float = 0.1,
    baselines: Baselines = None,
    seed: int = 0,
    checkpoint_every: int = 200,
    resume: Flag = False,
    log_dir: Path | None = None,
    json: Json = False,
) -> None:
    """Train a language model, which foretells text and writes it, beside its rivals.

    Parameters
    ----------
    data
        A plain text, or a .csv, .tsv, .jsonl, .ndjson or .parquet file with a text in each row.
    output
        Where to write the model file.
    test
        Text to compare on; a part of the data that is held out, if left out.
    text
        A table's column of texts.
    condition
        A table's column of what calls each text up, such as its class or a key word.
    encoding
        Of a file of text, by Python's names.
    tokens
        character, byte, word, space, bpe or unigram.
    vocabulary_size
        Tokens at the most.
    min_count
        How often a token must occur to be taken.
    lower_case
        Take capitals for small letters.
    cell
        lstm, gru, rnn_tanh, rnn_relu, peepholelstm, coupledlstm, mgu, leakyrnn or slstm.
    embedding_size
        Numbers that stand for a token.
    hidden_size
        Neurons of a layer.
    num_layers
        Layers.
    feedback
        none, direct, lateral, indirect, full, or a sum of them with +.
    tied
        Use the embedding as the last layer's weights.
    cutoffs
        Where an adaptive softmax cuts the vocabulary, separated by commas; for large vocabularies.
    dropout
        Probability of dropping a number on its way up.
    embedding_dropout
        Probability of dropping a token of the vocabulary altogether.
    recurrent_dropout
        Probability of dropping a neuron's output on its way back.
    weight_dropout
        Probability of dropping a recurrent weight, for a whole stretch.
    activation_penalty
        Weight of the last layer's mean square (AR).
    temporal_penalty
        Weight of its mean squared change from step to step (TAR).
    batch_size
        Rows of the text that are read side by side.
    stretch
        Tokens of a row in a batch, as far as the gradient reaches.
    steps
        Training steps at the most; 10 rounds, at least 400, if left out.
    learning_rate
        Top of the learning rate's schedule.
    weight_decay
        Of the optimizer.
    clip_norm
        Largest norm of the gradient.
    optimizer
        adamw or sgd.
    schedule
        Of the learning rate: cosine or constant.
    average_after
        Validations without a better one before the weights are averaged; never if left out.
    patience
        Validations, 20 in all, without a better one before training stops.
    validation_size
        Share of the text to validate on.
    test_size
        Share of the text to compare on, if no --test is given.
    baselines
        What to compare with, separated by commas: fnn, kneser_ney.
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
    model = task_class("language")(
        tokens=tokens,
        vocabulary_size=vocabulary_size,
        min_count=min_count,
        lower_case=lower_case,
        cell=cell,
        embedding_size=embedding_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        feedback=feedback,
        tied=tied,
        cutoffs=() if cutoffs is None else tuple(integers("cutoffs", cutoffs)),
        dropout=dropout,
        embedding_dropout=embedding_dropout,
        recurrent_dropout=recurrent_dropout,
        weight_dropout=weight_dropout,
        activation_penalty=activation_penalty,
        temporal_penalty=temporal_penalty,
        batch_size=batch_size,
        stretch=stretch,
        steps=steps,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        optimizer=optimizer,
        schedule=schedule,
        average_after=average_after,
        patience=patience,
        validation_size=validation_size,
        test_size=test_size,
        **({} if baselines is None else {"baselines": split_list(baselines)}),
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    fit_and_save(
        model,
        data,
        output,
        resume=resume,
        json=json,
        test=test,
        text=text,
        condition=condition,
        encoding=encoding,
        log_dir=log_dir,
    )
