"""Tell four movements of a hand apart by sixteen points of a fingertip's track.

    .venv/bin/python benchmarks/hand_gestures.py ../shared/data/activity/hand-gestures.csv

A row of the file is a track: its class, then x and y of each point. Neighbouring rows overlap, so
the last fifth of each class, in the order of the file, is the test part, scored once a seed; the
networks stop by whole blocks of neighbouring rows, ten a class. Every setting is the library's
default. Prints a line a seed, then the means, and writes JSON.
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

NAMES = ("stop", "clockwise", "counter-clockwise", "move")
BLOCKS = 10


def read(path: Path) -> dict[str, np.ndarray]:
    """Tracks (N, 16, 2), their classes, blocks, and whether each is for the test."""
    rows = np.loadtxt(path, delimiter=",")
    classes = rows[:, 0].astype(int)
    block, is_test = np.zeros(len(rows), int), np.zeros(len(rows), bool)
    for number in range(len(NAMES)):
        own = np.flatnonzero(classes == number)
        first = len(own) * 4 // 5
        is_test[own[first:]] = True
        block[own[:first]] = number * BLOCKS + np.arange(first) * BLOCKS // first
    tracks = rows[:, 1:].reshape(len(rows), -1, 2)
    return {"x": tracks, "y": np.array(NAMES)[classes], "block": block, "is_test": is_test}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=Path("hand_gestures.json"))
    options = parser.parse_args()
    data = read(options.data)
    rest, own = ~data["is_test"], data["is_test"]
    results = []
    for seed in options.seeds:
        started = time.monotonic()
        classifier = SequenceClassifier(seed=seed).fit(
            data["x"][rest],
            data["y"][rest],
            groups=data["block"][rest],
            test=(data["x"][own], data["y"][own]),
        )
        comparison = classifier.comparison_
        result = {
            "seed": seed,
            "cases": comparison.cases,
            "seconds": time.monotonic() - started,
            "accuracy": {score.model: 100 * score.accuracy for score in comparison.scores},
            "macro_f1": {score.model: 100 * score.macro_f1 for score in comparison.scores},
            "confusion": comparison.confusion,
            "notes": comparison.notes,
        }
        results.append(result)
        print(json.dumps(result), flush=True)
    for model in results[0]["accuracy"]:
        values = [result["accuracy"][model] for result in results]
        print(f"{model}: accuracy % {np.mean(values):.2f} ± {np.std(values):.2f}", flush=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
    options.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
