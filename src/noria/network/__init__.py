"""Networks: a wiring as a torch module that scans, steps and rolls out."""

from noria.network.exchange import from_torch, to_torch
from noria.network.network import Network, NetworkState

__all__ = ["Network", "NetworkState", "from_torch", "to_torch"]
