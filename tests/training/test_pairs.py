from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from noria.features.tokens import Tokenizer
from noria.modules.translate import TranslateModule, TranslatePlan
from noria.training.pairs import PairObjective, TokenPair
from noria.training.translation import feed_forward_plan, score_translations


def pairs(count: int, seed: int = 0) -> list[TokenPair]:
    random = np.random.default_rng(seed)
    return [
        (random.integers(4, 12, random.integers(1, 7)), random.integers(4, 12, length))
        for length in random.integers(1, 9, count)
    ]


def module(**options: bool) -> TranslateModule:
    torch.manual_seed(0)
    return TranslateModule(TranslatePlan.build(12, "gru", 5, 6, 1, "direct+lateral", **options))


def objective(training: list[TokenPair], label_smoothing: float = 0.0) -> PairObjective:
    return PairObjective(
        module().eval(),
        training,
        pairs(9, 1),
        batch_size=4,
        label_smoothing=label_smoothing,
        seed=0,
    )


def test_a_round_meets_every_pair_once_in_batches_of_like_length() -> None:
    training = pairs(50)
    task = objective(training)
    assert task.per_round == 13
    met: list[TokenPair] = []
    spreads = []
    for step in range(13):
        batch, continues = task.batch(step)
        assert not continues
        assert len(batch) in (3, 4)
        spreads.append(np.ptp([len(target) for _, target in batch]))
        met += batch
    assert sorted(map(id, (target for _, target in met))) == sorted(
        id(target) for _, target in training
    )
    assert max(spreads) <= 3
    assert np.mean(spreads) < 2


def test_batches_are_a_function_of_the_step() -> None:
    training = pairs(50)
    one, other = objective(training), objective(training)
    wanted = [one.batch(step)[0] for step in range(30)]
    for step in (29, 3, 14):
        assert [id(t) for _, t in other.batch(step)[0]] == [id(t) for _, t in wanted[step]]
    rounds = [[id(t) for _, t in wanted[step]] for step in (0, 13)]
    assert rounds[0] != rounds[1]


def test_the_loss_by_the_formula() -> None:
    """−Σ q log p with q = (1 − ε) on the right token and ε / V on all; ends count too."""
    batch = pairs(3, seed=2)
    smoothing = 0.3
    task = objective(pairs(8), label_smoothing=smoothing)
    costs = []
    for source, target in batch:
        begun = torch.from_numpy(np.append(Tokenizer.BEGIN, target))[None]
        attended, _ = task.module(
            torch.from_numpy(source)[None], torch.tensor([len(source)]), begun
        )
        logs = functional.log_softmax(task.module.output(attended[0]), dim=1)
        for log, token in zip(logs, [*target, Tokenizer.END], strict=True):
            costs.append(-(1 - smoothing) * log[int(token)] - smoothing * log.mean())
    torch.testing.assert_close(task.loss(batch, None)[0], torch.stack(costs).mean())


@torch.no_grad()
def test_validation_smooths_nothing_and_counts_every_token_alike() -> None:
    rough, smooth = objective(pairs(8)), objective(pairs(8), label_smoothing=0.5)
    assert smooth.validate() == rough.validate()
    alone = [objective(pairs(8)) for _ in range(9)]
    total = count = 0.0
    for task, pair in zip(alone, pairs(9, 1), strict=True):
        task.validation = [pair]
        total += task.validate() * (len(pair[1]) + 1)
        count += len(pair[1]) + 1
    assert rough.validate() == pytest.approx(total / count, rel=1e-6)


def test_the_rival_has_about_as_many_weights_and_carries_nothing() -> None:
    plan = TranslatePlan.build(40, "lstm", 16, 32, 2, "direct+lateral", attention="additive")
    wanted = TranslateModule(plan).parameter_count
    rival = feed_forward_plan(plan, wanted)
    for wiring in (rival.encoder, rival.decoder):
        assert not any(wiring.edges_into(i) for i in range(len(wiring.layers)))
    assert not rival.input_feeding
    assert rival.attention == "additive"
    assert abs(TranslateModule(rival).parameter_count / wanted - 1) < 0.02


def test_scores_are_sacrebleus_with_its_signatures() -> None:
    right = ["The cat sat on the mat today.", "A dog runs over the green field."]
    bleu, chrf, signatures = score_translations(right, right)
    assert (bleu, chrf) == (pytest.approx(100), pytest.approx(100))
    assert signatures[0].startswith("BLEU: nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert signatures[1].startswith("chrF: nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    worse, _, _ = score_translations(["The cat sat on a mat today.", right[1]], right)
    assert 50 < worse < 100
