from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from noria.modules.language import LanguageModule, LanguagePlan
from noria.training.language import feed_forward_plan
from noria.training.streams import Stream, StreamObjective, adapting_loss, stream_loss

SIZE = 7


def module(cutoffs: tuple[int, ...] = (), cell: str = "lstm") -> LanguageModule:
    torch.manual_seed(0)
    plan = LanguagePlan.build(SIZE, cell, 4, 16, 1, "direct+lateral", cutoffs=cutoffs)
    return LanguageModule(plan).eval()


def stream(count: int, seed: int = 0, skip: float = 0.0) -> Stream:
    random = np.random.default_rng(seed)
    return random.integers(0, SIZE, count), random.random(count) >= skip


def objective(count: int = 100, **options: Any) -> StreamObjective:
    settings: dict[str, Any] = {"batch_size": 3, "stretch": 8} | options
    training = (np.arange(count), np.ones(count, np.bool_))
    return StreamObjective(module(), training, stream(50), **settings)


def test_a_round_reads_rows_of_the_ring_on_and_on() -> None:
    task = objective()
    assert task.per_round == 100 // 24
    rows: list[list[int]] = [[], [], []]
    for step in range(task.per_round):
        (tokens, targets, counts), continues = task.batch(step)
        assert tokens.shape == targets.shape == counts.shape == (3, 8)
        assert continues == (step > 0)
        assert torch.equal((tokens + 1) % 100, targets)
        for row, part in zip(rows, tokens.tolist(), strict=True):
            row.extend(part)
    for row in rows:
        assert row == [(row[0] + i) % 100 for i in range(32)]
    begins = [row[0] for row in rows]
    assert [(b - begins[0]) % 100 for b in begins] == [0, 33, 66]
    assert not task.batch(task.per_round)[1]  # the next round begins elsewhere, from nothing
    assert int(task.batch(task.per_round)[0][0][0, 0]) != begins[0]


def test_a_text_shorter_than_a_batch_is_read_in_fewer_and_shorter_rows() -> None:
    task = objective(count=5, batch_size=4, stretch=64)
    (tokens, targets, _), _ = task.batch(0)
    assert tokens.shape == (2, 2)
    assert torch.equal((tokens + 1) % 5, targets)


def test_what_is_not_to_be_foretold_costs_nothing() -> None:
    net, (tokens, foretold) = module(), stream(40, skip=0.5)
    task = StreamObjective(net, (tokens, foretold), stream(50), batch_size=2, stretch=8)
    batch, _ = task.batch(0)
    hidden = net(batch[0])[0]
    losses = net.losses(hidden.flatten(0, 1), batch[1].flatten())
    expected = losses[batch[2].flatten()].mean()
    torch.testing.assert_close(task.loss(batch, None)[0], expected)


def test_penalties_are_added_to_the_loss() -> None:
    plain, weighed = objective(), objective(activation_penalty=2.0, temporal_penalty=3.0)
    tokens = torch.randint(0, SIZE, (3, 8))
    batch = (tokens, tokens, torch.ones(3, 8, dtype=torch.bool))
    hidden = plain.module(tokens)[0]
    expected = plain.loss(batch, None)[0] + 2 * hidden.square().mean()
    expected = expected + 3 * (hidden[:, 1:] - hidden[:, :-1]).square().mean()
    torch.testing.assert_close(weighed.loss(batch, None)[0], expected)


@pytest.mark.parametrize("cutoffs", [(), (2, 4)])
def test_the_loss_of_a_text_is_the_mean_over_its_tokens(cutoffs: tuple[int, ...]) -> None:
    net, text = module(cutoffs), stream(700, skip=0.3)
    tokens, foretold = (torch.from_numpy(part) for part in text)
    with torch.no_grad():
        losses = net.losses(net(tokens[None, :-1])[0][0], tokens[1:])
    expected = float(losses[foretold[1:]].double().mean())
    assert stream_loss(net, text) == pytest.approx(expected, rel=1e-6)
    assert stream_loss(net, text, rows=2) == pytest.approx(expected, rel=0.02)


def test_reading_in_rows_leaves_out_less_than_a_row_holds() -> None:
    """Two rows of a text of known cost: each begins with a token that is given."""
    net, (tokens, foretold) = module(), stream(513)
    net(torch.zeros(1, 1, dtype=torch.long))
    halves = [stream_loss(net, (tokens[i : i + 257], foretold[i : i + 257])) for i in (0, 256)]
    assert stream_loss(net, (tokens, foretold), rows=2) == pytest.approx(np.mean(halves), rel=1e-6)


def test_adapting_by_the_rule_on_two_stretches() -> None:
    net, text = module(), stream(5, seed=1)
    tokens = torch.from_numpy(text[0])
    rate, decay = 1e-2, 1e-1
    hidden, _, state = net(tokens[None, :2])
    losses = net.losses(hidden[0], tokens[1:3])
    gradients = torch.autograd.grad(losses.mean(), list(net.parameters()))
    moved = module()
    with torch.no_grad():
        for weight, gradient in zip(moved.parameters(), gradients, strict=True):
            square = gradient.square()
            origin = weight.clone()
            scale = square.sqrt() + 0.1 * square.mean().sqrt() + 1e-8
            weight.sub_(rate * gradient / scale)
            weight.add_(decay * (origin - weight))
        second = moved.losses(moved(tokens[None, 2:4], state)[0][0], tokens[3:])
    expected = float(torch.cat([losses.detach(), second]).mean())
    before = [p.detach().clone() for p in net.parameters()]
    found = adapting_loss(net, text, learning_rate=rate, decay=decay, stretch=2)
    assert found == pytest.approx(expected, rel=1e-5)
    for one, other in zip(net.parameters(), before, strict=True):
        assert torch.equal(one, other)


def test_adapting_learns_what_repeats_itself() -> None:
    text = (np.tile([1, 5, 2, 2, 6], 300), np.ones(1500, np.bool_))
    net = module()
    plain = stream_loss(net, text)
    assert adapting_loss(net, text, learning_rate=1e-2, decay=0.0) < plain - 0.5
    assert adapting_loss(net, text, learning_rate=1e-12, decay=0.0) == pytest.approx(plain, 1e-3)


@pytest.mark.parametrize("tied", [True, False])
def test_the_rival_has_about_as_many_weights_and_no_memory(tied: bool) -> None:
    plan = LanguagePlan.build(50, "gru", 16, 64, 2, "direct+lateral", tied=tied)
    wanted = LanguageModule(plan).parameter_count
    rival = feed_forward_plan(plan, 8, wanted)
    assert rival.window == 8
    assert not any(rival.wiring.edges_into(i) for i in range(len(rival.wiring.layers)))
    assert abs(LanguageModule(rival).parameter_count / wanted - 1) < 0.02
    assert math.isfinite(stream_loss(LanguageModule(rival).eval(), stream(600)))
