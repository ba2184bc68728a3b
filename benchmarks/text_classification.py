"""Fit the classifier of texts on film reviews, questions and Spanish tweets, and score it.

    .venv/bin/python benchmarks/text_classification.py ../shared/data/text

The folder holds mr/rt-polarity.all, trec/{train,test}.all and spanish-sentiment/. Reviews are
scored by ten-fold cross-validation, a fresh model a fold; the others on their official test parts.
What differs from the library's defaults stands in SETTINGS; networks stop by parts of the training
data alone. Prints a line a set and seed, then the means beside their goals, and writes JSON.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

from noria import TextClassifier
from noria.features.text import read_lines

GOALS = {"mr": ("accuracy", 75.9), "trec": ("accuracy", 91.2), "tweets": ("macro_f1", 50.1)}
# The words stand between blanks already. All steps of a member's schedule, which is short.
SMOOTHED = {"tokens": "space", "label_smoothing": 0.1, "patience": 25}
SETTINGS: dict[str, dict[str, object]] = {
    "mr": {**SMOOTHED, "members": 1, "steps": 600},
    "trec": {**SMOOTHED, "members": 5, "steps": 330, "lower_case": False},
    "tweets": {},
}

Texts = tuple[list[str], np.ndarray]


def numbered(path: Path) -> Texts:
    """Lines whose first field is the class."""
    rows = [line.split(" ", 1) for line in read_lines(path, "latin-1")]
    return [text for _, text in rows], np.array([int(label) for label, _ in rows])


def tweets(folder: Path, part: str) -> Texts:
    labels = [int(line) for line in read_lines(folder / f"{part}_labels.txt")]
    return read_lines(folder / f"{part}_text.txt"), np.array(labels)


def parts(folder: Path, name: str, seed: int) -> list[tuple[Texts, Texts]]:
    """Training and test parts of a set; of reviews one pair a fold."""
    if name == "trec":
        return [(numbered(folder / "trec/train.all"), numbered(folder / "trec/test.all"))]
    if name == "tweets":
        spanish = folder / "spanish-sentiment"
        (texts, labels), (more, others) = tweets(spanish, "train"), tweets(spanish, "val")
        training = texts + more, np.concatenate([labels, others])
        return [(training, tweets(spanish, "test"))]
    texts, labels = numbered(folder / "mr/rt-polarity.all")
    folds = np.array_split(np.random.default_rng(seed).permutation(len(texts)), 10)
    return [
        tuple(
            ([texts[i] for i in chosen], labels[chosen])
            for chosen in (np.setdiff1d(np.arange(len(texts)), fold), fold)
        )
        for fold in folds
    ]


def score(folder: Path, name: str, seed: int, baselines: list[str]) -> dict[str, object]:
    metrics: dict[str, dict[str, list[float]]] = {}
    started, cpu = time.monotonic(), time.process_time()
    for training, test in parts(folder, name, seed):
        classifier = TextClassifier(**SETTINGS[name], baselines=baselines, seed=seed)
        classifier.fit(*training, test=test)
        for line in classifier.comparison_.scores:
            for metric, value in line.metrics().items():
                metrics.setdefault(line.model, {}).setdefault(metric, []).append(value)
    return {
        "set": name,
        "seed": seed,
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - cpu,
        "metrics": {
            model: {metric: float(np.mean(values)) for metric, values in figures.items()}
            for model, figures in metrics.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument(
        "--baselines", nargs="*", default=["fnn", "tfidf_logistic_regression"], metavar="NAME"
    )
    parser.add_argument("--output", type=Path, default=Path("text_classification.json"))
    options = parser.parse_args()
    results = []
    for name in options.sets:
        for seed in options.seeds:
            results.append(score(options.folder, name, seed, options.baselines))
            print(json.dumps(results[-1]), flush=True)
    for name in options.sets:
        metric, goal = GOALS[name]
        own = [result["metrics"] for result in results if result["set"] == name]
        figures = {model: [100 * m[model][metric] for m in own] for model in own[0]}
        text = ", ".join(f"{m} {np.mean(v):.2f} ± {np.std(v):.2f}" for m, v in figures.items())
        print(f"{name}: {metric} % {text}; goal {goal}", flush=True)
    machine = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    options.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
