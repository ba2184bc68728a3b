from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noria import LanguageModel
from noria.errors import DataError, StateError, UsageError
from noria.runtime import Session
from tests.tasks.words import cards, small_language, story

KINDS: list[dict[str, Any]] = [
    {},
    {"tied": True, "cell": "gru", "num_layers": 2},
    {"tokens": "word", "cutoffs": (4,)},
    {"tokens": "bpe", "vocabulary_size": 270, "feedback": "full", "num_layers": 2},
]


def opened(folder: Path, model: LanguageModel) -> Session:
    model.save(folder / "m.noria")
    return Session.open(folder / "m.noria")


@pytest.mark.parametrize("kind", KINDS)
def test_bits_are_the_loss_of_the_text(kind: dict[str, Any], tmp_path: Path) -> None:
    model = small_language(baselines=(), **kind).fit([story(300)])
    session = opened(tmp_path, model)
    words = story(30, seed=1).split()
    events = [{"text": f" {word}"} for word in words]
    _, answers = session.feed(session.start(), events)
    tokens = np.concatenate([model.tokenizer_.encode(event["text"]) for event in events])
    with torch.no_grad():
        hidden = model.network_.module(torch.from_numpy(tokens[None]))[0][0]
        losses = model.network_.module.losses(hidden[:-1], torch.from_numpy(tokens[1:]))
    total = sum(answer["bits"] for answer in answers)
    assert total == pytest.approx(float(losses.double().sum()) / np.log(2), rel=1e-4)
    assert sum(answer["tokens"] for answer in answers) == len(tokens)
    likeliest = answers[-1]["next"]
    assert len(likeliest) == 5
    chances = [each["probability"] for each in likeliest]
    assert chances == sorted(chances, reverse=True)
    with torch.no_grad():
        last = hidden[-1:]
        size = len(model.tokenizer_)
        logs = [-float(model.network_.module.losses(last, torch.tensor([v]))) for v in range(size)]
    assert chances[0] == pytest.approx(np.exp(max(logs)), rel=1e-3)
    assert likeliest[0]["text"] == model.tokenizer_.decode([int(np.argmax(logs))])


def test_step_by_step_in_chunks_beside_others_and_after_a_restart(tmp_path: Path) -> None:
    session = opened(tmp_path, small_language(baselines=()).fit([story(300)]))
    events = [{"text": word} for word in story(12, seed=1).split()]
    whole, wanted = session.feed(session.start(), events)
    state = other = session.start()
    found = []
    for event in events:
        one, beside = session.step_batch([state, other], [event, {"text": "zwei drei"}])
        assert one.state is not None
        assert beside.state is not None
        found.append(one.answer)
        state = session.state_from_bytes(session.state_to_bytes(one.state))
        other = beside.state
    assert found == wanted
    assert session.state_to_bytes(state) == session.state_to_bytes(whole)


def test_the_first_token_of_a_long_text_costs_nothing_and_of_many_it_does(tmp_path: Path) -> None:
    session = opened(tmp_path, small_language(baselines=()).fit([story(300)]))
    _, answer = session.step(session.start(), {"text": "e"})
    assert (answer["bits"], answer["tokens"]) == (0.0, 1)
    many = opened(tmp_path, small_language(baselines=()).fit(cards(60)["text"].to_list()))
    _, answer = many.step(many.start(), {"text": "a"})
    assert answer["bits"] > 0


def test_what_was_learned_surprises_less(tmp_path: Path) -> None:
    text = "abcdefgh" * 60
    model = small_language(baselines=(), steps=60, learning_rate=0.03, cell="gru").fit([text])
    session = opened(tmp_path, model)
    _, (first, usual, odd) = session.feed(
        session.start(), [{"text": "abcdefgh"}, {"text": "abcdefgh"}, {"text": "hgfedcba"}]
    )
    assert usual["bits"] < 8
    assert odd["bits"] > 3 * usual["bits"]
    assert first["next"][0]["text"] == "a"


@pytest.mark.parametrize("event", [{}, {"text": 3}, "eins", {"text": ""}, [1]])
def test_a_bad_event_leaves_the_stream_as_it_was(event: Any, tmp_path: Path) -> None:
    session = opened(tmp_path, small_language(baselines=()).fit([story(300)]))
    state, _ = session.step(session.start(), {"text": "eins"})
    with pytest.raises(DataError, match=r"an event is an object such as|nothing to read"):
        session.step(state, event)
    assert session.step(state, {"text": "zwei"})[1] == session.step(state, {"text": "zwei"})[1]


def test_conditions_and_damaged_states_are_refused(tmp_path: Path) -> None:
    model = small_language(baselines=()).fit(cards(60), condition="kind")
    with pytest.raises(UsageError, match="a language model with conditions does not stream"):
        opened(tmp_path, model)
    session = opened(tmp_path, small_language(baselines=()).fit([story(300)]))
    with pytest.raises(StateError, match="not as long as its model's"):
        session._task.memory_from_bytes(b"1234")
    assert session.describe()["event"]["required"] == ["text"]
