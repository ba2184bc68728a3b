"""A translating model without torch: sources are read once, targets written step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria import kernels
from noria.errors import ModelFileError
from noria.runtime.beam import Hypothesis, beam_search
from noria.runtime.stepper import NetworkState, NetworkStepper
from noria.wiring import Wiring

__all__ = ["DecoderState", "TranslationStepper"]

Array = NDArray[Any]

_ROLES = ("weight_ih", "bias_ih", "bias_hh")
_SLACK = 10


@dataclasses.dataclass(frozen=True)
class DecoderState:
    """All that the next step needs; rows of every array belong together.

    Attributes:
        network: Of the decoder.
        fed: What was attended to at the step before, shape (B, E).
        values: The memory, shape (B, S, K).
        keys: What the attention compares with, shape (B, S, ·).
        absent: 0 where there is a source token, −∞ where not, shape (B, S).
    """

    network: NetworkState
    fed: Array
    values: Array
    keys: Array
    absent: Array

    def take(self, rows: Array) -> DecoderState:
        """The rows with these numbers."""
        return DecoderState(
            tuple(tuple(part[rows] for part in layer) for layer in self.network),
            self.fed[rows],
            self.values[rows],
            self.keys[rows],
            self.absent[rows],
        )


class TranslationStepper:
    """Runs a translating model on numpy arrays.

    Args:
        plan: `noria.modules.translate.TranslatePlan` as plain JSON values.
        weights: Arrays by name.

    Raises:
        ModelFileError: if the weights are not those of the plan.
    """

    def __init__(self, plan: Mapping[str, Any], weights: Mapping[str, Array]) -> None:
        def under(prefix: str) -> dict[str, Array]:
            return {
                name.removeprefix(prefix): array
                for name, array in weights.items()
                if name.startswith(prefix)
            }

        try:
            self._encoder = _directions(Wiring.from_dict(plan["encoder"]), under("encoder."))
            self._decoder = NetworkStepper(Wiring.from_dict(plan["decoder"]), under("decoder."))
            self._feeding = bool(plan["input_feeding"])
            self._embedding = np.ascontiguousarray(weights["embedding.weight"])
            self._bridge = weights["bridge.weight"], weights["bridge.bias"]
            self._key = weights["attention.key.weight"]
            self._additive = None
            if plan["attention"] == "additive":
                query = weights["attention.query.weight"], weights["attention.query.bias"]
                self._additive = (*query, weights["attention.score.weight"][0])
            self._combine = weights["combine.weight"]
            output = self._embedding if plan["tied"] else weights["output.weight"]
            bias = weights["output.bias"]
            self._output = kernels.pack("linear", output, None, bias, np.zeros_like(bias))
        except KeyError as error:
            raise ModelFileError(f"the translating model lacks {error}") from error

    def encode(self, sources: Sequence[Array]) -> DecoderState:
        """Read sources.

        Args:
            sources: Tokens of each, B arrays (S_i,), at least one token each.
        """
        lengths = np.array([len(source) for source in sources])
        tokens = np.zeros((len(sources), lengths.max()), np.int64)
        for row, source in enumerate(sources):
            tokens[row, : len(source)] = source
        values, last = self._encode(self._embedding[tokens], lengths)
        begin = np.tanh(kernels.linear(last, *self._bridge))
        zeros = self._decoder.zero_state(len(sources))
        sizes = [layer.hidden_size for layer in self._decoder.wiring.layers]
        parts = np.split(begin, np.cumsum(sizes)[:-1], axis=1)
        network = tuple(
            (np.ascontiguousarray(part), *layer[1:])
            for part, layer in zip(parts, zeros, strict=True)
        )
        absent = np.where(np.arange(tokens.shape[1]) < lengths[:, None], 0.0, -np.inf)
        return DecoderState(
            network,
            np.zeros((len(sources), self._embedding.shape[1]), values.dtype),
            values,
            kernels.linear(values, self._key, None),
            absent.astype(values.dtype),
        )

    def step(self, tokens: Array, state: DecoderState) -> tuple[Array, Array, DecoderState]:
        """Write one token of each target.

        Args:
            tokens: Those written before, shape (B,).
            state: State before; it is not changed.

        Returns:
            Log-probabilities of what comes next, shape (B, V); the attention's weights, shape
            (B, S); and the new state.
        """
        x = self._embedding[tokens]
        if self._feeding:
            x = np.concatenate([x, state.fed], axis=1)
        hidden, network = self._decoder.step(x, state.network)
        scores = self._scores(hidden, state.keys) + state.absent
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        context = (weights[:, None] @ state.values)[:, 0]
        attended = np.tanh(
            kernels.linear(np.concatenate([context, hidden], axis=1), self._combine, None)
        )
        logits = self._logits(attended)
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logits, weights, dataclasses.replace(state, network=network, fed=attended)

    def search(
        self,
        sources: Sequence[Array],
        *,
        begin: int,
        end: int,
        beam_size: int,
        length_penalty: float,
        n_best: int = 1,
        forbidden: Sequence[int] = (),
        longest: int = 1000,
    ) -> list[list[Hypothesis]]:
        """Translate sources side by side; targets may be twice as long and ten tokens more.

        Args:
            sources: Tokens of each, B arrays (S_i,), at least one token each.
            begin: See `beam_search`, as the others.
            end: The mark that ends a target.
            beam_size: Targets kept open.
            length_penalty: Power of the length.
            n_best: Targets wanted of each source.
            forbidden: Tokens that must not come.
            longest: Tokens of a target at the most, however long its source is.
        """
        return beam_search(
            self.step,
            self.encode(sources),
            DecoderState.take,
            [min(2 * len(source) + _SLACK, longest) for source in sources],
            begin=begin,
            end=end,
            beam_size=beam_size,
            length_penalty=length_penalty,
            n_best=n_best,
            forbidden=forbidden,
        )

    def _logits(self, attended: Array) -> Array:
        zeros = np.zeros((len(attended), self._output.hidden_size), attended.dtype)
        return kernels.scan_packed(self._output, attended[:, None], (zeros,)).y[:, 0]

    def _scores(self, hidden: Array, keys: Array) -> Array:
        """How well each step of the memory answers the queries (B, Q): shape (B, S)."""
        if self._additive is None:
            return np.asarray((keys @ hidden[:, :, None])[:, :, 0])
        weight, bias, score = self._additive
        return np.asarray(np.tanh(keys + kernels.linear(hidden, weight, bias)[:, None]) @ score)

    def _encode(self, x: Array, lengths: Array) -> tuple[Array, Array]:
        """All layers in both directions: h of the last (B, S, K), and its last ones (B, K)."""
        steps = np.arange(x.shape[1])
        backwards = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
        for forward, reverse in self._encoder:
            y, (end, *_) = _scan(forward, x, lengths)
            back = np.take_along_axis(x, backwards[:, :, None], axis=1)
            other, (begin, *_) = _scan(reverse, back, lengths)
            other = np.take_along_axis(other, backwards[:, :, None], axis=1)
            x, ends = np.concatenate([y, other], axis=2), np.concatenate([end, begin], axis=1)
        return x, ends


def _scan(stepper: NetworkStepper, x: Array, lengths: Array) -> tuple[Array, tuple[Array, ...]]:
    y, (state,) = stepper.scan(x, stepper.zero_state(len(x)), lengths)
    return y, state


def _directions(
    wiring: Wiring, weights: Mapping[str, Array]
) -> list[tuple[NetworkStepper, NetworkStepper]]:
    """Of each layer of a network in both directions of time, a network for each of them."""

    def network(index: int, prefix: str) -> NetworkStepper:
        edges = [dataclasses.replace(e, target=0, source=0) for e in wiring.edges_into(index)]
        layer = wiring.layers[index]
        alone = Wiring(
            layer.input_size,
            (layer,),
            tuple(edges),
            has_output=False,
            share_layers=False,
            bidirectional=False,
        )
        names = {f"layers.0.{role}": f"{prefix}{role}" for role in _ROLES}
        if edges:
            names["layers.0.weight_hh.0"] = f"{prefix}weight_hh.{index}"
        own = {name: weights[wiring.owner(old)] for name, old in names.items()}
        return NetworkStepper(alone, own)

    pairs = []
    for index in range(len(wiring.layers)):
        forward, reverse = wiring.directions(index)
        pairs.append((network(index, forward), network(index, reverse)))
    return pairs
