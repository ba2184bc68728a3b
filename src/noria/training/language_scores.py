"""Language models beside each other on the same text."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from noria.training.verdict import verdict

__all__ = ["LanguageComparison", "LanguageScore"]


@dataclasses.dataclass(frozen=True)
class LanguageScore:
    """One line of the table.

    Attributes:
        model: Name.
        loss: Nats a token.
        bits_per_character: Bits a character of the text.
        parameters: Number of weights or counts.
        seconds: Time to train and to read the text.
    """

    model: str
    loss: float
    bits_per_character: float
    parameters: int
    seconds: float

    @classmethod
    def of(
        cls, model: str, loss: float, tokens: int, characters: int, parameters: int, seconds: float
    ) -> LanguageScore:
        """From the loss of so many tokens that are so many characters."""
        bits = loss * tokens / max(characters, 1) / math.log(2)
        return cls(model, loss, bits, parameters, seconds)

    @property
    def perplexity(self) -> float:
        """As many tokens, all alike, would be as hard to choose from: e to the loss."""
        return math.exp(min(self.loss, 700.0))

    def metrics(self) -> dict[str, float]:
        """The figures alone, by lower-case name."""
        return {
            "loss": self.loss,
            "perplexity": self.perplexity,
            "bits_per_character": self.bits_per_character,
        }


@dataclasses.dataclass(frozen=True)
class LanguageComparison:
    """Several models on the same text; the first is the one in question.

    Attributes:
        scores: One a model.
        tokens: Tokens that had to be foretold.
        characters: Characters that they are.
        notes: What a reader must know of how a line came about.
        remembers: Whether the one in question carries anything from step to step.
    """

    scores: tuple[LanguageScore, ...]
    tokens: int
    characters: int
    notes: tuple[str, ...] = ()
    remembers: bool = True

    def verdict(self) -> str:
        """In one sentence, whether memory pays on this text, by bits a character."""
        values = {score.model: score.bits_per_character for score in self.scores}
        return verdict("bits per character", values, lower_is_better=True, remembers=self.remembers)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        document = dataclasses.asdict(self)
        return {**document, "scores": list(document["scores"]), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> LanguageComparison:
        """Read what `to_dict` wrote."""
        scores = tuple(LanguageScore(**score) for score in document["scores"])
        return cls(**{**document, "scores": scores, "notes": tuple(document["notes"])})
