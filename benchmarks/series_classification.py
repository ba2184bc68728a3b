"""Fit the classifier on four sets of the UEA and UCR archives, and score their official test parts.

    .venv/bin/python benchmarks/series_classification.py ../shared/data/series/classification

The folder holds a folder a set with its _TRAIN.ts and _TEST.ts. Every setting is the library's
default; the models are fitted on the training file alone, and each test file is scored once a
seed. Prints a line a set and seed, then the means beside their goals, and writes JSON.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from noria import SequenceClassifier
from noria.training.class_rivals import CLASS_BASELINES

GOALS = {"JapaneseVowels": 98.65, "ArrowHead": 88.1, "GunPoint": 99.2, "BasicMotions": 100.0}


def score(folder: Path, name: str, seed: int, baselines: Sequence[str]) -> dict[str, object]:
    started = time.monotonic()
    train, test = (folder / name / f"{name}_{part}.ts" for part in ("TRAIN", "TEST"))
    classifier = SequenceClassifier(seed=seed, baselines=baselines).fit(train, test=test)
    own, *rivals = classifier.comparison_.scores
    return {
        "set": name,
        "seed": seed,
        "seconds": time.monotonic() - started,
        "network_seconds": own.seconds,
        "parameters": own.parameters,
        "metrics": own.metrics(),
        "baselines": {rival.model: rival.metrics() for rival in rivals},
        "confusion": classifier.comparison_.confusion,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--baselines", nargs="*", default=CLASS_BASELINES)
    parser.add_argument("--output", type=Path, default=Path("series_classification.json"))
    options = parser.parse_args()
    results = []
    for name in options.sets:
        for seed in options.seeds:
            result = score(options.folder, name, seed, options.baselines)
            results.append(result)
            print(json.dumps(result), flush=True)
    for name in options.sets:
        lines: dict[str, list[float]] = {}
        for result in results:
            if result["set"] == name:
                for model, metrics in {"network": result["metrics"], **result["baselines"]}.items():
                    lines.setdefault(model, []).append(100 * metrics["accuracy"])
        figures = ", ".join(f"{m} {np.mean(v):.2f} ± {np.std(v):.2f}" for m, v in lines.items())
        print(f"{name}: accuracy % {figures}; goal {GOALS[name]}", flush=True)
    machine = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    options.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
