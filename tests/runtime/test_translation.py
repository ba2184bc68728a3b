from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from noria.errors import ModelFileError, UsageError
from noria.features.tokens import Tokenizer
from noria.modules.translate import TranslateModule, TranslatePlan
from noria.runtime.text_translator import TextTranslator
from noria.runtime.translation import TranslationStepper

KINDS: list[dict[str, Any]] = [
    {},
    {"cell": "gru"},
    {"cell": "gru", "num_layers": 2},
    {"attention": "additive"},
    {"input_feeding": False},
    {"tied": False},
    {"cell": "rnn_relu", "feedback": "none", "input_feeding": False, "num_layers": 2},
]
SOURCES = [np.array(s) for s in ([4, 5, 6, 7, 8, 5], [9, 4], [5], [10, 9, 8])]


def module(
    cell: str = "lstm",
    num_layers: int = 1,
    feedback: str = "direct+lateral",
    vocabulary_size: int = 11,
    **options: Any,
) -> TranslateModule:
    torch.manual_seed(0)
    plan = TranslatePlan.build(vocabulary_size, cell, 6, 8, num_layers, feedback, **options)
    net = TranslateModule(plan).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.0)
    return net


def stepper(net: TranslateModule) -> TranslationStepper:
    weights = {name: p.detach().numpy() for name, p in net.named_parameters()}
    return TranslationStepper(net.plan.to_dict(), weights)


@torch.no_grad()
def in_torch(net: TranslateModule, source: np.ndarray, target: list[int]) -> tuple[Any, Any]:
    """Log-probabilities (T, V) and attention (T, S) of a target, mark of the beginning first."""
    attended, weights = net(
        torch.from_numpy(source)[None], torch.tensor([len(source)]), torch.tensor([target])
    )
    logs = functional.log_softmax(net.output(attended[0]), dim=1)
    return logs.numpy(), weights[0].numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_steps_as_torch_does(kind: dict[str, Any]) -> None:
    net = module(**kind)
    run = stepper(net)
    targets = np.random.default_rng(0).integers(0, 11, (len(SOURCES), 7))
    expected = [
        in_torch(net, source, target.tolist())
        for source, target in zip(SOURCES, targets, strict=True)
    ]
    state = run.encode(SOURCES)
    for t in range(7):
        logs, weights, state = run.step(targets[:, t], state)
        for row, (source, (wanted, looked)) in enumerate(zip(SOURCES, expected, strict=True)):
            np.testing.assert_allclose(logs[row], wanted[t], atol=2e-5)
            np.testing.assert_allclose(weights[row, : len(source)], looked[t], atol=1e-5)
            assert (weights[row, len(source) :] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_greedy_translation_is_torchs(kind: dict[str, Any]) -> None:
    net = module(**kind)
    options = {"begin": 2, "end": 3, "beam_size": 1, "length_penalty": 1.0, "forbidden": (0, 2)}
    found = stepper(net).search(SOURCES, **options)
    for source, (hypothesis,) in zip(SOURCES, found, strict=True):
        written = [2]
        score = 0.0
        while len(written) <= 2 * len(source) + 10:
            logs, _ = in_torch(net, source, written)
            logs[-1, [0, 2]] = -np.inf
            token = int(logs[-1].argmax())
            score += float(logs[-1, token])
            written.append(token)
            if token == 3:
                break
        tokens = [token for token in written[1:] if token != 3]
        assert list(hypothesis.tokens) == tokens
        assert hypothesis.score == pytest.approx(score / (len(written) - 1), abs=1e-4)
        _, looked = in_torch(net, source, written[: len(tokens)] or [2])
        for t in range(len(tokens)):
            np.testing.assert_allclose(hypothesis.attention[t, : len(source)], looked[t], atol=1e-5)


def test_weights_of_another_plan_are_refused() -> None:
    net = module()
    weights = {name: p.detach().numpy() for name, p in net.named_parameters()}
    del weights["combine.weight"]
    with pytest.raises(ModelFileError, match=r"lacks 'combine\.weight'"):
        TranslationStepper(net.plan.to_dict(), weights)


def translator(kind: str, longest: int | None = None) -> TextTranslator:
    tokenizer = Tokenizer.train(
        ["das rote haus am fluss", "a red house by the river"], kind, vocabulary_size=300
    )
    return TextTranslator(tokenizer, stepper(module(vocabulary_size=len(tokenizer))), longest)


@pytest.mark.parametrize(("longest", "wanted"), [(7, 100), (60, 120), (None, 1000)])
def test_a_long_text_does_not_make_a_translation_without_end(
    longest: int | None, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tokenizer, "END", 5)  # which never comes
    run = translator("byte", longest)
    ((found,),) = run.translate(["haus" * 200])
    assert len(found.target) == wanted
    ((found,),) = run.translate(["haus"])
    assert len(found.target) == 18


@pytest.mark.parametrize("kind", ["word", "bpe", "character", "byte"])
def test_n_best_are_different_and_in_order(kind: str) -> None:
    run = translator(kind)
    texts = ["das rote haus", "", "fluss", "das haus am fluss"] * 20  # more than a batch
    found = run.translate(texts, beam_size=4, n_best=3)
    for text, translations in zip(texts, found, strict=True):
        if not text:
            assert [t.text for t in translations] == [""]
            assert translations[0].links() == ""
            continue
        scores = [t.score for t in translations]
        assert scores == sorted(scores, reverse=True)
        assert len({t.target for t in translations}) == len(translations) == 3
        for each in translations:
            assert each.alignment.shape == (len(each.target), len(each.source))
            if len(each.target):
                np.testing.assert_allclose(each.alignment.sum(axis=1), 1, atol=1e-5)
    alone = [run.translate([text], beam_size=4, n_best=3)[0] for text in texts[:4]]
    for together, own in zip(found[:4], alone, strict=True):
        assert [t.text for t in together] == [t.text for t in own]


def test_an_unknown_word_is_copied_from_where_the_model_looked() -> None:
    from noria.runtime.beam import Hypothesis

    run = translator("word")
    tokenizer = run._tokenizer
    red, unknown = tokenizer.encode("red")[0], tokenizer.UNKNOWN
    attention = np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]])
    hypothesis = Hypothesis((red, unknown, unknown), -0.5, attention)
    found = run._translation(("das", "Heidelberg", "42"), hypothesis)
    assert found.text == "red 42 Heidelberg"
    assert found.target == ("red", "42", "Heidelberg")
    assert found.links() == "0-0 2-1 1-2"


def test_pieces_over_bytes_know_every_word() -> None:
    run = translator("bpe")
    source = "Heidelberg 水車 😀"
    ids = run._tokenizer.encode(source)
    assert run._tokenizer.UNKNOWN not in ids
    assert run._tokenizer.decode(ids) == source
    assert run.translate([source])[0][0].source != ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 2, "n_best": 3}, "n_best is 3 and beam_size 2"),
        ({"n_best": 0}, "n_best is 0"),
        ({"length_penalty": -1.0}, "length_penalty is -1.0: it must be 0 or more"),
        ({"length_penalty": float("nan")}, "length_penalty is nan"),
    ],
)
def test_what_cannot_be_meant(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        translator("word").translate(["das haus"], **options)
