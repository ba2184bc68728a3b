"""Texts into another language, without torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.errors import UsageError
from noria.features.tokens import Tokenizer
from noria.runtime.beam import Hypothesis
from noria.runtime.translation import TranslationStepper

__all__ = ["TextTranslator", "Translation"]

_ROWS = 64


@dataclasses.dataclass(frozen=True)
class Translation:
    """One translation of a text.

    Attributes:
        text: The translation.
        score: Log-probability, divided by a power of the length.
        source: The source's tokens as texts, S.
        target: The translation's, T.
        alignment: For each of these how much it looked at each of those, shape (T, S).
    """

    text: str
    score: float
    source: tuple[str, ...]
    target: tuple[str, ...]
    alignment: NDArray[Any]

    def links(self) -> str:
        """Pairs of a source's token and of the translation's that looked at it most: "0-0 2-1"."""
        looked = self.alignment.argmax(axis=1) if len(self.target) else []
        return " ".join(f"{source}-{target}" for target, source in enumerate(looked))


class TextTranslator:
    """Translates texts by beam search.

    A word or character that is not in the vocabulary becomes the source's that it looked at most.
    With pieces of words, which end in bytes, there is none.

    Args:
        tokenizer: Of the model.
        stepper: The model.
        longest: Tokens of the longest text it was trained to write, if that is known. A translation
            has twice as many at the most, or 100, or 1000 where it is not known.
    """

    def __init__(
        self, tokenizer: Tokenizer, stepper: TranslationStepper, longest: int | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._stepper = stepper
        self._longest = 1000 if longest is None else max(2 * longest, 100)

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]
    ) -> TextTranslator:
        """From what a model file for the task "translate" holds.

        Raises:
            KeyError, TypeError, ValueError: if the parts do not fit together.
        """
        own = {
            name.removeprefix("network."): array
            for name, array in weights.items()
            if name.startswith("network.")
        }
        stepper = TranslationStepper(document["parts"]["network"]["plan"], own)
        tokenizer = Tokenizer.from_dict(document["tokenizer"])
        return cls(tokenizer, stepper, dict(document["trained_on"]).get("longest_target"))

    def translate(
        self,
        texts: Sequence[str],
        *,
        beam_size: int = 1,
        length_penalty: float = 1.0,
        n_best: int = 1,
    ) -> list[list[Translation]]:
        """Translate texts, those of like length side by side.

        Args:
            texts: N texts.
            beam_size: Translations kept open; 1 is the greedy search.
            length_penalty: Power of the length that log-probabilities are divided by.
            n_best: Translations wanted of each text.

        Returns:
            For each text its translations, the best first; an empty text has an empty one.

        Raises:
            UsageError: if a number cannot be meant.
        """
        if not 1 <= n_best <= beam_size:
            raise UsageError(
                f"n_best is {n_best} and beam_size {beam_size}: from 1 up to beam_size"
            )
        if not 0 <= length_penalty < float("inf"):
            raise UsageError(f"length_penalty is {length_penalty}: it must be 0 or more")
        tokenizer = self._tokenizer
        sources = tokenizer.encode_batch(texts)
        empty = Translation("", 0.0, (), (), np.zeros((0, 0)))
        results = [[empty] for _ in texts]
        rows = [row for row in np.argsort([len(s) for s in sources]).tolist() if len(sources[row])]
        for begin in range(0, len(rows), _ROWS):
            batch = rows[begin : begin + _ROWS]
            found = self._stepper.search(
                [sources[row] for row in batch],
                begin=tokenizer.BEGIN,
                end=tokenizer.END,
                beam_size=beam_size,
                length_penalty=length_penalty,
                n_best=n_best,
                forbidden=(tokenizer.PADDING, tokenizer.BEGIN),
                longest=self._longest,
            )
            for row, hypotheses in zip(batch, found, strict=True):
                source = self._source(texts[row], len(sources[row]))
                results[row] = [self._translation(source, each) for each in hypotheses]
        return results

    def _source(self, text: str, count: int) -> tuple[str, ...]:
        spans, text = self._tokenizer.spans(text), self._tokenizer.normal(text)
        return tuple(text[begin:end] for begin, end in spans[:count])

    def _translation(self, source: tuple[str, ...], hypothesis: Hypothesis) -> Translation:
        tokenizer = self._tokenizer
        alignment = hypothesis.attention[:, : len(source)]
        unknown = [token == tokenizer.UNKNOWN for token in hypothesis.tokens]
        target = tuple(
            source[int(weights.argmax())] if copied else tokenizer.decode([token])
            for token, weights, copied in zip(hypothesis.tokens, alignment, unknown, strict=True)
        )
        if tokenizer.kind in ("word", "space", "character"):
            text = ("" if tokenizer.kind == "character" else " ").join(target)
        else:
            text = tokenizer.decode(hypothesis.tokens)
        return Translation(text, hypothesis.score, source, target, alignment)
