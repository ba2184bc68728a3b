"""Fit the translator on Tatoeba's English and Spanish sentences, and score its test part.

    .venv/bin/python benchmarks/tatoeba.py ../shared/data/text/tatoeba-en-es/spa-eng.zip

The zip file of manythings.org holds pairs, a tab between them. The first byte of the MD5 hash of
the English side cuts them: below 8 for the test, from 8 to 15 for validation; so all translations
of a sentence are on one side of the cut. The test part is scored once. Prints a line a seed and
writes JSON.
"""

import argparse
import hashlib
import json
import os
import platform
import zipfile
from pathlib import Path

import torch

from noria import Translator

Pairs = list[tuple[str, str]]


def read(path: Path) -> tuple[Pairs, Pairs, Pairs]:
    """Pairs to learn from, to validate on and to test on."""
    parts: tuple[Pairs, Pairs, Pairs] = ([], [], [])
    with zipfile.ZipFile(path) as file:
        lines = file.read("spa.txt").decode().splitlines()
    for line in lines:
        english, spanish = line.split("\t")[:2]
        first = hashlib.md5(english.encode(), usedforsecurity=False).digest()[0]
        parts[2 if first < 8 else 1 if first < 16 else 0].append((english, spanish))
    return parts


def sides(pairs: Pairs) -> tuple[list[str], list[str]]:
    return [one for one, _ in pairs], [other for _, other in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--checkpoint", type=Path, help="keep the training's state here, and go on from it"
    )
    parser.add_argument("--model", type=Path, help="keep the last model here")
    parser.add_argument("--output", type=Path, default=Path("tatoeba.json"))
    options = parser.parse_args()
    training, validation, test = read(options.pairs)
    print(f"{len(training)} pairs to learn, {len(validation)} to validate, {len(test)} to test")
    results = []
    for seed in options.seeds:
        translator = Translator(
            steps=options.steps,
            batch_size=options.batch_size,
            dropout=0.2,
            baselines=("lexicon",),
            seed=seed,
        )
        translator.fit(
            *sides(training),
            validation=sides(validation),
            test=sides(test),
            checkpoint=options.checkpoint
            and options.checkpoint.with_name(f"{options.checkpoint.name}-{seed}"),
            resume=options.checkpoint is not None,
            progress=True,
        )
        if options.model is not None:
            translator.save(options.model)
        assert translator.comparison_ is not None
        own, *rivals = translator.comparison_.scores
        history = translator.network_.history
        results.append(
            {
                "seed": seed,
                "training_seconds": history.seconds,
                "best_step": history.best_step,
                "validation": history.validation,
                "metrics": own.metrics(),
                "baselines": {rival.model: rival.metrics() for rival in rivals},
                "signatures": translator.comparison_.notes,
            }
        )
        print(json.dumps(results[-1]), flush=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
    options.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
