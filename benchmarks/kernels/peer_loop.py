"""A layer with layer normalisation as one would write it in torch: a loop of its operations."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from noria import Network


class NormalisedLoop(nn.Module):
    """An LSTM or GRU whose pre-activations go through layer normalisation, gates side by side.

    Args:
        network: One layer, whose weights it takes.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        (self.cell,) = (layer.cell for layer in network.wiring.layers)
        names = ("weight_ih", "weight_hh.0", "bias_ih", "bias_hh", "weight_norm")
        self.w, self.r, self.b_ih, self.b_hh, self.gain = (
            nn.Parameter(network.get_parameter(f"layers.0.{name}").detach().clone())
            for name in names
        )

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """y (B, T, H)."""
        return (self._lstm(x) if self.cell == "lstm" else self._gru(x)), None

    def _lstm(self, x: Tensor) -> Tensor:
        hidden = self.r.shape[1]
        below = functional.linear(x, self.w).unflatten(-1, (4, hidden)).unbind(1)
        bias, gain, weight = (self.b_ih + self.b_hh).view(4, hidden), self.gain, self.r.mT
        h = c = x.new_zeros(len(x), hidden)
        outputs = []
        for x_t in below:
            a = functional.layer_norm(x_t + (h @ weight).view(x_t.shape), (hidden,))
            i, f, g, o = torch.addcmul(bias, a, gain).unbind(1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, dim=1)

    def _gru(self, x: Tensor) -> Tensor:
        hidden = self.r.shape[1]
        below = functional.linear(x, self.w).unflatten(-1, (3, hidden))
        b_ih, b_hh = self.b_ih.view(3, hidden), self.b_hh.view(3, hidden)
        new = functional.layer_norm(below[:, :, 2], (hidden,), self.gain[0], b_ih[2]).unbind(1)
        bias, gain, weight = (b_ih + b_hh)[:2], self.gain[1:3], self.r.mT
        h = x.new_zeros(len(x), hidden)
        outputs = []
        for a, x_n in zip(below[:, :, :2].unbind(1), new, strict=True):
            back = (h @ weight).view(-1, 3, hidden)
            gates = functional.layer_norm(a + back[:, :2], (hidden,))
            r, z = torch.addcmul(bias, gates, gain).sigmoid().unbind(1)
            r_n = functional.layer_norm(back[:, 2], (hidden,), self.gain[3], b_hh[2])
            n = (x_n + r * r_n).tanh()
            h = torch.lerp(n, h, z)
            outputs.append(h)
        return torch.stack(outputs, dim=1)
