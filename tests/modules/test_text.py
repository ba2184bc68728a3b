from __future__ import annotations

import numpy as np
import torch

from noria.modules.embedding import WordEmbedding, side_by_side
from noria.modules.tag import TagPlan
from noria.modules.text import TextPlan


def test_a_word_is_its_own_vector_and_its_grams_over_the_root_of_their_number() -> None:
    embedding = WordEmbedding(5, 3, 7)
    x = torch.tensor([[[2, 1, 3, 0], [4, 0, 0, 0], [0, 0, 0, 0]]])
    found = embedding(x)[0]
    assert embedding.grams is not None
    words, grams = embedding.words.weight, embedding.grams.weight
    torch.testing.assert_close(found[0], words[2] + (grams[1] + grams[3]) / 2**0.5)
    torch.testing.assert_close(found[1], words[4])
    assert not found[2].any()


def test_a_dropped_word_is_an_unknown_one_without_grams() -> None:
    torch.manual_seed(0)
    embedding = WordEmbedding(5, 3, 7, word_dropout=0.5).train()
    x = torch.tensor([[[2, 1, 3]] * 200])
    found = embedding(x)[0]
    whole, unknown = embedding.eval()(x)[0, 0], embedding.words.weight[1]
    dropped = (found == unknown).all(dim=1)
    assert 60 < int(dropped.sum()) < 140
    torch.testing.assert_close(found[~dropped], whole.expand(int((~dropped).sum()), 3))


def test_side_by_side() -> None:
    x = torch.arange(1.0, 5.0).view(1, 4, 1)
    assert side_by_side(x, 3)[0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0]]


def test_the_rival_sees_its_window_and_no_more() -> None:
    plan = TextPlan.build(2, 20, 4, 0, "gru", 5, 1, "direct+lateral", bidirectional=True)
    rival = plan.feed_forward(6, 3)
    assert not rival.wiring.edges
    module = rival.module().eval()
    x = torch.randint(2, 20, (1, 9, 1))
    y = x.clone()
    y[0, 4, 0] = (y[0, 4, 0] - 1) % 18 + 2
    both = [module.scan(module.embedding(part), torch.tensor([9]))[0][0] for part in (x, y)]
    changed = (both[0] != both[1]).any(dim=1)
    assert not changed[[0, 1, 2, 6, 7, 8]].any()


def test_plans_are_read_as_they_were_written() -> None:
    text = TextPlan.build(3, 20, 4, 9, "lstm", 5, 2, "full", multi_label=True)
    assert TextPlan.from_dict(text.to_dict()) == text
    settings = {"stretches": True, "bidirectional": True}
    tag = TagPlan.build(("B-X", "E-X", "O"), 9, 4, (3,), 2, 9, 4, "gru", 5, 1, "direct", **settings)
    for plan in (tag, tag.feed_forward(7, 5)):
        assert TagPlan.from_dict(plan.to_dict()) == plan
    assert np.isclose(tag.module().chain.transitions()[0, 2].item(), -1e4)


def test_past_the_end_of_a_sentence_nothing_shows() -> None:
    settings = {"stretches": False, "bidirectional": True}
    plan = TagPlan.build(
        ("N", "V"), 9, 4, (3,), 2, 9, 4, "lstm", 5, 1, "direct+lateral", **settings
    )
    for one in (plan, plan.feed_forward(6, 5)):
        module = one.module().eval()
        x = torch.randint(1, 3, (2, 6, 1 + 1 + 20))
        lengths = torch.tensor([6, 3])
        other = x.clone()
        other[1, 3:] = 0
        with torch.no_grad():
            a, b = module(x, lengths), module(other, lengths)
        torch.testing.assert_close(a[0], b[0])
        torch.testing.assert_close(a[1, :3], b[1, :3])
