"""Tell seven exercises apart by four seconds of a smartwatch's sensors, as Burns et al. 2018 did.

    .venv/bin/python benchmarks/watch_exercises.py ../shared/data/activity/watch-exercises.npz

Recordings at 50 Hz are cut into windows of 200 steps, every 100 steps. Five-fold cross-validation,
once by time (each recording in five parts, windows within a part) and once by subject (two people
left out at a time). What is left out is scored once; the networks stop by groups of the rest.
Prints a line a fold, then the means, and writes JSON.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

from noria import SequenceClassifier

GOALS = {"time": 99.4, "subject": 88.9}
FOLDS, WINDOW, HOP = 5, 200, 100


def windows(path: Path) -> dict[str, np.ndarray]:
    """All windows, with their class, subject, and part of a recording."""
    data = np.load(path)
    found = {"x": [], "y": [], "subject": [], "part": []}
    recordings = np.split(data["x"], np.cumsum(data["lengths"])[:-1])
    for number, recording in enumerate(recordings):
        for part, piece in enumerate(np.array_split(recording, FOLDS)):
            for first in range(0, len(piece) - WINDOW + 1, HOP):
                found["x"].append(piece[first : first + WINDOW])
                found["y"].append(data["classes"][data["y"][number]])
                found["subject"].append(data["subject"][number])
                found["part"].append(number * FOLDS + part)
    return {name: np.array(values) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--by", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--folds", type=int, nargs="+", choices=range(FOLDS), default=range(FOLDS))
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--augmentation", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--baselines", nargs="*", default=["fnn", "logistic_regression"])
    parser.add_argument("--output", type=Path, default=Path("watch_exercises.json"))
    options = parser.parse_args()
    data = windows(options.data)
    results = []
    for by in options.by:
        held = data["part"] % FOLDS if by == "time" else (data["subject"] - 1) // 2
        for seed in options.seeds:
            for fold in options.folds:
                started = time.monotonic()
                rest, own = held != fold, held == fold
                classifier = SequenceClassifier(
                    members=options.members,
                    steps=options.steps,
                    batch_size=options.batch_size,
                    augmentation=options.augmentation,
                    baselines=options.baselines,
                    seed=seed,
                ).fit(
                    data["x"][rest],
                    data["y"][rest],
                    groups=data["part" if by == "time" else "subject"][rest],
                    test=(data["x"][own], data["y"][own]),
                )
                scores = classifier.comparison_.scores
                result = {
                    "by": by,
                    "seed": seed,
                    "fold": fold,
                    "windows": int(own.sum()),
                    "seconds": time.monotonic() - started,
                    "accuracy": {score.model: 100 * score.accuracy for score in scores},
                }
                results.append(result)
                print(json.dumps(result), flush=True)
    for by in options.by:
        lines = [result for result in results if result["by"] == by]
        figures = []
        for model in lines[0]["accuracy"]:
            means = [
                np.average(
                    [line["accuracy"][model] for line in lines if line["seed"] == seed],
                    weights=[line["windows"] for line in lines if line["seed"] == seed],
                )
                for seed in options.seeds
            ]
            figures.append(f"{model} {np.mean(means):.2f} ± {np.std(means):.2f}")
        print(f"by {by}: accuracy % {', '.join(figures)}; goal {GOALS[by]}", flush=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
    options.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
