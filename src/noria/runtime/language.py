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

__all__ = [
    "LanguageOutput",
    "LanguageStepper",
    "RunningText",
    "Sampling",
    "generate",
    "log_softmax",
]

Array = NDArray[Any]

_UNIFORMS = 1024


class LanguageStepper:
    """Steps a language model on numpy arrays.

    The embedding is multiplied into the first layer's weights once, so that a token picks a column
    of them; the linear output layer runs as a layer of the network, in the same native call.

    Args:
        plan: `noria.modules.language.LanguagePlan` as plain JSON values.
        weights: Arrays by name.
        int8: Round the network's weights to eight bits: faster where it is large, a little off.

    Attributes:
        vocabulary_size: V.

    Raises:
        ModelFileError: if the weights are not those of the plan.
    """

    def __init__(
        self, plan: Mapping[str, Any], weights: Mapping[str, Array], *, int8: bool = False
    ) -> None:
        try:
            wiring = Wiring.from_dict(plan["wiring"])
            self.vocabulary_size = int(plan["vocabulary_size"])
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
            below = own["layers.0.weight_ih"]
            own["layers.0.weight_ih"] = kernels.linear(below, weights["embedding.weight"], None)
        except KeyError as error:
            raise ModelFileError(f"the language model lacks {error}") from error
        first = dataclasses.replace(wiring.layers[0], input_size=self.vocabulary_size)
        wiring = dataclasses.replace(
            wiring, input_size=self.vocabulary_size, layers=(first, *wiring.layers[1:])
        )
        self._network = NetworkStepper(wiring, own, int8=int8)

    def start(self, batch_size: int) -> RunningText:
        """B texts at their beginning."""
        return RunningText(self._network.running(batch_size), self._adaptive)


class RunningText:
    """Texts that are read, or written, a token at a time.

    Args:
        network: The network, with the texts' states.
        adaptive: What makes log-probabilities of its output; None where these are the output.
    """

    def __init__(self, network: kernels.Stepper, adaptive: _AdaptiveSoftmax | None) -> None:
        self._network = network
        self._adaptive = adaptive

    @property
    def state(self) -> NetworkState:
        """States of all layers, each (B, H); copies."""
        return self._network.state

    @state.setter
    def state(self, state: NetworkState) -> None:
        self._network.state = state

    def read(self, tokens: Array) -> Array:
        """Read one token of each text.

        Args:
            tokens: int64, shape (B,).

        Returns:
            Unnormalised log-probabilities of what comes next, shape (B, V).
        """
        y = self._network.step_index(tokens)
        return y if self._adaptive is None else self._adaptive(y)


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
        head = log_softmax(kernels.linear(hidden, self._head, None))
        parts = [head[:, : self._shortlist]]
        for number, (down, up) in enumerate(self._tails):
            inside = log_softmax(kernels.linear(kernels.linear(hidden, down, None), up, None))
            parts.append(head[:, self._shortlist + number, None] + inside)
        return np.concatenate(parts, axis=1)


class LanguageOutput:
    """What comes next, from the last layer's h.

    Args:
        plan: `noria.modules.language.LanguagePlan` as plain JSON values.
        weights: Arrays by name.
    """

    def __init__(self, plan: Mapping[str, Any], weights: Mapping[str, Array]) -> None:
        self._adaptive: _AdaptiveSoftmax | None = None
        if plan["cutoffs"]:
            self._adaptive = _AdaptiveSoftmax(plan["cutoffs"], weights)
            return
        name = "embedding.weight" if plan["tied"] else "output.weight"
        self._linear = np.ascontiguousarray(weights[name]), weights["output.bias"]

    def __call__(self, hidden: Array) -> Array:
        """Unnormalised log-probabilities (B, V) of h (B, H)."""
        if self._adaptive is not None:
            return self._adaptive(hidden)
        return kernels.linear(hidden, *self._linear)


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
        if recent is not None:
            logits = self._penalised(logits, recent)
        if self.temperature == 0:
            return np.asarray(logits.argmax(axis=1))
        if len(logits) == 1 and self.top_k is None and self.top_p == 1:
            return self._draw(logits[0], float(uniforms[0]))
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

    def _draw(self, logits: Array, uniform: float) -> Array:
        """What `choose` does, for one row from which nothing is taken out, at a third of the time.

        Args:
            logits: Shape (V,).
            uniform: From 0 up to 1.
        """
        scaled = logits - logits.max()
        if self.temperature != 1:
            scaled /= np.float32(self.temperature)
        reached = np.exp(scaled.astype(np.float64)).cumsum()
        found: Array = reached.searchsorted([uniform * reached[-1]], side="right")
        return found

    def _penalised(self, logits: Array, recent: Array) -> Array:
        rows, columns = np.nonzero(recent >= 0)
        tokens = recent[rows, columns]
        log_probabilities = log_softmax(logits)
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
    reader, writer = stepper.start(1), stepper.start(samples)
    for token in prompt:
        logits = reader.read(np.array([token]))
    logits = np.repeat(logits, samples, axis=0)
    writer.state = tuple(
        tuple(np.repeat(part, samples, axis=0) for part in layer) for layer in reader.state
    )
    penalised = sampling.repetition_penalty != 1
    while True:
        uniforms = np.stack([random.random(_UNIFORMS) for random in randoms], axis=1)
        for draws in uniforms:
            logits += barred
            tokens = sampling.choose(logits, draws, recent if penalised else None)
            if penalised:
                recent[:, place % 64] = tokens
                place += 1
            yield tokens
            logits = writer.read(tokens)


def _with_output(wiring: Wiring, width: int) -> Wiring:
    """The wiring with a linear output layer on top."""
    layer = Layer("linear", wiring.output_size, width, ("a",), ("h",), carries_state=False)
    return dataclasses.replace(wiring, layers=(*wiring.layers, layer), has_output=True)


def log_softmax(x: Array) -> Array:
    """Log-probabilities of unnormalised ones, shape (B, V)."""
    shifted = x - x.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
