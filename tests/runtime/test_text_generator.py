from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import pytest
import torch

from noria.errors import UsageError
from noria.features.tokens import Tokenizer
from noria.modules.language import LanguageModule, LanguagePlan
from noria.runtime.language import LanguageStepper, Sampling, generate
from noria.runtime.text_generator import TextGenerator, _Writer

TEXT = "der Mühlbach rauscht — 水車が回る。 la noria da vueltas\n"


def generator(
    kind: str = "character", *, whole: bool = True, conditioned: bool = False
) -> TextGenerator:
    torch.manual_seed(0)
    tokenizer = Tokenizer.train([TEXT], kind, vocabulary_size=300)
    plan = LanguagePlan.build(len(tokenizer), "gru", 8, 16, 1, "direct+lateral")
    weights = {name: 3 * p.detach().numpy() for name, p in LanguageModule(plan).named_parameters()}
    stepper = LanguageStepper(plan.to_dict(), weights)
    return TextGenerator(tokenizer, stepper, whole=whole, conditioned=conditioned)


def text(writer: TextGenerator, prompt: str = "der", length: int = 60, **options: Any) -> str:
    pieces = writer.stream(prompt, Sampling(seed=4), length=length, **options)
    return "".join(piece for (piece,) in pieces)


@pytest.mark.parametrize("kind", ["character", "byte", "word", "space", "bpe", "unigram"])
def test_pieces_add_up_to_the_decoded_tokens(kind: str) -> None:
    writer = generator(kind)
    tokenizer = writer._tokenizer
    marks = range(4)
    steps = generate(writer._stepper, tokenizer.encode("der"), Sampling(seed=4), forbidden=[*marks])
    ids = [int(token[0]) for token in itertools.islice(steps, 60)]
    if kind in ("word", "space"):
        expected = "".join(f" {tokenizer.vocabulary[index]}" for index in ids)
    else:
        expected = tokenizer.decode(ids)
    found = text(writer)
    if kind in ("byte", "bpe", "unigram"):  # broken letters may fall apart in other places
        found, expected = (part.replace("\ufffd", "") for part in (found, expected))
    assert found == expected


def test_a_letter_of_several_bytes_comes_whole() -> None:
    """Bytes forced one by one: nothing is written until the letter is complete."""
    tokenizer = Tokenizer.train([TEXT], "byte")
    writer = _Writer(tokenizer, after_text=True)
    ids = tokenizer.encode("aü水b").tolist()
    pieces = [writer.write(index, last=False) for index in ids]
    assert pieces == ["a", "", "ü", "", "", "水", "b"]


def test_a_letter_comes_whole_after_broken_ones() -> None:
    tokenizer = Tokenizer.train([TEXT], "byte")
    writer = _Writer(tokenizer, after_text=True)
    beginning, *rest = tokenizer.encode("水").tolist()
    pieces = [writer.write(index, last=False) for index in [beginning] * 4 + rest]
    assert "".join(pieces) == "\ufffd\ufffd\ufffd水"
    broken = tokenizer.encode("水").tolist()[:2]
    cut = [writer.write(broken[0], last=False), writer.write(broken[1], last=True)]
    assert cut == ["", "\ufffd"]


def test_texts_of_many_end_by_themselves_and_long_ones_do_not() -> None:
    ended = [len(text(generator(whole=False), prompt=p, length=2000)) for p in ("", "d", "la")]
    assert max(ended) < 1999
    assert len(text(generator(), length=2000)) == 2000


def test_the_condition_and_the_prompt_decide_what_comes() -> None:
    writer = generator(whole=False, conditioned=True)
    assert text(writer, "", condition="la") != text(writer, "", condition="der")
    assert text(writer, "", condition="la") == text(writer, "", condition="la")
    with pytest.raises(UsageError, match="the model writes what a condition calls up: give one"):
        text(writer)
    with pytest.raises(UsageError, match="the model was trained without conditions: give none"):
        text(generator(), condition="la")


def test_samples_side_by_side_are_the_single_one_and_others() -> None:
    writer = generator()
    pieces = list(writer.stream("la", Sampling(seed=4), length=50, samples=3))
    three = ["".join(parts) for parts in zip(*pieces, strict=True)]
    assert three[0] == text(writer, "la", 50)
    assert len(set(three)) == 3


def test_an_empty_or_unknown_prompt_is_no_trouble() -> None:
    for kind in ("character", "word", "bpe"):
        for prompt in ("", "€€", " "):
            assert text(generator(kind), prompt, length=5) is not None


@pytest.mark.parametrize(("length", "samples"), [(0, 1), (5, 0), (-1, 1)])
def test_numbers_below_one_are_refused(length: int, samples: int) -> None:
    with pytest.raises(UsageError, match=f"length is {length} and samples {samples}"):
        text(generator(), length=length, samples=samples)


def test_memory_stays_as_it_is_however_much_is_written() -> None:
    steps = generator("bpe").stream("la", Sampling())
    for _ in itertools.islice(steps, 3000):
        pass
    tracemalloc.start()
    for _ in itertools.islice(steps, 500):
        pass
    early = tracemalloc.get_traced_memory()[0]
    for _ in itertools.islice(steps, 6000):
        pass
    late = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert late - early < 20_000
