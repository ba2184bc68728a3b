from __future__ import annotations

import numpy as np

from noria.training.lexicon import Lexicon
from noria.training.pairs import TokenPair


def pair(source: str, target: str) -> TokenPair:
    return tuple(np.array([ord(c) - 96 for c in text]) for text in (source, target))  # type: ignore[return-value]


def test_what_stands_together_most_belongs_together() -> None:
    pairs = [pair("ab", "yx"), pair("b", "y"), pair("ac", "zx"), pair("bca", "yxz")]
    lexicon = Lexicon.fit(pairs * 3, 27)
    found = dict(zip("abc", lexicon.translate(pair("abc", "")[0]), strict=True))
    assert found == {"a": 24, "b": 25, "c": 26}  # x, y, z


def test_a_token_never_seen_stays_and_one_that_says_nothing_goes() -> None:
    random = np.random.default_rng(0)
    pairs = []
    for _ in range(300):  # 1 stands in every sentence, its targets are all over the place
        token = int(random.integers(2, 12))
        pairs.append((np.array([1, token]), np.array([token + 20, *random.integers(40, 99, 2)])))
    lexicon = Lexicon.fit(pairs, 100)
    assert lexicon.translate(np.array([13, 1, 5])) == [13, 25]
    assert Lexicon(lexicon.arrays).translate(np.array([13, 1, 5])) == [13, 25]
    assert lexicon.parameter_count == 11


def test_one_round_by_hand() -> None:
    """IBM model 1 on two pairs: after many rounds t(x|a) = 1 is the only explanation of both."""
    lexicon = Lexicon.fit([pair("ab", "xy"), pair("a", "x")], 27)
    assert lexicon.translate(pair("ab", "")[0]) == [24, 25]
