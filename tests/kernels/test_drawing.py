from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from noria import kernels
from noria.errors import KernelError, ShapeError, UsageError
from noria.kernels import Draw

PROBABILITIES = np.array([0.1, 0.4, 0.05, 0.25, 0.2])
COUNT = 1000
UNIFORMS = (np.arange(COUNT) + 0.5) / COUNT


def shares(recent: np.ndarray | None = None, dtype: str = "float32", **how: Any) -> np.ndarray:
    """How often each outcome is drawn, from probabilities that are not normalised."""
    logits = np.repeat(np.log(PROBABILITIES)[None] + 3, COUNT, axis=0).astype(dtype)
    kept = logits.copy()
    drawn = kernels.draw(Draw(**how), logits, UNIFORMS, recent)
    assert logits.tobytes() == kept.tobytes()
    return np.bincount(drawn, minlength=5) / COUNT


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_temperature_top_k_and_top_p_by_hand(dtype: str) -> None:
    def near(expected: Any, **how: Any) -> None:
        np.testing.assert_allclose(shares(dtype=dtype, **how), expected, atol=2e-3)

    near(PROBABILITIES)
    near(PROBABILITIES**2 / (PROBABILITIES**2).sum(), temperature=0.5)
    near([0, 1, 0, 0, 0], temperature=0.0)
    near([0, 0.4 / 0.65, 0, 0.25 / 0.65, 0], top_k=2)
    near(np.array([0, 0.4, 0, 0.25, 0.2]) / 0.85, top_p=0.7)  # 0.65 < 0.7 <= 0.85
    near([0, 1, 0, 0, 0], top_p=0.3)
    near(PROBABILITIES, top_k=9, top_p=1.0)
    near([0, 0.4 / 0.65, 0, 0.25 / 0.65, 0], top_k=3, top_p=0.7)  # 0.65 of 0.85 are enough


def test_the_repetition_penalty_multiplies_log_probabilities_of_recent_outcomes() -> None:
    recent = np.tile([1, -1, 1, 4], (COUNT, 1))
    changed = PROBABILITIES.copy()
    changed[[1, 4]] **= 2.0
    found = shares(recent, repetition_penalty=2.0)
    np.testing.assert_allclose(found, changed / changed.sum(), atol=2e-3)
    assert shares(recent, temperature=0, repetition_penalty=2.0)[3] == 1


def test_what_is_minus_infinity_never_comes() -> None:
    logits = np.full((COUNT, 6), -np.inf, "float32")
    logits[:, [1, 3]] = 0.0
    recent = np.zeros((COUNT, 1), np.int64)
    for how in (Draw(), Draw(0), Draw(top_k=4), Draw(top_p=0.99), Draw(1, 0, 1.0, 1.5)):
        assert set(kernels.draw(how, logits, UNIFORMS, recent).tolist()) <= {1, 3}
    edges = np.array([0.0, np.nextafter(1, 0)])
    assert kernels.draw(Draw(), logits[:2], edges).tolist() == [1, 3]


def test_equal_ones_come_in_their_order() -> None:
    logits = np.zeros((4, 3), "float32")
    uniforms = np.array([0.0, 0.3, 0.6, 0.9])
    assert kernels.draw(Draw(temperature=0), logits, uniforms).tolist() == [0, 0, 0, 0]
    assert kernels.draw(Draw(top_k=1), logits, uniforms).tolist() == [0, 0, 1, 2]
    assert kernels.draw(Draw(top_p=0.5), logits, uniforms).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    logits = np.zeros((2, 3), "float32")
    logits[1] = value
    for how in (Draw(), Draw(0), Draw(top_k=1), Draw(top_p=0.5)):
        with pytest.raises(KernelError, match="not all numbers"):
            kernels.draw(how, logits, np.zeros(2))
    logits[1, [0, 2]] = 0
    if not value < 0:
        for how in (Draw(), Draw(0), Draw(top_k=1), Draw(top_p=0.5)):
            with pytest.raises(KernelError, match="not all numbers"):
                kernels.draw(how, logits, np.zeros(2))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"logits": np.zeros(3)}, ShapeError, r"logits has shape \(3,\)"),
        ({"logits": np.zeros((2, 0))}, ShapeError, r"logits has shape \(2, 0\)"),
        ({"logits": np.zeros((2, 3), int)}, KernelError, "not int64"),
        ({"uniforms": np.zeros(3)}, ShapeError, r"uniforms has shape \(3,\), expected \(2,\)"),
        ({"uniforms": np.zeros(2, "float32")}, KernelError, "uniforms is float32"),
        ({"recent": np.zeros((3, 1), int)}, ShapeError, r"recent has shape \(3, 1\)"),
        ({"recent": np.full((2, 1), 3)}, ShapeError, r"recent holds 3 to 3, expected -1\.\.2"),
        ({"recent": np.full((2, 1), -2)}, ShapeError, "recent holds -2"),
    ],
)
def test_refusals(change: dict[str, np.ndarray], error: type[Exception], message: str) -> None:
    given = {"logits": np.zeros((2, 3)), "uniforms": np.zeros(2)} | change
    with pytest.raises(error, match=message):
        kernels.draw(Draw(), **given)


