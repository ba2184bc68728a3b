"""Text from a language model, piece by piece as it comes, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from noria.errors import UsageError
from noria.features.corpus import prompt_tokens
from noria.features.tokens import Tokenizer
from noria.runtime.language import LanguageStepper, Sampling, generate

__all__ = ["TextGenerator"]

_LONGEST_LETTER = 4  # bytes in UTF-8


class TextGenerator:
    """Goes on from a prompt.

    Args:
        tokenizer: Of the model.
        stepper: The model.
        whole: Whether it was trained on one long text, which has no beginning and no end.
        conditioned: Whether each text was called up by something.
    """

    def __init__(
        self, tokenizer: Tokenizer, stepper: LanguageStepper, *, whole: bool, conditioned: bool
    ) -> None:
        self._tokenizer = tokenizer
        self._stepper = stepper
        self._whole = whole
        self._conditioned = conditioned

    @classmethod
    def from_document(
        cls,
        document: Mapping[str, Any],
        weights: Mapping[str, NDArray[Any]],
        *,
        int8: bool = False,
    ) -> TextGenerator:
        """From what a model file for the task "language" holds.

        Args:
            document: Its document.
            weights: Its weights.
            int8: See `LanguageStepper`.

        Raises:
            KeyError, TypeError, ValueError: if the parts do not fit together.
        """
        own = {
            name.removeprefix("network."): array
            for name, array in weights.items()
            if name.startswith("network.")
        }
        return cls(
            Tokenizer.from_dict(document["tokenizer"]),
            LanguageStepper(document["parts"]["network"]["plan"], own, int8=int8),
            whole=document["whole"],
            conditioned=document["columns"]["condition"] is not None,
        )

    def stream(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        length: int | None = None,
        condition: str | None = None,
        samples: int = 1,
    ) -> Iterator[list[str]]:
        """Draw continuations side by side, in constant memory.

        Args:
            prompt: What they begin with; it is not given back.
            sampling: How to draw.
            length: Tokens at the most; None goes on until the texts end, or forever.
            condition: What the text is called up by, where the model was trained so.
            samples: Continuations, B.

        Yields:
            What each of them goes on with, B texts, often empty within a letter of several bytes.

        Raises:
            UsageError: if a condition is missing or of no use, or a number is below 1.
        """
        tokenizer = self._tokenizer
        if samples < 1 or (length is not None and length < 1):
            raise UsageError(f"length is {length} and samples {samples}: they must be at least 1")
        if self._conditioned != (condition is not None):
            raise UsageError(
                "the model writes what a condition calls up: give one"
                if self._conditioned
                else "the model was trained without conditions: give none"
            )
        forbidden = [tokenizer.PADDING, tokenizer.UNKNOWN, tokenizer.BEGIN]
        if self._whole:
            forbidden.append(tokenizer.END)
            tokens = tokenizer.encode(prompt or "\n")
            if not len(tokens):
                tokens = prompt_tokens(tokenizer, prompt)
        else:
            tokens = prompt_tokens(tokenizer, prompt, condition)
        writers = [_Writer(tokenizer, after_text=bool(prompt.strip())) for _ in range(samples)]
        steps = generate(self._stepper, tokens, sampling, samples=samples, forbidden=forbidden)
        for number, chosen in enumerate(steps, 1):
            ids = chosen.tolist()
            last = number == length
            yield [writer.write(index, last) for writer, index in zip(writers, ids, strict=True)]
            if last or all(writer.ended for writer in writers):
                return


class _Writer:
    """Turns the tokens of one text into pieces of text, whole letters at a time."""

    def __init__(self, tokenizer: Tokenizer, *, after_text: bool) -> None:
        self._tokenizer = tokenizer
        self._blank = tokenizer.kind in ("word", "space")
        self._begun = after_text
        self._whole = tokenizer.kind in ("character", "word", "space")
        self._pieces = tokenizer.vocabulary if self._whole else []
        self._pending: list[int] = []
        self.ended = False

    def write(self, index: int, last: bool) -> str:
        """The text that a token completes."""
        if self.ended or index == self._tokenizer.END:
            self.ended = True
            return self._flush()
        if self._whole:
            blank = " " if self._blank and self._begun else ""
            self._begun = True
            return blank + self._pieces[index]
        self._pending.append(index)
        text = self._tokenizer.decode(self._pending)
        if last or not text.endswith("\ufffd"):
            return self._flush()
        if len(self._pending) < _LONGEST_LETTER:
            return ""
        # the first one has begun no letter; a later one still may
        return self._tokenizer.decode([self._pending.pop(0)])

    def _flush(self) -> str:
        text = self._tokenizer.decode(self._pending) if self._pending else ""
        self._pending.clear()
        return text
