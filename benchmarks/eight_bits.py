"""What weights of eight bits cost: a character model, stepped in float32 and with int8 weights.

    .venv/bin/python benchmarks/eight_bits.py ../shared/data/text/tiny-shakespeare.txt

Trains an LSTM on the first nine tenths of a text, then reads the start of the last tenth with both.
Shows bits a character, how often both find the same character most likely, and how far
probabilities are apart at most.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from noria import LSTM, Network, kernels
from noria.runtime.stepper import NetworkStepper


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--read", type=int, default=50_000, help="characters")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=Path("eight_bits.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kernels.set_num_threads(options.threads)

    characters, found = np.unique(list(options.text.read_text("utf-8")), return_inverse=True)
    split = len(found) * 9 // 10
    held_out = found[split : split + options.read + 1]
    results = []
    for seed in options.seeds:
        network = trained(found[:split], len(characters), options.hidden, options.updates, seed)
        weights = {name: array.detach().numpy() for name, array in network.state_dict().items()}
        x = np.eye(len(characters), dtype="float32")[held_out[:-1]][None]
        read = {}
        for name in ("float32", "int8"):
            stepper = NetworkStepper(network.wiring, weights, int8=name == "int8")
            y = torch.from_numpy(stepper.scan(x, stepper.zero_state(1))[0][0])
            read[name] = y.double().log_softmax(-1).numpy()
        wanted = held_out[1:]
        bits = {
            name: float(-y[np.arange(len(wanted)), wanted].mean() / math.log(2))
            for name, y in read.items()
        }
        same = (read["float32"].argmax(1) == read["int8"].argmax(1)).mean()
        apart = np.abs(np.exp(read["float32"]) - np.exp(read["int8"])).max()
        results.append({"seed": seed, "bits": bits, "same": float(same), "apart": float(apart)})
        print(
            f"seed {seed}: {bits['float32']:.4f} bits a character in float32,"
            f" {bits['int8']:.4f} with int8; the same character most likely in {100 * same:.2f} %;"
            f" probabilities differ by {apart:.3f} at most",
            flush=True,
        )
    options.output.write_text(json.dumps(results, indent=1) + "\n")


def trained(text: np.ndarray, size: int, hidden: int, updates: int, seed: int) -> Network:
    """A network that predicts the next of `size` characters, after so many updates."""
    torch.manual_seed(seed)
    network = Network(size, [LSTM(hidden)], output_size=size)
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    random = np.random.default_rng(seed)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - update / updates)
        starts = random.integers(0, len(text) - 101, 16)
        part = torch.from_numpy(np.stack([text[start : start + 101] for start in starts]))
        y, _ = network(functional.one_hot(part[:, :-1], size).float())
        loss = functional.cross_entropy(y.reshape(-1, size), part[:, 1:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return network


if __name__ == "__main__":
    main()
