"""Time a character model that writes, H=512, one thread, beside the same model stepped in torch.

    taskset -c 0 .venv/bin/python benchmarks/generation.py

Weights are random: speed does not depend on them. First both are run on the same text and their
log-probabilities compared. Then characters a second: medians over runs, alternating, for one text
and for several side by side. Prints a line a case and writes JSON.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NORIA_NUM_THREADS", "1")

import argparse
import itertools
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from noria.modules.language import LanguageModule, LanguagePlan
from noria.runtime.language import LanguageStepper, Sampling, generate

VOCABULARY, EMBEDDING, HIDDEN = 69, 64, 512
GOAL = 20_000


class InTorch(torch.nn.Module):
    """The same model with torch's own cell, as one would write it."""

    def __init__(self, module: LanguageModule, cell: str) -> None:
        super().__init__()
        kind = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}[cell]
        self.embedding, self.output = module.embedding, module.output
        self.cell = kind(EMBEDDING, HIDDEN)
        layer = module.network.layers[0]
        with torch.no_grad():
            self.cell.weight_ih.copy_(layer.weight_ih)
            self.cell.weight_hh.copy_(layer.weight_hh["0"])
            self.cell.bias_ih.copy_(layer.bias_ih)
            self.cell.bias_hh.copy_(layer.bias_hh)

    def step(self, tokens, state):
        state = self.cell(self.embedding(tokens), state)
        return self.output(state[0] if isinstance(state, tuple) else state), state


@torch.inference_mode()
def in_torch(model: InTorch, samples: int, characters: int) -> float:
    tokens, state = torch.zeros(samples, dtype=torch.long), None
    started = time.perf_counter()
    for _ in range(characters):
        logits, state = model.step(tokens, state)
        tokens = torch.multinomial(logits.softmax(-1), 1)[:, 0]
    return samples * characters / (time.perf_counter() - started)


def in_noria(stepper: LanguageStepper, samples: int, characters: int) -> float:
    prompt = np.zeros(1, np.int64)
    steps = generate(stepper, prompt, Sampling(), samples=samples)
    started = time.perf_counter()
    for _ in itertools.islice(steps, characters):
        pass
    return samples * characters / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("generation.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for cell in ("lstm", "gru"):
        torch.manual_seed(0)
        plan = LanguagePlan.build(VOCABULARY, cell, EMBEDDING, HIDDEN, 1, "direct+lateral")
        module = LanguageModule(plan).eval()
        weights = {name: p.detach().numpy() for name, p in module.named_parameters()}
        stepper = LanguageStepper(plan.to_dict(), weights)
        peer = InTorch(module, cell).eval()
        check(stepper, peer)
        rounded = LanguageStepper(plan.to_dict(), weights, int8=True)
        for samples in (1, 16):
            count = 1500 if samples == 1 else 300
            runs = [
                (
                    in_noria(stepper, samples, count),
                    in_noria(rounded, samples, count),
                    in_torch(peer, samples, count),
                )
                for _ in range(options.runs)
            ]
            own, int8, torchs = (statistics.median(column) for column in zip(*runs, strict=True))
            results.append(
                {"cell": cell, "samples": samples, "noria": own, "int8": int8, "torch": torchs}
            )
            print(
                f"{cell}, {samples} texts, characters/s: float32 {own:,.0f}, int8 {int8:,.0f}"
                f" (goal {GOAL:,}); torch {torchs:,.0f}; ratios {own / torchs:.2f},"
                f" {int8 / torchs:.2f} (goal 5)",
                flush=True,
            )
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    options.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


@torch.inference_mode()
def check(stepper: LanguageStepper, peer: InTorch) -> None:
    random = np.random.default_rng(0)
    texts, other = stepper.start(2), None
    for tokens in random.integers(0, VOCABULARY, (20, 2)):
        expected, other = peer.step(torch.from_numpy(tokens), other)
        np.testing.assert_allclose(texts.read(tokens), expected, atol=1e-5)


if __name__ == "__main__":
    main()
