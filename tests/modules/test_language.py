from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from noria.errors import UsageError
from noria.modules.language import LanguageModule, LanguagePlan


def plan(**options: Any) -> LanguagePlan:
    feedback = "none" if "window" in options else "direct+lateral"
    built = LanguagePlan.build(11, "lstm", 6, 17, 2, feedback, **options)
    assert LanguagePlan.from_dict(built.to_dict()) == built
    return built


def module(built: LanguagePlan, **options: Any) -> LanguageModule:
    torch.manual_seed(0)
    return LanguageModule(built, **options).eval()


TOKENS = torch.tensor([[1, 4, 10, 4, 2, 7], [0, 0, 3, 9, 9, 5]])


@pytest.mark.parametrize("options", [{}, {"tied": True}, {"cutoffs": (3, 6)}, {"window": 3}])
def test_the_state_carries_all_that_came_before(options: dict[str, Any]) -> None:
    net = module(plan(**options))
    whole, _, last = net(TOKENS)
    first, _, state = net(TOKENS[:, :2])
    second, _, state = net(TOKENS[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    for one, other in zip(state, last, strict=True):
        torch.testing.assert_close(one, other)


def test_nothing_is_foretold_from_what_comes_later() -> None:
    for options in ({}, {"window": 3}):
        net = module(plan(**options))
        changed = TOKENS.clone()
        changed[:, 3:] = 8
        torch.testing.assert_close(net(TOKENS)[0][:, :3], net(changed)[0][:, :3])


def test_a_window_sees_so_many_tokens_and_no_more() -> None:
    net = module(plan(window=3))
    before, after = TOKENS.clone(), TOKENS.clone()
    before[:, 2] = 8
    after[:, 3] = 8
    wanted = net(TOKENS)[0][:, 5]
    torch.testing.assert_close(net(before)[0][:, 5], wanted)
    assert not torch.allclose(net(after)[0][:, 5], wanted)


@pytest.mark.parametrize("options", [{}, {"tied": True}, {"cutoffs": (3, 6)}])
def test_losses_are_those_of_a_distribution(options: dict[str, Any]) -> None:
    net = module(plan(**options))
    hidden = net(TOKENS)[0][:, -1]
    losses = torch.stack([net.losses(hidden, torch.full((2,), token)) for token in range(11)])
    torch.testing.assert_close((-losses).exp().sum(dim=0), torch.ones(2))
    if net.output is not None:
        expected = -functional.log_softmax(net.output(hidden), dim=1).T
        torch.testing.assert_close(losses, expected)


def test_tied_weights_are_one_matrix_counted_once() -> None:
    tied, loose = module(plan(tied=True)), module(plan())
    assert tied.output is not None
    assert tied.output.weight is tied.embedding.weight
    assert tied.plan.wiring.output_size == 6  # as wide as the embedding
    names = [name for name, _ in tied.named_parameters()]
    assert "output.weight" not in names
    recurrent = sum(p.numel() for p in tied.network.parameters())
    assert tied.parameter_count == recurrent + 11 * 6 + 11
    assert loose.parameter_count > sum(p.numel() for p in loose.network.parameters()) + 11 * 6 + 11


@pytest.mark.parametrize("cutoffs", [(0, 3), (4, 4), (5, 3), (3, 11)])
def test_cutoffs_rise_within_the_vocabulary(cutoffs: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="they must rise and stay below the vocabulary's 11"):
        plan(cutoffs=cutoffs)


def test_each_cluster_of_the_softmax_is_a_fourth_as_wide() -> None:
    net = module(plan(cutoffs=(3, 6)))
    assert net.adaptive is not None
    assert [tail[0].out_features for tail in net.adaptive.tail] == [4, 1]
    with pytest.raises(UsageError, match="2 cutoffs need a hidden_size of at least 16"):
        LanguagePlan.build(11, "lstm", 6, 15, 1, "direct+lateral", cutoffs=(3, 6))


def test_tied_weights_and_an_adaptive_softmax_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        plan(tied=True, cutoffs=(3,))


@pytest.mark.parametrize(
    "name", ["dropout", "embedding_dropout", "recurrent_dropout", "weight_dropout"]
)
def test_dropout_is_for_training_alone(name: str) -> None:
    net = module(plan(), **{name: 0.5})
    clean = module(plan())
    torch.testing.assert_close(net(TOKENS)[0], clean(TOKENS)[0])
    net.train()
    one, other = net(TOKENS)[0], net(TOKENS)[0]
    assert not torch.allclose(one, other)
    torch.manual_seed(5)
    again = net(TOKENS)[0]
    torch.manual_seed(5)
    torch.testing.assert_close(net(TOKENS)[0], again)


def test_variational_dropout_has_one_mask_a_sequence() -> None:
    net = module(plan(), dropout=0.5).train()
    hidden, dropped, _ = net(torch.ones(3, 7, dtype=torch.long))
    factors = dropped / hidden
    assert set(factors.unique().tolist()) == {0.0, 2.0}
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))


def test_embedding_dropout_drops_a_token_wherever_it_stands() -> None:
    net = module(plan(), embedding_dropout=0.5).train()
    torch.manual_seed(3)
    x = net._embed(torch.arange(11).repeat(2, 2))
    embedded = net.embedding.weight.repeat(2, 1).expand(2, -1, -1)
    factors = x / embedded
    assert {round(value, 4) for value in factors.unique().tolist()} == {0.0, 2.0}
    torch.testing.assert_close(factors[:, :11], factors[:, 11:])
    torch.testing.assert_close(factors[0], factors[1])


def test_weight_dropout_drops_recurrent_weights_and_only_these() -> None:
    net = module(plan(), weight_dropout=0.5).train()
    kept = {name: p.detach().clone() for name, p in net.named_parameters()}
    net(TOKENS)[0].square().sum().backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter, kept[name])  # dropped for the call, not for good
        if parameter.grad is not None and "embedding" not in name:
            share = float((parameter.grad == 0).float().mean())
            # no gradient where the weight was dropped
            assert 0.3 < share < 0.7 if ".weight_hh." in name else share == 0
