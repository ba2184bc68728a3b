"""A language model as a stream: pieces of text in, how surprising they were and what may follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError, StateError, UsageError
from noria.features.tokens import Tokenizer
from noria.runtime.language import LanguageOutput, log_softmax
from noria.runtime.model_file import ModelFile
from noria.runtime.stepper import NetworkStepper
from noria.shapes import expect_shape

__all__ = ["LanguageStream"]

Array = NDArray[Any]

_NEXT = 5
_ROWS = 512
"""Tokens whose probabilities are computed at once."""


class LanguageStream:
    """Events {"text": "…"} and answers {"bits", "tokens", "next"}.

    `bits` is what the text cost, given all of the stream before: high where it was not expected.
    `next` holds the likeliest tokens that may follow. Each event's text is cut into tokens by
    itself.

    Args:
        model: A model file that `LanguageModel.save` wrote.

    Raises:
        UsageError: if the model writes what a condition calls up.
    """

    def __init__(self, model: ModelFile, *, int8: bool = False) -> None:
        document = model.document
        if document["columns"]["condition"] is not None:
            raise UsageError(
                "a language model with conditions does not stream: its texts are single ones"
            )
        weights = model.part("network")
        plan: Mapping[str, Any] = document["parts"]["network"]["plan"]
        network = {
            name.removeprefix("network."): array
            for name, array in weights.items()
            if name.startswith("network.")
        }
        self.stepper = NetworkStepper(model.wiring, network, int8=int8)
        self._tokenizer = Tokenizer.from_dict(document["tokenizer"])
        self._embedding = np.ascontiguousarray(weights["embedding.weight"])
        self._output = LanguageOutput(plan, weights)
        self._width = model.wiring.output_size
        vocabulary_size = len(self._tokenizer)
        expect_shape(
            "embedding.weight",
            self._embedding,
            "VI",
            V=vocabulary_size,
            I=model.wiring.input_size,
        )
        expect_shape(
            "the output layer's answer",
            self._output(np.zeros((1, self._width), self.stepper.dtype)),
            "BV",
            V=vocabulary_size,
        )
        self._first = [] if document["whole"] else [self._tokenizer.BEGIN]

    def start(self) -> Array | None:
        """Nothing read: there is no h that foretells the next token."""
        return None

    def read(self, memory: Array | None, events: Sequence[Any]) -> _Reading:
        """Events as the tokens of their texts; before the first of many texts stands their mark.

        Raises:
            DataError: if an event is no object with a text that holds something.
        """
        tokens: list[Array] = []
        if memory is None and self._first:
            tokens.append(np.array(self._first))
        counts = []
        for event in events:
            if not isinstance(event, dict) or not isinstance(event.get("text"), str):
                raise DataError('an event is an object such as {"text": "some words"}')
            ids = self._tokenizer.encode(event["text"])
            if not len(ids):
                raise DataError(f"there is nothing to read in the text {event['text']!r}")
            tokens.append(ids)
            counts.append(len(ids))
        ids = np.concatenate(tokens)
        return _Reading(memory, self._embedding[ids], np.arange(len(ids)), ids, counts)

    def answer(
        self, readings: Sequence[_Reading], outputs: Sequence[Array]
    ) -> list[tuple[Array, list[dict[str, Any]]]]:
        """What each text cost, by h before each of its tokens; and what h after it foretells."""
        return [self._judge(*pair) for pair in zip(readings, outputs, strict=True)]

    def _judge(self, reading: _Reading, hidden: Array) -> tuple[Array, list[dict[str, Any]]]:
        tokens, before = reading.tokens, hidden[:-1]
        foretold = tokens[1:]
        if reading.memory is not None:
            before, foretold = np.concatenate([reading.memory[None], before]), tokens
        bits = np.concatenate([np.zeros(len(tokens) - len(foretold)), self._bits(before, foretold)])
        ends = len(tokens) - sum(reading.counts) + np.cumsum(reading.counts)
        likeliest = self._likeliest(hidden[ends - 1])
        answers = []
        for end, count, following in zip(ends.tolist(), reading.counts, likeliest, strict=True):
            cost = float(bits[end - count : end].sum())
            answers.append({"bits": cost, "tokens": count, "next": following})
        return hidden[-1].copy(), answers

    def _bits(self, hidden: Array, tokens: Array) -> Array:
        found = [
            log_softmax(self._output(hidden[i : i + _ROWS]))[np.arange(len(part)), part]
            for i in range(0, len(tokens), _ROWS)
            for part in [tokens[i : i + _ROWS]]
        ]
        bits: Array = -np.concatenate([np.zeros(0), *found]) / np.log(2)
        return bits

    def _likeliest(self, hidden: Array) -> list[list[dict[str, Any]]]:
        logs = log_softmax(self._output(hidden))
        order = np.argsort(-logs, axis=1, kind="stable")[:, :_NEXT]
        return [
            [
                {"text": self._tokenizer.decode([token]), "probability": float(np.exp(row[token]))}
                for token in best
            ]
            for row, best in zip(logs, order.tolist(), strict=True)
        ]

    def memory_to_bytes(self, memory: Array | None) -> bytes:
        """The h that foretells the next token."""
        if memory is None:
            return b""
        return memory.astype(self.stepper.dtype.newbyteorder("<")).tobytes()

    def memory_from_bytes(self, data: bytes) -> Array | None:
        """The h back.

        Raises:
            StateError: if the bytes are none.
        """
        if not data:
            return None
        stored = self.stepper.dtype.newbyteorder("<")
        if len(data) != self._width * stored.itemsize:
            raise StateError("the saved state is damaged: it is not as long as its model's")
        memory = np.frombuffer(data, stored).astype(self.stepper.dtype)
        if not np.isfinite(memory).all():
            raise StateError("the saved state is damaged: it is not finite")
        return memory

    def describe(self) -> dict[str, Any]:
        """JSON schemas of an event and an answer."""
        following = {
            "type": "object",
            "properties": {"text": {"type": "string"}, "probability": {"type": "number"}},
        }
        return {
            "event": {
                "type": "object",
                "required": ["text"],
                "properties": {"text": {"type": "string", "minLength": 1}},
            },
            "answer": {
                "type": "object",
                "required": ["bits", "tokens", "next"],
                "properties": {
                    "bits": {"type": "number"},
                    "tokens": {"type": "integer"},
                    "next": {"type": "array", "items": following},
                },
            },
        }


class _Reading(NamedTuple):
    memory: Array | None
    x: Array
    last: NDArray[np.int64]
    tokens: Array
    counts: list[int]
