"""A recurrent network and a horizon head as one module."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from noria.modules.horizon import HorizonHead
from noria.network import Network, NetworkState
from noria.runtime.distribution import Distribution
from noria.wiring import Wiring

__all__ = ["ForecastModule"]


class ForecastModule(nn.Module):
    """Forecasts from any step of a sequence.

    Args:
        wiring: Of the network, without output layer.
        horizon: K.
        known_size: F.
        candidate_size: C.
        distribution: What the head's numbers stand for.
        dropout: Between layers, and from the last one to the head.
        recurrent_dropout: On the recurrence.
        direct: See `HorizonHead`.
    """

    def __init__(
        self,
        wiring: Wiring,
        horizon: int,
        known_size: int,
        candidate_size: int,
        distribution: Distribution,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        direct: bool = False,
    ) -> None:
        super().__init__()
        self.network = Network.from_wiring(
            wiring, dropout=dropout, recurrent_dropout=recurrent_dropout
        )
        self.head = HorizonHead(
            wiring.output_size, horizon, known_size, candidate_size, distribution, direct=direct
        )
        self.dropout = dropout

    @property
    def plan(self) -> Wiring:
        """What it is made of; the head follows from that and the data."""
        return self.network.wiring

    @property
    def remembers(self) -> bool:
        """Whether anything is carried from step to step; not so in a feed-forward network."""
        wiring = self.network.wiring
        return bool(wiring.edges) or any(layer.carries_state for layer in wiring.layers)

    @property
    def parameter_count(self) -> int:
        """Number of weights, the head's included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(
        self,
        x: Tensor,
        lengths: Tensor,
        state: NetworkState | None,
        rows: Tensor,
        steps: Tensor,
        candidates: Tensor,
        known: Tensor,
    ) -> tuple[Tensor, NetworkState]:
        """Scan, then forecast from R of the B · T steps.

        Args:
            x: Inputs, shape (B, T, D).
            lengths: Steps of each row, shape (B,).
            state: State before the first step; None for zeros.
            rows: The row of each forecast, shape (R,).
            steps: The step of each forecast, shape (R,).
            candidates: See `HorizonHead`, shape (R, K, C).
            known: See `HorizonHead`, shape (R, K, F).

        Returns:
            The head's numbers, shape (R, K, P), and the state after the last step.
        """
        hidden, state = self.network(x, state, lengths)
        chosen = functional.dropout(hidden[rows, steps], self.dropout, self.training)
        return self.head(chosen, candidates, known), state
