"""A language model without torch: tokens in, what comes next out, one native call a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria import kernels
from noria.errors import ModelFileError, UsageError
from noria.runtime.stepper import NetworkState, NetworkStepper
from noria.wiring import Layer, Wiring

__all__ = ["LanguageStepper", "Sampling", "generate"]

Array = NDArray[Any]

_UNIFORMS = 1024
_CHUNK = 256


class LanguageStepper:
    """Steps a language model on numpy arrays.

    The linear output layer runs as a layer of the network, in the same native call.

    Args:
        plan: `noria.modules.language.LanguagePlan` as plain JSON values.
        weights: Arrays by name.

    Attributes:
        vocabulary_size: V.

    Raises:
        ModelFileError: if the weights are not those of the plan.
    """

    def __init__(self, plan: Mapping[str, Any], weights: Mapping[str, Array]) -> None:
        try:
            wiring = Wiring.from_dict(plan["wiring"])
            self.vocabulary_size = int(plan["vocabulary_size"])
            self._embedding = np.ascontiguousarray(weights["embedding.weight"])
            own = {
                name.removeprefix("network."): array
                for name, array in weights.items()
                if name.startswith("network.")
            }
            self._adaptive: _AdaptiveSoftmax | None = None
            if plan["cutoffs"]:
                self._adaptive = _AdaptiveSoftmax(plan["cutoffs"], weights)
            else:
                last = f"layers.{len(wiring.layers)}."
                tied = "embedding.weight" if plan["tied"] else "output.weight"
                own |= {f"{last}weight_ih": weights[tied], f"{last}bias_ih": weights["output.bias"]}
                wiring = _with_output(wiring, self.vocabulary_size)
        except KeyError as error:
            raise ModelFileError(f"the language model lacks {error}") from error
        self._network = NetworkStepper(wiring, own)

    def zero_state(self, batch_size: int) -> NetworkState:
        """The state at the beginning of a text, for B texts."""
        return self._network.zero_state(batch_size)

    def step(self, tokens: Array, state: NetworkState) -> tuple[Array, NetworkState]:
        """Read one token of each text.

        Args:
            tokens: Shape (B,).
            state: State before them; it is not changed.

        Returns:
            Unnormalised log-probabilities of what comes next, shape (B, V), and the new state.
        """
        y, state = self._network.step(self._embedding[tokens], state)
        return (y if self._adaptive is None else self._adaptive(y)), state

    def read(self, tokens: Array, state: NetworkState) -> tuple[Array, NetworkState]:
        """Read a stretch of each text; the bits are those of stepping through it.

        Args:
            tokens: Shape (B, T), T at least 1.
            state: State before them; it is not changed.

        Returns:
            What comes after the last, shape (B, V), and the new state.
        """
        for begin in range(0, tokens.shape[1], _CHUNK):
            part = self._embedding[tokens[:, begin : begin + _CHUNK]]
            y, state = self._network.scan(part, state)
        last = np.ascontiguousarray(y[:, -1])
        return (last if self._adaptive is None else self._adaptive(last)), state


class _AdaptiveSoftmax:
    """torch's `AdaptiveLogSoftmaxWithLoss`: frequent tokens at once, the others by clusters."""

    def __init__(self, cutoffs: Sequence[int], weights: Mapping[str, Array]) -> None:
        self._shortlist = cutoffs[0]
        self._head = weights["adaptive.head.weight"]
        self._tails = [
            (weights[f"adaptive.tail.{i}.0.weight"], weights[f"adaptive.tail.{i}.1.weight"])
            for i in range(len(cutoffs))
        ]

    def __call__(self, hidden: Array) -> Array:
        """Log-probabilities (B, V) of h (B, H)."""
        head = _log_softmax(kernels.linear(hidden, self._head, None))
        parts = [head[:, : self._shortlist]]
        for number, (down, up) in enumerate(self._tails):
            inside = _log_softmax(kernels.linear(kernels.linear(hidden, down, None), up, None))
            parts.append(head[:, self._shortlist + number, None] + inside)
        return np.concatenate(parts, axis=1)


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
        temperature: Below 1 likelier tokens are preferred; 0 takes the likeliest.
        top_k: Draw from this many of the likeliest; None for all.
        top_p: Draw from the likeliest that together reach this probability.
        repetition_penalty: Log-probabilities of the last 64 tokens are multiplied by this: above 1
            they come less often.
        seed: Of the draws.

    Raises:
        UsageError: if a value cannot be meant.

    Source: top-p: Holtzman et al. 2020; repetition penalty: after Keskar et al. 2019.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"temperature is {self.temperature}: it must be 0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k is {self.top_k}: it must be at least 1")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is {self.top_p}: it must be above 0 and at most 1")
        if not 0 < self.repetition_penalty < float("inf"):
            raise UsageError(f"repetition_penalty is {self.repetition_penalty}: it must be above 0")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}: it must be at least 0")

    def choose(self, logits: Array, uniforms: Array, recent: Array | None = None) -> Array:
        """Draw the next token of each text; a row's does not depend on the other rows.

        Args:
            logits: Unnormalised log-probabilities, shape (B, V); −∞ for what must not come.
            uniforms: A random number of each row, from 0 up to 1, shape (B,).
            recent: Tokens to penalise, shape (B, R); −1 for none.

        Returns:
            Shape (B,).
        """
        if recent is not None and self.repetition_penalty != 1:
            logits = self._penalised(logits, recent)
        if self.temperature == 0:
            return np.asarray(logits.argmax(axis=1))
        if self.top_k is not None and self.top_k < logits.shape[1]:
            least = np.partition(logits, -self.top_k, axis=1)[:, -self.top_k, None]
            logits = np.where(logits >= least, logits, -np.inf)
        scaled = (logits - logits.max(axis=1, keepdims=True)) / np.float32(self.temperature)
        weights = np.exp(scaled, dtype=np.float64)
        if self.top_p < 1:
            order = np.argsort(-weights, axis=1, kind="stable")
            ordered = np.take_along_axis(weights, order, axis=1)
            before = np.cumsum(ordered, axis=1) - ordered
            ordered[before >= self.top_p * ordered.sum(axis=1, keepdims=True)] = 0.0
            np.put_along_axis(weights, order, ordered, axis=1)
        reached = weights.cumsum(axis=1)
        return np.asarray((reached > uniforms[:, None] * reached[:, -1:]).argmax(axis=1))

    def _penalised(self, logits: Array, recent: Array) -> Array:
        rows, columns = np.nonzero(recent >= 0)
        tokens = recent[rows, columns]
        log_probabilities = _log_softmax(logits)
        changed = log_probabilities.copy()
        changed[rows, tokens] = log_probabilities[rows, tokens] * self.repetition_penalty
        return changed


