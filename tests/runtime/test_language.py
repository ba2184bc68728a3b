from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from noria.errors import ModelFileError, UsageError
from noria.modules.language import LanguageModule, LanguagePlan
from noria.runtime.language import LanguageStepper, Sampling, generate

SIZE = 13
KINDS: list[dict[str, Any]] = [
    {},
    {"cell": "gru", "num_layers": 2},
    {"feedback": "full", "num_layers": 2},
    {"tied": True},
    {"cutoffs": (4, 8)},
    {"cell": "gru", "cutoffs": (4,), "num_layers": 2},
]


def module(
    cell: str = "lstm", num_layers: int = 1, feedback: str = "direct+lateral", **options: Any
) -> LanguageModule:
    torch.manual_seed(0)
    plan = LanguagePlan.build(SIZE, cell, 6, 16, num_layers, feedback, **options)
    net = LanguageModule(plan).eval()
    with torch.no_grad():  # likely and unlikely tokens, as a trained model has
        for parameter in net.parameters():
            parameter.mul_(2.0)
    return net


def stepper(net: LanguageModule, **options: bool) -> LanguageStepper:
    weights = {name: p.detach().numpy() for name, p in net.named_parameters()}
    return LanguageStepper(net.plan.to_dict(), weights, **options)


@torch.no_grad()
def log_probabilities(net: LanguageModule, tokens: np.ndarray) -> np.ndarray:
    """What torch says comes next after each token, shape (B, T, V)."""
    hidden, _, _ = net(torch.from_numpy(tokens))
    flat = hidden.flatten(0, 1)
    columns = [net.losses(flat, torch.full((len(flat),), v)) for v in range(SIZE)]
    return -torch.stack(columns, dim=1).reshape(*tokens.shape, SIZE).numpy()


def normalised(logits: np.ndarray) -> np.ndarray:
    return functional.log_softmax(torch.from_numpy(logits), dim=1).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_reads_as_torch_does(kind: dict[str, Any]) -> None:
    net = module(**kind)
    tokens = np.random.default_rng(0).integers(0, SIZE, (3, 20))
    expected = log_probabilities(net, tokens)
    texts = stepper(net).start(3)
    for t in range(20):
        found = normalised(texts.read(tokens[:, t].copy()))
        np.testing.assert_allclose(found, expected[:, t], atol=2e-5)


def test_eight_bits_are_a_little_off() -> None:
    net = module("gru", 2)
    tokens = np.random.default_rng(0).integers(0, SIZE, (3, 20))
    exact, rounded = stepper(net).start(3), stepper(net, int8=True).start(3)
    differences = [exact.read(row) - rounded.read(row) for row in tokens.T.copy()]
    assert 0 < np.abs(differences).max() < 0.5


def test_a_state_can_be_taken_and_put_back() -> None:
    texts = stepper(module()).start(2)
    texts.read(np.array([1, 2]))
    kept = texts.state
    one = texts.read(np.array([3, 4])).copy()
    texts.read(np.array([5, 6]))
    texts.state = kept
    assert texts.read(np.array([3, 4])).tobytes() == one.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_likeliest_text_is_torchs(kind: dict[str, Any]) -> None:
    net = module(**kind)
    steps = generate(stepper(net), np.array([1, 5]), Sampling(temperature=0))
    found = [1, 5, *(int(token[0]) for token in itertools.islice(steps, 25))]
    expected = log_probabilities(net, np.array([found]))[0]
    for before, token in enumerate(found[2:], 1):
        assert expected[before, token] > expected[before].max() - 1e-4


def test_draws_follow_the_probabilities() -> None:
    """Counts over many samples after one prompt lie where chance allows."""
    net = module("gru")
    count = 4000
    expected = np.exp(log_probabilities(net, np.array([[1, 5]]))[0, -1].astype(float))
    tokens = next(generate(stepper(net), np.array([1, 5]), Sampling(seed=3), samples=count))
    counts = np.bincount(tokens, minlength=SIZE)
    error = (counts - count * expected) / np.sqrt(count * expected * (1 - expected) + 1)
    assert np.abs(error).max() < 4


def test_a_sample_is_the_same_alone_and_beside_others() -> None:
    writer = stepper(module())

    def texts(samples: int, seed: int) -> list[list[int]]:
        steps = generate(writer, np.array([1]), Sampling(seed=seed), samples=samples)
        return np.stack(list(itertools.islice(steps, 1100)), axis=1).tolist()

    three = texts(3, 7)
    assert texts(1, 7) == three[:1]
    assert texts(2, 7) == three[:2]
    assert three[0] != three[1]
    assert texts(1, 8) != three[:1]


def test_what_is_forbidden_never_comes() -> None:
    for sampling in (Sampling(), Sampling(temperature=0), Sampling(repetition_penalty=1.5)):
        forbidden = [0, 1, 2, 5, 7]
        steps = generate(stepper(module()), np.array([4]), sampling, samples=5, forbidden=forbidden)
        tokens = np.stack(list(itertools.islice(steps, 200)))
        assert not set(tokens.ravel().tolist()) & set(forbidden)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature is -1: it must be 0 or more"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0: it must be at least 1"),
        ({"top_p": 0}, "top_p is 0: it must be above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0: it must be above 0"),
        ({"seed": -1}, "seed is -1: it must be at least 0"),
    ],
)
def test_what_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Sampling(**options)


def test_weights_of_another_plan_are_refused() -> None:
    net = module()
    weights = {name: p.detach().numpy() for name, p in net.named_parameters()}
    del weights["output.bias"]
    with pytest.raises(ModelFileError, match=r"lacks 'output\.bias'"):
        LanguageStepper(net.plan.to_dict(), weights)
