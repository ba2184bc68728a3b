"""`noria fit classify`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from noria.cli.arguments import Baselines, Flag, Json, Names, Output, check_output, split_list
from noria.cli.fitting import fit_and_save
from noria.cli.models import task_class
from noria.errors import UsageError

__all__ = ["classify"]


def classify(
    data: Path,
    /,
    *,
    output: Output,
    test: Path | None = None,
    label: str = "label",
    group: str | None = None,
    id: str | None = None,  # noqa: A002
    time: str | None = None,
    value: Names = None,
    text: str | None = None,
    label_separator: str | None = None,
    encoding: str | None = None,
    tokens: str | None = None,
    vocabulary_size: int | None = None,
    min_count: int | None = None,
    lower_case: Annotated[bool | None, Parameter(negative="--keep-case")] = None,
    buckets: int | None = None,
    max_length: int | None = None,
    embedding_size: int | None = None,
    vectors: Path | None = None,
    cell: str | None = None,
    hidden_size: int | None = None,
    num_layers: int | None = None,
    feedback: str | None = None,
    bidirectional: Annotated[bool | None, Parameter(negative="--one-way")] = None,
    convolutions: int | None = None,
    channels: int | None = None,
    kernel_size: int | None = None,
    pooling: str | None = None,
    dropout: float | None = None,
    recurrent_dropout: float | None = None,
    embedding_dropout: float | None = None,
    word_dropout: float | None = None,
    augmentation: float | None = None,
    label_smoothing: float | None = None,
    class_weight: Literal["balanced"] | None = None,
    members: int | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    patience: int | None = None,
    baselines: Baselines = None,
    seed: int | None = None,
    checkpoint_every: int | None = None,
    resume: Flag = False,
    log_dir: Path | None = None,
    json: Json = False,
) -> None:
    """Train a classifier of whole series, or of texts, and compare it with its rivals.

    With --text it is a classifier of texts. A flag that is left out takes the value that suits the
    one or the other; one that is of no use is refused.

    Parameters
    ----------
    data
        A .ts file, or a CSV or Parquet file with a row for each case and time step; of texts, a
        .csv, .tsv, .jsonl or .parquet file with a row for each.
    output
        Where to write the model file.
    test
        A file of cases to compare on; by cross-validation if left out.
    label
        Column of the class, constant in a case. A .ts file has no columns.
    group
        Of series: column of whom or what a case comes from, constant in a case; cases of one group
        are never on both sides of a validation.
    id
        Of series: column that tells cases apart; unique_id.
    time
        Of series: column of timestamps or step numbers; ds.
    value
        Of series: columns of the channels, separated by commas; value.
    text
        Column of the texts.
    label_separator
        Of texts: what stands between several labels of a text; each has one if left out.
    encoding
        Of texts: encoding of the files; utf-8.
    tokens
        Of texts: word, space, bpe, unigram, character or byte; word.
    vocabulary_size
        Of texts: different words at the most; 30000.
    min_count
        Of texts: how often a word must occur to be known; 1.
    lower_case
        Of texts: take capitals for small letters; yes.
    buckets
        Of texts: buckets for the character n-grams of words, 0 for none; 20000.
    max_length
        Of texts: words of a text that are looked at, at the most; 400.
    embedding_size
        Of texts: numbers that stand for a word; 100.
    vectors
        Of texts: file of word vectors to begin with, word2vec's or GloVe's text or safetensors.
    cell
        lstm, gru, rnn_tanh, rnn_relu, peepholelstm, coupledlstm, mgu, leakyrnn or slstm; unless
        given lstm for series, gru for texts.
    hidden_size
        Neurons of a layer, in each direction; 64.
    num_layers
        Layers; 1.
    feedback
        none, direct, lateral, indirect, full, or a sum of them with +; direct+lateral.
    bidirectional
        Run in both directions, as it does if left out; indirect and full feedback need --one-way.
    convolutions
        Of series: convolutions below the recurrent layers, 0 for none; 3 if left out, 2 for
        series shorter than 64 steps.
    channels
        Of series: width of the convolutions; 64.
    kernel_size
        Of series: steps that one convolution sees, odd; 7, or 3 for series shorter than 64 steps.
    pooling
        last, mean_max or attention; mean_max.
    dropout
        Probability of dropping a neuron's output on its way up; 0.3 for series, 0.5 for texts.
    recurrent_dropout
        Probability of dropping it on its way back; 0.
    embedding_dropout
        Of texts: probability of dropping a number of a word's vector; 0.2.
    word_dropout
        Of texts: probability of taking a word for an unknown one; 0.05.
    augmentation
        Of series: how far training cases are cut, stretched, scaled and made noisy, 0 for not; 0.1.
    label_smoothing
        Share of the target's probability that all classes get alike; 0.
    class_weight
        balanced makes rare classes count as much as common ones.
    members
        Networks whose mean is the answer, each validated on another fold; 5 for series, 3 for
        texts.
    batch_size
        Cases in a batch; 16 for series, up to 64 for thousands of them, 50 for texts.
    steps
        Training steps of a member at the most; if left out, of series 15 rounds, at least 400, of
        texts 6 rounds, at least 300.
    learning_rate
        Top of the learning rate's schedule; 0.003.
    weight_decay
        Of AdamW; 0.01.
    patience
        Validations without a better one before a member stops; 10 for series, or never where fewer
        than 100 cases are there to validate on; 8 for texts.
    baselines
        What to compare with, separated by commas: fnn, and for series nearest_neighbour,
        logistic_regression, for texts tfidf_logistic_regression; all of them. On request, for
        series: minirocket, if sktime is installed.
    seed
        Of everything random; 0.
    checkpoint_every
        Steps between two checkpoints; 200.
    resume
        Go on with a training that was interrupted or killed.
    log_dir
        Folder for TensorBoard's event files.
    json
        Print one JSON object instead of a table.
    """
    given: dict[str, Any] = {name: flag for name, flag in locals().items() if flag is not None}
    for name in ("data", "output", "resume", "json"):
        del given[name]
    check_output(output, data, *([] if test is None else [test]))
    for name in ("value", "baselines"):
        if name in given:
            given[name] = split_list(given[name])
    task, kind = ("classify", "series") if text is None else ("classify_text", "texts")
    estimator = task_class(task)
    names = inspect.signature(estimator).parameters
    own = {name: given.pop(name) for name in list(given) if name in names}
    for name in given:
        if name not in inspect.signature(estimator.fit).parameters:
            flag = name.replace("_", "-")
            hint = "; --text COLUMN makes it one of texts" if text is None else ""
            raise UsageError(f"--{flag} is of no use to a classifier of {kind}{hint}")
    fit_and_save(estimator(**own), data, output, resume=resume, json=json, **given)
