"""Fit the character model on Tiny Shakespeare beside nanoGPT's small configuration for a CPU.

    git clone https://github.com/karpathy/nanoGPT
    .venv/bin/python benchmarks/language_model.py ../shared/data/text/tiny-shakespeare.txt \\
        --nanogpt nanoGPT

The last tenth of the text is scored once a run; nothing was chosen by it. Each run is a process of
its own on the threads given, and its processor seconds are counted: those of the training alone,
validation included. nanoGPT's model is its own code; its training is its README's for a CPU (block
64, batch 12, 4 layers of 4 heads, 128 wide, 2,000 steps, no dropout), its text the first nine
tenths. It is scored on all windows of 64 characters, one after the other, as it was trained.
Prints a line a run and writes JSON.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

SETTINGS = {
    "cell": "gru",
    "hidden_size": 384,
    "dropout": 0.2,
    "batch_size": 16,
    "learning_rate": 4e-3,
    "patience": 20,
}
BLOCK, BATCH, STEPS = 64, 12, 2000


def noria(text: Path, seed: int, steps: int, baselines: tuple[str, ...]) -> dict[str, object]:
    from noria import LanguageModel

    model = LanguageModel(steps=steps, seed=seed, baselines=baselines, test_size=0.0, **SETTINGS)
    started = time.process_time()
    whole = text.read_text()
    cut = round(0.9 * len(whole))
    model.fit([whole[:cut]])
    seconds = time.process_time() - started
    comparison = model.evaluate([whole[cut:]], adapt=True)
    own, *rivals = comparison.scores
    return {
        "model": "noria",
        "seed": seed,
        "cpu_seconds": seconds,
        "parameters": own.parameters,
        "loss": own.loss,
        "validation": model.network_.history.validation,
        "rivals": {rival.model: rival.loss for rival in rivals},
    }


def nanogpt(text: Path, checkout: Path, seed: int) -> dict[str, object]:
    sys.path.insert(0, str(checkout))
    from model import GPT, GPTConfig

    torch.manual_seed(seed)
    whole = text.read_text()
    letters = sorted(set(whole))
    data = np.array([letters.index(letter) for letter in whole], dtype=np.int64)
    cut = int(0.9 * len(data))
    training, held_out = data[:cut], data[cut:]
    config = GPTConfig(
        block_size=BLOCK,
        vocab_size=len(letters),
        n_layer=4,
        n_head=4,
        n_embd=128,
        dropout=0.0,
        bias=False,
    )
    model = GPT(config)
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")
    started = time.process_time()
    for step in range(STEPS):
        rate = 1e-3 * (step + 1) / 101
        if step >= 100:
            rate = 1e-4 + 0.5 * (1 + math.cos(math.pi * (step - 100) / (STEPS - 100))) * 9e-4
        for group in optimizer.param_groups:
            group["lr"] = rate
        begins = torch.randint(len(training) - BLOCK, (BATCH,)).numpy()
        rows = torch.from_numpy(training[begins[:, None] + np.arange(BLOCK + 1)])
        _, loss = model(rows[:, :-1], rows[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    seconds = time.process_time() - started
    model.eval()
    count = (len(held_out) - 1) // BLOCK
    where = np.arange(count)[:, None] * BLOCK + np.arange(BLOCK + 1)
    rows = torch.from_numpy(held_out[where])
    with torch.no_grad():
        losses = [float(model(part[:, :-1], part[:, 1:])[1]) * len(part) for part in rows.split(64)]
    return {
        "model": "nanoGPT",
        "seed": seed,
        "cpu_seconds": seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        "loss": sum(losses) / count,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--nanogpt", type=Path, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, nargs="+", default=[8000], help="of Noria's runs")
    parser.add_argument("--fnn", action="store_true", help="train the feed-forward rival too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("language_model.json"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        torch.set_num_threads(options.threads)
        name, seed, steps = options.one.split(",")
        if name == "nanogpt":
            result = nanogpt(options.text, options.nanogpt, int(seed))
        else:
            baselines = ("fnn", "kneser_ney") if options.fnn else ("kneser_ney",)
            result = noria(options.text, int(seed), int(steps), baselines)
        print(json.dumps(result))
        return
    runs = [f"noria,{seed},{steps}" for steps in options.steps for seed in options.seeds]
    if options.nanogpt is not None:
        runs += [f"nanogpt,{seed},0" for seed in options.seeds]
    results = []
    threads = str(options.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "NORIA_NUM_THREADS": threads}
    for run in runs:
        command = [sys.executable, *sys.argv, "--one", run]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
        results.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(results[-1]), flush=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
    options.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