@pytest.mark.parametrize(
    "how",
    [
        *(Draw(temperature=value) for value in (-1.0, np.nan, np.inf)),
        Draw(top_k=-1),
        *(Draw(top_p=value) for value in (0.0, 1.5, np.nan)),
        *(Draw(repetition_penalty=value) for value in (0.0, np.inf, np.nan)),
    ],
)
def test_what_cannot_be_meant(how: Draw) -> None:
    with pytest.raises(UsageError, match="no draw can be made"):
        kernels.draw(how, np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(UsageError, match="no draw can be made"):
        a_writer(1).write(how, np.zeros((1, 7), "float32"), np.zeros((1, 1)))


def a_writer(batch: int, cell: str = "lstm", outcomes: int = 7) -> kernels.Stepper:
    random = np.random.default_rng(0)

    def made(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype("float32")

    gates = {"lstm": 4, "gru": 3}[cell] * 9
    layers = [
        kernels.StackLayer(
            cell, made(gates, outcomes), made(gates), made(gates), {0: made(gates, 9)}
        ),
        kernels.StackLayer("linear", made(outcomes, 9), made(outcomes)),
    ]
    return kernels.Stepper(kernels.pack_stack(layers), batch)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("how", [Draw(), Draw(0.7, 3, 0.9, 1.3)])
@pytest.mark.parametrize("chunks", [(40,), (1, 7, 0, 32)])
def test_writing_is_drawing_and_stepping_by_turns(
    cell: str, how: Draw, chunks: tuple[int, ...]
) -> None:
    """The same tokens, logits, states and recent ones, in whatever chunks."""
    random = np.random.default_rng(1)
    uniforms = random.random((40, 3))
    barred = np.array([0, 0, -np.inf, 0, 0, 0, 0], "float32")
    first = random.standard_normal((3, 7)).astype("float32")
    ring = np.full((3, 5), -1)

    by_turns, logits, recent, expected = a_writer(3, cell), first, ring.copy(), []
    for step, draws in enumerate(uniforms):
        expected.append(kernels.draw(how, logits + barred, draws, recent))
        recent[:, (4 + step) % 5] = expected[-1]
        logits = by_turns.step_index(expected[-1])

    writer, mine, own, found, done = a_writer(3, cell), first.copy(), ring.copy(), [], 0
    for count in chunks:
        part = uniforms[done : done + count]
        found.append(writer.write(how, mine, part, barred=barred, recent=own, written=4 + done))
        done += count
    assert np.concatenate(found).tolist() == np.stack(expected).tolist()
    assert mine.tobytes() == logits.tobytes()
    assert own.tolist() == recent.tolist()
    assert len(np.unique(expected)) > 2
    assert 2 not in np.unique(expected)
    for one, other in zip(writer.state, by_turns.state, strict=True):
        assert [part.tobytes() for part in one] == [part.tobytes() for part in other]


def test_what_cannot_be_written() -> None:
    writer, logits = a_writer(2), np.zeros((2, 7), "float32")
    good = {"how": Draw(), "logits": logits, "uniforms": np.zeros((1, 2))}
    for change, error, message in [
        ({"logits": logits[:1]}, ShapeError, r"logits has shape \(1, 7\), expected \(2, 7\)"),
        ({"logits": logits.astype(float)}, KernelError, "logits is float64, expected float32"),
        ({"logits": np.zeros((7, 2), "float32").T}, KernelError, "dense arrays in C order"),
        ({"uniforms": np.zeros((1, 3))}, ShapeError, r"uniforms has shape \(1, 3\)"),
        ({"barred": np.zeros(6, "float32")}, ShapeError, r"barred has shape \(6,\)"),
        ({"recent": np.full((2, 0), -1)}, ShapeError, r"recent has shape \(2, 0\)"),
        ({"written": -1}, ShapeError, "written is -1, expected 0 or more"),
        ({"logits": np.full((2, 7), np.nan, "float32")}, KernelError, "not all numbers"),
    ]:
        with pytest.raises(error, match=message):
            writer.write(**(good | change))
    assert not any(part.any() for own in writer.state for part in own)
    random = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    narrow = kernels.Stepper(
        kernels.pack_stack([kernels.StackLayer("linear", random, random[:, 0])])
    )
    with pytest.raises(ShapeError, match="3 outputs and 4 inputs"):
        narrow.write(Draw(), logits[:1, :4].copy(), np.zeros((1, 1)))
