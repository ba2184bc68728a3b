from __future__ import annotations

from typing import Any

import pytest
import torch

from noria.errors import UsageError
from noria.modules.attention import ATTENTIONS, Attention
from noria.modules.translate import TranslateModule, TranslatePlan

SOURCE = torch.tensor([[4, 5, 6, 7, 8], [9, 4, 0, 0, 0], [5, 5, 5, 0, 0]])
LENGTHS = torch.tensor([5, 2, 3])
TARGET = torch.tensor([[2, 7, 6, 5], [2, 4, 4, 8], [2, 9, 9, 9]])


def module(cell: str = "lstm", layers: int = 1, **options: Any) -> TranslateModule:
    torch.manual_seed(0)
    plan = TranslatePlan.build(10, cell, 6, 8, layers, "direct+lateral", **options)
    assert TranslatePlan.from_dict(plan.to_dict()) == plan
    return TranslateModule(plan).eval()


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_attention_by_its_formula(kind: str) -> None:
    torch.manual_seed(0)
    attention = Attention(kind, 3, 4, 5)
    query, memory = torch.randn(2, 2, 3), torch.randn(2, 6, 4)
    present = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    context, weights = attention(query, attention.keys(memory), memory, present)
    for row, count in enumerate([6, 2]):
        for q in range(2):
            scores = []
            for k in memory[row, :count]:
                if kind == "multiplicative":
                    scores.append(query[row, q] @ (attention.key.weight @ k))
                else:
                    assert attention.query is not None
                    assert attention.score is not None
                    mixed = attention.key.weight @ k + attention.query(query[row, q])
                    scores.append(attention.score.weight[0] @ mixed.tanh())
            expected = torch.stack(scores).softmax(dim=0)
            torch.testing.assert_close(weights[row, q, :count], expected)
            assert (weights[row, q, count:] == 0).all()
            torch.testing.assert_close(context[row, q], expected @ memory[row, :count])


def test_there_are_two_kinds_of_attention() -> None:
    with pytest.raises(UsageError, match="attention is 'dot', expected one of multiplicative"):
        Attention("dot", 2, 2, 2)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    "options", [{}, {"attention": "additive"}, {"input_feeding": False}, {"tied": False}]
)
def test_padding_never_shows(cell: str, layers: int, options: dict[str, Any]) -> None:
    net = module(cell, layers, **options)
    together, weights = net(SOURCE, LENGTHS, TARGET)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, own = net(SOURCE[row : row + 1, :length], LENGTHS[row : row + 1], TARGET[[row]])
        torch.testing.assert_close(together[row], alone[0])
        torch.testing.assert_close(weights[row, :, :length], own[0])
        assert (weights[row, :, length:] == 0).all()
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 4))


@pytest.mark.parametrize("feeding", [True, False])
def test_a_target_is_written_from_left_to_right(feeding: bool) -> None:
    net = module(input_feeding=feeding)
    changed = TARGET.clone()
    changed[:, 2:] = 3
    one, other = net(SOURCE, LENGTHS, TARGET)[0], net(SOURCE, LENGTHS, changed)[0]
    torch.testing.assert_close(one[:, :2], other[:, :2])
    assert not torch.allclose(one[:, 2:], other[:, 2:])


def test_input_feeding_lets_the_next_step_know_what_was_looked_at() -> None:
    """With it a(t − 1) reaches h(t): the network at the same tokens, told by hand."""
    net = module()
    attended, _ = net(SOURCE, LENGTHS, TARGET)
    memory, state = net.encode(SOURCE, LENGTHS)
    fed = torch.zeros(3, 6)
    for t in range(TARGET.shape[1]):
        x = torch.cat([net.embedding(TARGET[:, t]), fed], dim=1)
        hidden, state = net.decoder.step(x, state)
        context, _ = net.attention(hidden[:, None], memory.keys, memory.values, memory.present)
        fed = net.combine(torch.cat([context[:, 0], hidden], dim=1)).tanh()
        torch.testing.assert_close(attended[:, t], fed)


def test_the_decoder_begins_with_what_both_directions_read_last() -> None:
    net = module("gru")
    _, state = net.encode(SOURCE, LENGTHS)
    begins = net.encoder(net.embedding(SOURCE[1:2, :2]))[1][0]
    expected = net.bridge(torch.cat(begins, dim=1)).tanh()
    torch.testing.assert_close(state[0][0][1:2], expected)


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_reach_every_weight(tied: bool) -> None:
    net = module(attention="additive", tied=tied)
    attended, _ = net(SOURCE, LENGTHS, TARGET)
    net.output(attended).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name
    assert (net.output.weight is net.embedding.weight) == tied
