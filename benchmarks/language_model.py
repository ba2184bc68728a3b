"""Fit the character model on Tiny Shakespeare, alone or beside a small GPT in the same time.

    .venv/bin/python benchmarks/language_model.py ../shared/data/text/tiny-shakespeare.txt \\
        --steps 4500
    .venv/bin/python benchmarks/language_model.py ../shared/data/text/tiny-shakespeare.txt \\
        --minutes 3 --peer --threads 2

The last tenth of the text is scored once a run; nothing was chosen by it: validation is on the end
of the first nine tenths. The peer is a GPT in the size and with the training of nanoGPT's README
for a CPU (4 layers of 4 heads, 128 wide, context 64, batch 12, no dropout; AdamW, 1e-3 falling to
1e-4 by a cosine after 100 steps of warming up, betas 0.9 and 0.99, weight decay 0.1), written with
torch's own layers. With --minutes both get as many steps as fit, counted on a short run before,
and their learning rates fall over these. The peer is scored twice: on windows of 64 characters one
after the other, as it was trained and its figure published; and with windows half as far apart of
which the second half counts, so that every character has at least 32 before it.

Each run is a process of its own on the threads given. Prints a line a run and writes JSON.
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

import torch
from torch import nn
from torch.nn import functional

QUICK = {
    "cell": "gru",
    "hidden_size": 384,
    "dropout": 0.1,
    "batch_size": 16,
    "learning_rate": 4e-3,
    "validation_size": 0.02,
    "patience": 20,
}
LONG = {
    "cell": "lstm",
    "hidden_size": 512,
    "dropout": 0.4,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "validation_size": 0.02,
    "patience": 20,
}
BLOCK, BATCH, LAYERS, HEADS, WIDTH = 64, 12, 4, 4, 128
PEAK, LOWEST, WARM_UP, PUBLISHED_STEPS = 1e-3, 1e-4, 100, 2000
MARGIN = 0.97


def noria(text: str, seed: int, options: argparse.Namespace) -> dict[str, object]:
    from noria import LanguageModel

    cut = round(0.9 * len(text))
    settings = LONG if options.minutes is None else QUICK
    steps = options.steps

    def model(steps: int, baselines: tuple[str, ...]) -> LanguageModel:
        return LanguageModel(steps=steps, seed=seed, baselines=baselines, test_size=0.0, **settings)

    if options.minutes is not None:
        few, more = (
            model(count, ()).fit([text[:cut]]).network_.history.seconds for count in (40, 120)
        )
        each = (more - few) / 80
        steps = int((MARGIN * 60 * options.minutes - (few - 40 * each)) / each)
    checkpoint = options.checkpoint and options.checkpoint.with_name(
        f"{options.checkpoint.name}-{seed}"
    )
    rivals_of = ("fnn", "kneser_ney") if options.fnn else ("kneser_ney",)
    fitted = model(steps, rivals_of).fit(
        [text[:cut]], checkpoint=checkpoint, resume=checkpoint is not None
    )
    if options.model is not None:
        fitted.save(options.model)
    own, *rivals = fitted.evaluate([text[cut:]], adapt=options.minutes is None).scores
    history = fitted.network_.history
    return {
        "model": "noria",
        "seed": seed,
        "steps": steps,
        "settings": settings,
        "training_seconds": history.seconds,
        "parameters": own.parameters,
        "loss": own.loss,
        "validation": history.validation,
        "best_step": history.best_step,
        "rivals": {rival.model: rival.loss for rival in rivals},
    }


class SmallGPT(nn.Module):
    """A decoder-only transformer: learned positions, norm first, tied weights, no biases."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, WIDTH)
        self.positions = nn.Embedding(BLOCK, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True, bias=False
        )
        norm = nn.LayerNorm(WIDTH, bias=False)
        self.layers = nn.TransformerEncoder(layer, LAYERS, norm, enable_nested_tensor=False)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                last = name.endswith(("out_proj.weight", "linear2.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if last else 0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        steps = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(steps)
        x = self.embedding(tokens) + self.positions.weight[:steps]
        return functional.linear(self.layers(x, mask, is_causal=True), self.embedding.weight)


def peer(text: str, seed: int, options: argparse.Namespace) -> dict[str, object]:
    letters = sorted(set(text))
    data = torch.tensor([letters.index(letter) for letter in text])
    cut = round(0.9 * len(data))
    training, held_out = data[:cut], data[cut:]
    steps = PUBLISHED_STEPS
    if options.minutes is not None:
        train_peer(training, len(letters), seed, 20)
        _, seconds = train_peer(training, len(letters), seed, 100)
        steps = int(MARGIN * 60 * options.minutes * 100 / seconds)
    model, seconds = train_peer(training, len(letters), seed, steps)
    model.eval()
    return {
        "model": "small GPT",
        "seed": seed,
        "steps": steps,
        "training_seconds": seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        "loss": score_peer(model, held_out, BLOCK),
        "loss with 32 characters before": score_peer(model, held_out, BLOCK // 2),
    }


def train_peer(
    training: torch.Tensor, vocabulary_size: int, seed: int, steps: int
) -> tuple[SmallGPT, float]:
    torch.manual_seed(seed)
    model = SmallGPT(vocabulary_size)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=PEAK,
        betas=(0.9, 0.99),
        fused=True,
    )
    started = time.monotonic()
    for step in range(steps):
        rate = PEAK * (step + 1) / (WARM_UP + 1)
        if step >= WARM_UP:
            done = (step - WARM_UP) / max(1, steps - WARM_UP)
            rate = LOWEST + 0.5 * (1 + math.cos(math.pi * done)) * (PEAK - LOWEST)
        for group in optimizer.param_groups:
            group["lr"] = rate
        begins = torch.randint(len(training) - BLOCK, (BATCH, 1))
        rows = training[begins + torch.arange(BLOCK + 1)]
        logits = model(rows[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model, time.monotonic() - started


@torch.no_grad()
def score_peer(model: SmallGPT, held_out: torch.Tensor, stride: int) -> float:
    """Nats a character; of each window the last `stride` characters count."""
    count = (len(held_out) - 1 - BLOCK) // stride + 1
    rows = held_out[torch.arange(count)[:, None] * stride + torch.arange(BLOCK + 1)]
    losses = [
        functional.cross_entropy(model(part[:, :-1]).transpose(1, 2), part[:, 1:], reduction="none")
        for part in rows.split(64)
    ]
    return float(torch.cat(losses)[:, -stride:].double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=9000, help="of the long run")
    parser.add_argument("--minutes", type=float, help="train for so long instead")
    parser.add_argument("--peer", action="store_true", help="train the small GPT too")
    parser.add_argument("--fnn", action="store_true", help="train the feed-forward rival too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--checkpoint", type=Path, help="keep the trainings' states here, and go on from them"
    )
    parser.add_argument("--model", type=Path, help="keep the last model here")
    parser.add_argument("--output", type=Path, default=Path("language_model.json"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        torch.set_num_threads(options.threads)
        name, seed = options.one.split(",")
        run = {"peer": peer, "noria": noria}[name]
        print(json.dumps(run(options.text.read_text(), int(seed), options)))
        return
    names = ["noria", *(["peer"] if options.peer else [])]
    results = []
    threads = str(options.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "NORIA_NUM_THREADS": threads}
    for seed in options.seeds:
        for name in names:
            command = [sys.executable, *sys.argv, "--one", f"{name},{seed}"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
            results.append(json.loads(done.stdout.splitlines()[-1]))
            print(json.dumps(results[-1]), flush=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
    options.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
