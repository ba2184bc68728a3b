"""The same bits: whole, in chunks, stepped, alone, in a batch, on any threads, saving or not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from noria import kernels
from tests.instruction_sets import fused_digests, run_on
from tests.kernels import stacks
from tests.kernels.reference import CELLS, Problem, kernel_results, problem

DTYPES = ["float32", "float64"]
RECURRENCES = ["dense", "diagonal", "none"]


def same(a: kernels.Scan, b: kernels.Scan) -> bool:
    arrays = zip((a.y, *a.state), (b.y, *b.state), strict=True)
    return all(x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in arrays)


def in_chunks(case: Problem, boundaries: list[int]) -> kernels.Scan:
    """The scan of a problem without lengths, one chunk after the other."""
    state, ys = case.state, []
    for first, last in zip([0, *boundaries], [*boundaries, case.x.shape[1]], strict=True):
        part = replace(case, x=case.x[:, first:last], state=state).scan(save=first % 2 == 1)
        state = part.state
        ys.append(part.y)
    return kernels.Scan(np.concatenate(ys, axis=1), state, None)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    count = kernels.get_num_threads()
    yield
    kernels.set_num_threads(count)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("recurrence", RECURRENCES)
@pytest.mark.parametrize("masked", [False, True])
def test_chunks_and_steps(cell: str, dtype: str, recurrence: str, masked: bool) -> None:
    case = problem(cell, 5, 23, 6, 63, dtype=dtype, recurrence=recurrence, masked=masked)
    whole = case.scan()
    assert same(whole, in_chunks(case, list(range(1, 23))))
    assert same(whole, in_chunks(case, [4, 4, 9, 22]))
    assert same(whole, case.scan(save=True))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [1, 24, 65, 130])
def test_alone_and_in_any_batch(cell: str, dtype: str, hidden: int) -> None:
    case = problem(cell, 41, 9, 5, hidden, dtype=dtype)
    whole = case.scan()
    for size in (1, 2, 3, 5, 8, 20, 38):
        for first in range(0, 41, size):
            part = case.rows(first, first + size).scan()
            assert part.y.tobytes() == whole.y[first : first + size].tobytes()
            for one, other in zip(part.state, whole.state, strict=True):
                assert one.tobytes() == other[first : first + size].tobytes()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_ragged_rows_as_if_alone(cell: str, reverse: bool) -> None:
    case = problem(cell, 20, 15, 4, 40, dtype="float32", ragged=True, reverse=reverse)
    assert case.lengths is not None
    whole = case.scan()
    for b, length in enumerate(case.lengths):
        row = case.rows(b, b + 1)
        alone = replace(row, x=row.x[:, :length], lengths=None).scan()
        assert alone.y.tobytes() == whole.y[b : b + 1, :length].tobytes()
        for one, other in zip(alone.state, whole.state, strict=True):
            assert one.tobytes() == other[b : b + 1].tobytes()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 30, 90, 200), (2, 20, 40, 260), (31, 24, 50, 70)])
@pytest.mark.parametrize("ragged", [False, True])
def test_any_number_of_threads(
    cell: str, dtype: str, shape: tuple[int, int, int, int], ragged: bool
) -> None:
    case = problem(cell, *shape, dtype=dtype, ragged=ragged)
    kernels.set_num_threads(1)
    alone = kernel_results(case)
    for threads in (2, 3, 5):
        kernels.set_num_threads(threads)
        for name, array in kernel_results(case).items():
            wanted = alone[name]
            assert array is not None
            assert wanted is not None
            assert array.tobytes() == wanted.tobytes(), f"{name} with {threads} threads"


def test_linear_in_any_batch() -> None:
    random = np.random.default_rng(0)
    x, weight = random.standard_normal((70, 33)), random.standard_normal((45, 33))
    whole = kernels.linear(x, weight, None)
    for first in range(0, 70, 7):
        assert kernels.linear(x[first : first + 7], weight, None).tobytes() == (
            whole[first : first + 7].tobytes()
        )


FINGERPRINT = """
import hashlib
from tests.kernels import test_bits
print(test_bits.kernels.instruction_set(), test_bits.fingerprint())
"""


def fingerprint() -> str:
    """A digest of what every cell and some stacks compute, forward and backward."""
    digest = hashlib.sha256()
    for cell, dtype, recurrence in product(CELLS, DTYPES, RECURRENCES):
        for shape in [(7, 5, 6, 75), (3, 500, 2, 90)]:
            case = problem(cell, *shape, dtype=dtype, recurrence=recurrence, ragged=True)
            for array in kernel_results(case).values():
                digest.update(b"" if array is None else array.tobytes())
    for mix, dtype, time in product(stacks.MIXES, DTYPES, (5, 300)):
        stack = stacks.a_stack(mix, 7, time, dtype=dtype, ragged=True, masked=True)
        for array in stacks.kernel_results(stack).values():
            digest.update(b"" if array is None else array.tobytes())
    return digest.hexdigest()


def test_the_same_on_every_instruction_set_with_fused_multiply_add() -> None:
    if kernels.instruction_set() == "baseline":
        pytest.skip("this machine or NORIA_ISA leaves one instruction set only")
    found = fused_digests(FINGERPRINT)
    assert "avx2" in found
    assert set(found.values()) == {fingerprint()}


def test_baseline_agrees_closely() -> None:
    script = (
        "from tests.kernels.reference import *\n"
        "assert kernels.instruction_set() == 'baseline'\n"
        "for cell in CELLS:\n"
        "    case = problem(cell, 7, 5, 6, 75, ragged=True)\n"
        "    assert_close(kernel_results(case), reference_results(case), 1e-13)\n"
        "from tests.kernels import stacks\n"
        "case = stacks.a_stack(ragged=True)\n"
        "assert_close(stacks.kernel_results(case), stacks.reference_results(case), 1e-13)\n"
    )
    run_on("baseline", script)
