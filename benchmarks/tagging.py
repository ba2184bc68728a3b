"""Fit the tagger on CoNLL-2000's chunks, and score its official test part.

    .venv/bin/python benchmarks/tagging.py ../shared/data/text/conll2000.zip

The tagger is fitted on train.txt alone, with the parts of speech that are in it and without any
word vectors; every setting is the library's default. test.txt is scored once a seed. Prints a line
a seed, then the mean beside its goal, and writes JSON.
"""

import argparse
import json
import os
import platform
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import torch

from noria import SequenceTagger

GOAL = 93.5


def score(folder: Path, seed: int, baselines: list[str]) -> dict[str, object]:
    started, cpu = time.monotonic(), time.process_time()
    tagger = SequenceTagger(seed=seed, baselines=baselines)
    tagger.fit(folder / "train.txt", test=folder / "test.txt", features=[2])
    comparison = tagger.comparison_
    return {
        "seed": seed,
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - cpu,
        "parameters": comparison.scores[0].parameters,
        "metrics": {line.model: line.metrics() for line in comparison.scores},
        "types": {part.name: part.f1 for part in comparison.types},
        "steps": [history.best_step for history in tagger.network_.histories],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument(
        "--baselines",
        nargs="*",
        default=["fnn", "most_frequent_tag", "logistic_regression"],
        metavar="NAME",
    )
    parser.add_argument("--output", type=Path, default=Path("tagging.json"))
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(options.archive).extractall(folder)
        for seed in options.seeds:
            results.append(score(Path(folder) / "conll2000", seed, options.baselines))
            print(json.dumps(results[-1]), flush=True)
    models = results[0]["metrics"]
    figures = {m: [100 * result["metrics"][m]["f1"] for result in results] for m in models}
    text = ", ".join(f"{m} {np.mean(v):.2f} ± {np.std(v):.2f}" for m, v in figures.items())
    print(f"CoNLL-2000: F1 % {text}; goal {GOAL}", flush=True)
    machine = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    options.output.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
