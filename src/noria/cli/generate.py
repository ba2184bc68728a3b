"""`noria generate`."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path

from noria.cli.arguments import Flag, Json
from noria.errors import ModelFileError, UsageError
from noria.features.text import has_half

__all__ = ["generate"]


def generate(
    model: Path,
    /,
    *,
    prompt: str = "",
    condition: str | None = None,
    length: int | None = 500,
    samples: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    int8: Flag = False,
    json: Json = False,
) -> None:
    """Write text with a language model, on standard output as it comes.

    Parameters
    ----------
    model
        Model file.
    prompt
        What the text begins with.
    condition
        What the text is called up by, where the model was trained with --condition.
    length
        Tokens at the most, the prompt apart.
    samples
        Texts to write, one after the other on standard output.
    temperature
        Below 1 likelier tokens are preferred; 0 takes the likeliest.
    top_k
        Draw from this many of the likeliest.
    top_p
        Draw from the likeliest that together reach this probability.
    repetition_penalty
        Above 1, the last 64 tokens come less often.
    seed
        Of the draws.
    int8
        Round the network's weights to eight bits: faster where it is large, a little off.
    json
        Print one JSON object a text.
    """
    from noria.runtime import read_model
    from noria.runtime.language import Sampling
    from noria.runtime.text_generator import TextGenerator

    if has_half(prompt):
        raise UsageError(f"--prompt {prompt!a} is no text in the terminal's encoding")
    sampling = Sampling(temperature, top_k, top_p, repetition_penalty, seed)
    file = read_model(model)
    if file.task != "language":
        raise ModelFileError(f"{model} is a model for {file.task}; generate needs one for language")
    try:
        generator = TextGenerator.from_document(file.document, file.weights, int8=int8)
        endless = length is None and file.document["whole"]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{model} is damaged: {error}") from error
    if endless and (samples > 1 or json):
        raise UsageError(
            "the model's texts have no end, where several or JSON are printed: give --length"
        )
    pieces = generator.stream(prompt, sampling, length=length, condition=condition, samples=samples)
    if samples == 1 and not json:
        sys.stdout.write(prompt)
        for (text,) in pieces:
            sys.stdout.write(text)
            sys.stdout.flush()
        sys.stdout.write("\n")
        return
    for parts in zip(*pieces, strict=True):
        text = "".join(parts)
        print(jsonlib.dumps({"prompt": prompt, "text": text}) if json else f"{prompt}{text}\n")