def generate(
    stepper: LanguageStepper,
    prompt: Array,
    sampling: Sampling,
    *,
    samples: int = 1,
    forbidden: Sequence[int] = (),
) -> Iterator[Array]:
    """Go on from a prompt, forever and in constant memory.

    A sample is the same whether it is drawn alone or beside others.

    Args:
        stepper: The model.
        prompt: Tokens to begin with, shape (T,), at least one.
        sampling: How to draw.
        samples: B, continuations to draw side by side.
        forbidden: Tokens that must not come.

    Yields:
        The next token of each sample, shape (B,).
    """
    randoms = [np.random.default_rng((sampling.seed, number)) for number in range(samples)]
    barred = np.zeros(stepper.vocabulary_size, np.float32)
    barred[list(forbidden)] = -np.inf
    recent = np.full((samples, 64), -1, np.int64)
    last = prompt[-64:]
    recent[:, : len(last)] = last
    place = len(last)
    logits, state = stepper.read(np.asarray(prompt, np.int64)[None], stepper.zero_state(1))
    logits = np.repeat(logits, samples, axis=0)
    state = tuple(tuple(np.repeat(part, samples, axis=0) for part in layer) for layer in state)
    while True:
        uniforms = np.stack([random.random(_UNIFORMS) for random in randoms], axis=1)
        for draws in uniforms:
            tokens = sampling.choose(logits + barred, draws, recent)
            recent[:, place % 64] = tokens
            place += 1
            yield tokens
            logits, state = stepper.step(tokens, state)


def _with_output(wiring: Wiring, width: int) -> Wiring:
    """The wiring with a linear output layer on top."""
    layer = Layer("linear", wiring.output_size, width, ("a",), ("h",), carries_state=False)
    return dataclasses.replace(wiring, layers=(*wiring.layers, layer), has_output=True)


def _log_softmax(x: Array) -> Array:
    shifted = x - x.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
