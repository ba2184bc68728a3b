from __future__ import annotations

import numpy as np
import pytest

from noria.training.ngram import KneserNey


def by_the_rule(text: list[int], size: int, order: int, seen: list[int]) -> list[float]:
    """Interpolated Kneser-Ney, told slowly, with dictionaries."""
    counts: dict[int, dict[tuple[int, ...], int]] = {order: {}}
    for i in range(len(text) - order + 1):
        gram = tuple(text[i : i + order])
        counts[order][gram] = counts[order].get(gram, 0) + 1
    for n in range(order - 1, 0, -1):
        counts[n] = {}
        for gram in counts[n + 1]:
            counts[n][gram[1:]] = counts[n].get(gram[1:], 0) + 1

    def probability(context: tuple[int, ...], token: int) -> float:
        n = len(context) + 1
        below = 1 / size if n == 1 else probability(context[1:], token)
        own = {gram[-1]: c for gram, c in counts[n].items() if gram[:-1] == context}
        if not own:
            return below
        once, twice = (sum(c == k for c in counts[n].values()) for k in (1, 2))
        discount = min(max(once / max(once + 2 * twice, 1), 0.1), 0.95)
        total = sum(own.values())
        return (max(own.get(token, 0) - discount, 0) + discount * len(own) * below) / total

    return [
        -np.log(probability(tuple(seen[max(0, i - order + 1) : i]), seen[i]))
        for i in range(1, len(seen))
    ]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_losses_by_the_rule(order: int) -> None:
    random = np.random.default_rng(order)
    text, seen = random.integers(0, 5, 60), random.integers(0, 6, 40)
    model = KneserNey(6, order).fit(text)
    expected = by_the_rule(text.tolist(), 6, order, seen.tolist())
    np.testing.assert_allclose(model.losses(seen), expected, rtol=1e-12)


def test_it_is_a_distribution() -> None:
    text = np.random.default_rng(0).integers(0, 4, 50)
    model = KneserNey(5, 3).fit(text)
    for context in ([0, 1], [3, 3], [4, 4]):
        losses = [model.losses(np.array([*context, token]))[-1] for token in range(5)]
        assert np.exp(-np.array(losses)).sum() == pytest.approx(1.0)


def test_what_was_counted_can_be_kept() -> None:
    text = np.random.default_rng(0).integers(0, 4, 80)
    model = KneserNey(5, 3).fit(text)
    again = KneserNey(5, 3, model.arrays)
    assert again.losses(text).tobytes() == model.losses(text).tobytes()
    assert model.parameter_count == sum(
        len({tuple(text[i : i + n]) for i in range(3 - n, 78 if n == 3 else 81 - n)})
        for n in (1, 2, 3)
    )


def test_an_n_gram_fits_into_64_bits() -> None:
    assert KneserNey(10_000, 6).order == 4
    model = KneserNey(10_000, 6).fit(np.array([9999] * 20))
    assert np.isfinite(model.losses(np.array([9999, 9999, 9999, 1, 9999]))).all()


def test_a_text_shorter_than_the_order() -> None:
    model = KneserNey(4, 6).fit(np.array([1, 2]))
    assert model.order == 2
    assert np.isfinite(model.losses(np.array([1, 2, 3]))).all()
