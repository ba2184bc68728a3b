"""`noria fit tag`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

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

__all__ = ["tag"]


def tag(
    data: Path,
    /,
    *,
    output: Output,
    test: Path | None = None,
    word: int = 1,
    tag: int = -1,
    features: Names = None,
    encoding: str = "utf-8",
    scheme: str | None = None,
    vocabulary_size: int = 50_000,
    min_count: int = 1,
    embedding_size: int = 100,
    vectors: Path | None = None,
    feature_size: int = 32,
    character_size: int = 32,
    cell: str = "lstm",
    hidden_size: int = 128,
    num_layers: int = 1,
    feedback: str = "direct+lateral",
    bidirectional: Annotated[bool, Parameter(negative="--one-way")] = True,
    dropout: float = 0.5,
    recurrent_dropout: float = 0.0,
    embedding_dropout: float = 0.3,
    word_dropout: float = 0.1,
    members: int = 2,
    batch_size: int = 32,
    steps: int | None = None,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-2,
    patience: int = 8,
    baselines: Baselines = None,
    seed: int = 0,
    checkpoint_every: int = 200,
    resume: Flag = False,
    log_dir: Path | None = None,
    json: Json = False,
) -> None:
    """Train a tagger of words and compare it with its rivals.

    Parameters
    ----------
    data
        A file in CoNLL's columns: a line a word, an empty line after each sentence.
    output
        Where to write the model file.
    test
        A file of sentences to compare on; by cross-validation if left out.
    word
        Column of the words, counted from 1, or from the end, where -1 is the last.
    tag
        Column of the tags.
    features
        Further columns that help, such as the part of speech, separated by commas.
    encoding
        Of the files.
    scheme
        How tags mark stretches of words: iob1, iob2, iobes, bilou, or plain for a tag a word. Left
        out, it is found out, and tags that break its rules are refused.
    vocabulary_size
        Different words at the most.
    min_count
        How often a word must occur to be known.
    embedding_size
        Numbers that stand for a word.
    vectors
        File of word vectors to begin with, word2vec's or GloVe's text or safetensors.
    feature_size
        Numbers that stand for a value of a further column.
    character_size
        Neurons, in each direction, that read a word's characters; 0 for none.
    cell
        lstm, gru, rnn_tanh, rnn_relu, peepholelstm, coupledlstm, mgu, leakyrnn or slstm.
    hidden_size
        Neurons of a layer, in each direction.
    num_layers
        Layers.
    feedback
        none, direct, lateral, indirect, full, or a sum of them with +.
    bidirectional
        Read in both directions; indirect and full feedback need --one-way.
    dropout
        Probability of dropping a neuron's output on its way up.
    recurrent_dropout
        Probability of dropping it on its way back.
    embedding_dropout
        Probability of dropping a number of what stands for a word.
    word_dropout
        Probability of taking a word for an unknown one; its characters stay.
    members
        Networks whose mean is the answer, each validated on another fold.
    batch_size
        Sentences in a batch.
    steps
        Training steps of a member at the most; 9 rounds, at least 300, if left out.
    learning_rate
        Top of the learning rate's schedule.
    weight_decay
        Of AdamW.
    patience
        Validations without a better one before a member stops.
    baselines
        What to compare with, separated by commas: fnn, most_frequent_tag, logistic_regression.
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
    tagger = task_class("tag")(
        scheme=scheme,
        vocabulary_size=vocabulary_size,
        min_count=min_count,
        embedding_size=embedding_size,
        vectors=vectors,
        feature_size=feature_size,
        character_size=character_size,
        cell=cell,
        hidden_size=hidden_size,
        num_layers=num_layers,
        feedback=feedback,
        bidirectional=bidirectional,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        embedding_dropout=embedding_dropout,
        word_dropout=word_dropout,
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
        tagger,
        data,
        output,
        resume=resume,
        json=json,
        test=test,
        word=word,
        tag=tag,
        features=integers("features", features or ()),
        encoding=encoding,
        log_dir=log_dir,
    )
