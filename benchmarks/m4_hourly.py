"""Forecast all 414 series of M4 Hourly, 48 steps ahead, and score the official test part.

    .venv/bin/python benchmarks/m4_hourly.py ../shared/data/series/m4-hourly --seeds 0 1 2

The folder holds the competition's train.csv and test.csv. The model is fitted on train.csv alone,
through the command line, in a process of its own; its validation windows are the last of
train.csv. The test part is then forecast once. Prints a line a seed and writes JSON.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

SEASON = "24,168"


def read_wide(path: Path) -> dict[str, list[float]]:
    with path.open() as file:
        rows = csv.reader(file)
        next(rows)
        return {row[0]: [float(value) for value in row[1:] if value] for row in rows}


def write_long(path: Path, series: dict[str, list[float]]) -> None:
    columns = {
        "unique_id": [name for name, values in series.items() for _ in values],
        "ds": [step for values in series.values() for step in range(1, len(values) + 1)],
        "y": [value for values in series.values() for value in values],
    }
    pl.DataFrame(columns).write_csv(path)


def noria(*arguments: object) -> str:
    words = [sys.executable, "-m", "noria", *map(str, arguments)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--output", type=Path, default=Path("m4_hourly.json"))
    options = parser.parse_args()
    train = read_wide(options.folder / "train.csv")
    test = read_wide(options.folder / "test.csv")
    whole = {name: values + test[name] for name, values in train.items()}
    results = []
    with tempfile.TemporaryDirectory() as folder:
        history, everything = Path(folder, "train.csv"), Path(folder, "whole.csv")
        write_long(history, train)
        write_long(everything, whole)
        for seed in options.seeds:
            model = Path(folder, f"m4-{seed}.noria")
            started = time.monotonic()
            noria(
                *("fit", "forecast", history, "--output", model, "--horizon", 48),
                *("--season", SEASON, "--steps", options.steps, "--seed", seed),
                *("--test-windows", 0, "--json"),
            )
            fitted = time.monotonic()
            compared = json.loads(noria("evaluate", model, everything, "--json"))
            result = {
                "seed": seed,
                "fit_seconds": fitted - started,
                "evaluate_seconds": time.monotonic() - fitted,
                "peak_memory_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
                "metrics": compared["metrics"],
                "baselines": compared["baselines"],
            }
            results.append(result)
            print(json.dumps(result), flush=True)
    mase = [result["metrics"]["mase"] for result in results]
    print(f"MASE {np.mean(mase):.3f} ± {np.std(mase):.3f} over seeds {options.seeds}")
    options.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
