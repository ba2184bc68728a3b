"""`noria fit translate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from noria.cli.arguments import Baselines, Flag, Json, Names, Output, check_output, split_list
from noria.cli.fitting import fit_and_save
from noria.cli.models import task_class
from noria.errors import UsageError

__all__ = ["translate"]


def translate(
    source: Path,
    target: Path | None = None,
    /,
    *,
    output: Output,
    validation: Names = None,
    test: Names = None,
    encoding: str = "utf-8",
    tokens: str = "bpe",
    vocabulary_size: int = 5000,
    min_count: int = 1,
    lower_case: Flag = False,
    cell: str = "gru",
    embedding_size: int = 256,
    hidden_size: int = 384,
    num_layers: int = 1,
    feedback: str = "direct+lateral",
    attention: Annotated[
        str, Parameter(help="multiplicative or additive.")  # numpydoc takes its name for a heading
    ] = "multiplicative",
    input_feeding: Annotated[bool, Parameter(negative="--no-input-feeding")] = True,
    tied: Annotated[bool, Parameter(negative="--untied")] = True,
    dropout: float = 0.3,
    recurrent_dropout: float = 0.0,
    label_smoothing: float = 0.1,
    batch_size: int = 64,
    steps: int | None = None,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-4,
    clip_norm: float = 1.0,
    average_after: int | None = None,
    patience: int = 5,
    beam_size: int = 5,
    length_penalty: float = 1.0,
    validation_size: float = 0.05,
    test_size: float = 0.05,
    baselines: Baselines = None,
    seed: int = 0,
    checkpoint_every: int = 200,
    resume: Flag = False,
    log_dir: Path | None = None,
    json: Json = False,
) -> None:
    """Train a translator on pairs of sentences and compare it with its rivals.

    Parameters
    ----------
    source
        A text with a sentence a line; or pairs, a tab between them.
    target
        The translations, line by line; none where the first file holds both.
    output
        Where to write the model file.
    validation
        Pairs to stop by, as one file or two with a comma between; some are held out if left out.
    test
        Pairs to compare on, likewise.
    encoding
        Of the files, by Python's names.
    tokens
        bpe, unigram, word, space, character or byte.
    vocabulary_size
        Tokens at the most, of both languages together.
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
        Layers of the encoder and of the decoder.
    feedback
        none, direct, lateral, or a sum of them with +.
    input_feeding
        Let what was attended to enter the decoder at the next step.
    tied
        Use the embedding as the output layer's weights.
    dropout
        Probability of dropping a number on its way up.
    recurrent_dropout
        Probability of dropping a neuron's output on its way back.
    label_smoothing
        Share of the target's probability that all tokens get alike.
    batch_size
        Pairs in a batch.
    steps
        Training steps at the most; 10 rounds, at least 400, if left out.
    learning_rate
        Top of the learning rate's schedule.
    weight_decay
        Of AdamW.
    clip_norm
        Largest norm of the gradient.
    average_after
        Validations without a better one before the weights are averaged; never if left out.
    patience
        Validations, 20 in all, without a better one before training stops.
    beam_size
        Translations kept open; 1 is the greedy search.
    length_penalty
        Power of the length that log-probabilities are divided by.
    validation_size
        Share of the pairs to validate on, if no --validation is given.
    test_size
        Share of the pairs to compare on, if no --test is given.
    baselines
        What to compare with, separated by commas: fnn, lexicon.
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
    apart = {
        name: _files(name, given) for name, given in [("validation", validation), ("test", test)]
    }
    read = [source, target, *(file for files in apart.values() for file in files or ())]
    check_output(output, *(file for file in read if file is not None))
    translator = task_class("translate")(
        tokens=tokens,
        vocabulary_size=vocabulary_size,
        min_count=min_count,
        lower_case=lower_case,
        cell=cell,
        embedding_size=embedding_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        feedback=feedback,
        attention=attention,
        input_feeding=input_feeding,
        tied=tied,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        label_smoothing=label_smoothing,
        batch_size=batch_size,
        steps=steps,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        average_after=average_after,
        patience=patience,
        beam_size=beam_size,
        length_penalty=length_penalty,
        validation_size=validation_size,
        test_size=test_size,
        **({} if baselines is None else {"baselines": split_list(baselines)}),
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    fit_and_save(
        translator,
        source,
        output,
        resume=resume,
        json=json,
        y=target,
        **apart,
        encoding=encoding,
        log_dir=log_dir,
    )


def _files(name: str, given: list[str] | None) -> tuple[Path, ...] | None:
    """One file with both languages or one for each; None where nothing is given."""
    if given is None:
        return None
    files = tuple(map(Path, split_list(given)))
    if len(files) not in (1, 2):
        raise UsageError(f"--{name} has {len(files)} files: give one, or two with a comma between")
    return files
