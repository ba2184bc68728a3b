from __future__ import annotations

import pytest
import torch

from noria.cells import GRU, LSTM, RNN
from noria.modules.forecast import ForecastModule
from noria.runtime.distribution import Distribution
from noria.wiring import Wiring

B, T, D, K, F, C = 3, 6, 4, 5, 2, 7
QUANTILES = Distribution("quantiles", (0.1, 0.5, 0.9))


def module(feedback: str = "direct+lateral", cell: object = None) -> ForecastModule:
    torch.manual_seed(0)
    wiring = Wiring.build(D, [cell or LSTM(3)], feedback)
    return ForecastModule(wiring, K, F, C, QUANTILES, dropout=0.5).eval()


def inputs(count: int) -> tuple[torch.Tensor, ...]:
    return torch.randn(B, T, D), torch.randn(count, K, C), torch.randn(count, K, F)


def test_a_forecast_is_the_heads_at_the_networks_output_there() -> None:
    made = module()
    x, candidates, known = inputs(4)
    rows, steps = torch.tensor([2, 0, 0, 1]), torch.tensor([5, 0, 3, 1])
    lengths = torch.tensor([4, 2, 6])
    quantiles, state = made(x, lengths, None, rows, steps, candidates, known)
    assert quantiles.shape == (4, K, 3)
    for number, (row, step) in enumerate([(2, 5), (0, 0), (0, 3), (1, 1)]):
        hidden, _ = made.network(x[row : row + 1, : step + 1])
        one = slice(number, number + 1)
        alone = made.head(hidden[:, -1], candidates[one], known[one])
        torch.testing.assert_close(quantiles[one], alone)
    _, ended = made.network(x, None, lengths)
    for part, other in zip(state[0], ended[0], strict=True):
        torch.testing.assert_close(part, other)


def test_dropout_is_for_training_alone() -> None:
    made = module()
    x, candidates, known = inputs(2)
    where = torch.tensor([0, 1]), torch.tensor([2, 3])

    def forecast() -> torch.Tensor:
        return made(x, torch.full((B,), T), None, *where, candidates, known)[0]

    torch.testing.assert_close(forecast(), forecast(), rtol=0, atol=0)
    made.train()
    assert not torch.equal(forecast(), forecast())


@pytest.mark.parametrize(
    ("cell", "feedback", "remembers"),
    [
        (LSTM(3), "direct+lateral", True),
        (RNN(3, "tanh"), "direct", True),
        (RNN(3, "relu"), "none", False),
        (LSTM(3), "none", False),
        (GRU(3), "none", False),
        (LSTM(3), "direct", True),
    ],
)
def test_what_remembers(cell: object, feedback: str, remembers: bool) -> None:
    made = module(feedback, cell)
    assert made.remembers is remembers
    x, candidates, known = inputs(1)
    other = x.clone()
    other[:, 0] += 3
    where = torch.tensor([0]), torch.tensor([4])
    lengths = torch.full((B,), T)
    one, two = (made(v, lengths, None, *where, candidates, known)[0] for v in (x, other))
    assert torch.equal(one, two) is not remembers


def test_parameters_are_those_of_network_and_head() -> None:
    made = module()
    head = sum(parameter.numel() for parameter in made.head.parameters())
    # with PyTorch's two biases
    assert made.parameter_count == 4 * 3 * (D + 3) + 2 * 4 * 3 + head
