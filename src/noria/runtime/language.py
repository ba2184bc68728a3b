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
_RECENT = 64
_AT_ONCE = 32  # tokens of a native call; fewer at first, so that the first comes soon


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

    def write(
        self,
        sampling: Sampling,
        logits: Array,
        uniforms: Array,
        *,
        barred: Array,
        recent: Array,
        written: int,
    ) -> Array:
        """Draw N tokens of each text and read each of them; see `noria.kernels.Stepper.write`.

        Args:
            sampling: How to draw.
            logits: What `read` gave, shape (B, V); becomes what comes next after the last.
            uniforms: Random numbers from 0 up to 1, shape (N, B).
            barred: −∞ for tokens that must not come, 0 for the others, shape (V,).
            recent: Tokens to penalise, shape (B, R), a ring; −1 for none.
            written: How many tokens stood in the ring so far.

        Returns:
            Shape (N, B).
        """
        how = sampling.draw
        if self._adaptive is None:
            return self._network.write(
                how, logits, uniforms, barred=barred, recent=recent, written=written
            )
        tokens = np.empty(uniforms.shape, np.int64)
        for step, draws in enumerate(uniforms):
            tokens[step] = kernels.draw(how, logits + barred, draws, recent)
            recent[:, (written + step) % recent.shape[1]] = tokens[step]
            logits[:] = self.read(tokens[step])
        return tokens


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
            raise UsageError(f"temperature is {self.temperature}: it must be 0 or more, and finite")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k is {self.top_k}: it must be at least 1")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is {self.top_p}: it must be above 0 and at most 1")
        if not 0 < self.repetition_penalty < float("inf"):
            raise UsageError(f"repetition_penalty is {self.repetition_penalty}: it must be above 0")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}: it must be at least 0")

    @property
    def draw(self) -> kernels.Draw:
        """As the kernels take it."""
        return kernels.Draw(self.temperature, self.top_k or 0, self.top_p, self.repetition_penalty)


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
    recent = np.full((samples, _RECENT), -1, np.int64)
    last = prompt[-_RECENT:]
    recent[:, : len(last)] = last
    written = len(last)
    reader, writer = stepper.start(1), stepper.start(samples)
    for token in prompt:
        logits = reader.read(np.array([token]))
    logits = np.repeat(logits, samples, axis=0)
    writer.state = tuple(
        tuple(np.repeat(part, samples, axis=0) for part in layer) for layer in reader.state
    )
    at_once = 1
    while True:
        uniforms = np.stack([random.random(_UNIFORMS) for random in randoms], axis=1)
        while len(uniforms):
            draws, uniforms = uniforms[:at_once], uniforms[at_once:]
            yield from writer.write(
                sampling, logits, draws, barred=barred, recent=recent, written=written
            )
            written += len(draws)
            at_once = min(2 * at_once, _AT_ONCE)


def _with_output(wiring: Wiring, width: int) -> Wiring:
    """The wiring with a linear output layer on top."""
    layer = Layer("linear", wiring.output_size, width, ("a",), ("h",), carries_state=False)
    return dataclasses.replace(wiring, layers=(*wiring.layers, layer), has_output=True)


def log_softmax(x: Array) -> Array:
    """Log-probabilities of unnormalised ones, shape (B, V)."""
    shifted = x - x.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
