"""Watch the streams of the Numenta Anomaly Benchmark, and score the alarms as it does.

    .venv/bin/python benchmarks/nab.py ../shared/data/series/nab

The folder holds data/GROUP/FILE.csv and combined_windows.json, or some of the groups. Each detector
learns from the first 15 % of a file (of 5,000 rows at most), without labels, and then takes the
file's events one by one; every setting is the library's default. As in the benchmark one threshold
serves all files, the one with the highest score in the standard profile; what the detector's own
threshold gives stands beside it. Prints a line a file and seed, then the scores, and writes JSON.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch

from noria import AnomalyDetector
from noria.features.anomalies import read_windows
from noria.features.channels import read_channels
from noria.training.nab import NabFile, best_threshold, nab_score, probation

COLUMNS = {"time": "timestamp", "value": ("value",)}


def watch(folder: Path, path: Path, seed: int) -> tuple[NabFile, dict, dict]:
    """What alarms are worth in one file, each model's scores, and how it went."""
    started = time.monotonic()
    table = read_channels(path, **COLUMNS)
    first = probation(len(table))
    windows = read_windows(folder / "combined_windows.json", table)
    detector = AnomalyDetector(test_share=0, seed=seed)
    detector.fit(pl.read_csv(path)[:first], **COLUMNS)
    seconds = time.monotonic() - started
    said = {part.model: part.onsets() for part in detector.judged(path)}
    file = NabFile.from_windows(len(table), windows, first)
    result = {
        "file": str(path.relative_to(folder / "data")),
        "seed": seed,
        "events": len(table),
        "windows": len(windows),
        "fit_seconds": seconds,
        "watch_seconds": time.monotonic() - started - seconds,
        "threshold": detector.threshold_,
    }
    return file, said, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--groups", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=Path("nab.json"))
    parser.add_argument("--scores", type=Path, help="an .npz file for every score")
    options = parser.parse_args()
    data = options.folder / "data"
    groups = options.groups or sorted(part.name for part in data.iterdir())
    files, scores, results = {}, {}, []
    for seed in options.seeds:
        for group in groups:
            for path in sorted((data / group).glob("*.csv")):
                file, said, result = watch(options.folder, path, seed)
                results.append(result)
                print(json.dumps(result), flush=True)
                key = (seed, group, path.stem)
                files[key] = file
                for model, onsets in said.items():
                    scores.setdefault(model, {})[key] = onsets
    table = []
    for model, own in scores.items():
        for group in ["all", *groups]:
            lines = []
            for seed in options.seeds:
                keys = [key for key in files if key[0] == seed and group in ("all", key[1])]
                parts, onsets = [files[key] for key in keys], [own[key] for key in keys]
                threshold, best = best_threshold(parts, onsets)
                fixed = nab_score(parts, [part >= results[0]["threshold"] for part in onsets])
                lines.append((best, fixed, threshold))
            best, fixed, threshold = np.array(lines).T
            line = {
                "model": model,
                "group": group,
                "score": best.mean(),
                "deviation": best.std(),
                "own_threshold": fixed.mean(),
                "thresholds": threshold.tolist(),
            }
            table.append(line)
            print(json.dumps(line), flush=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
    whole = {"machine": machine, "scores": table, "files": results}
    options.output.write_text(json.dumps(whole, indent=2) + "\n")
    if options.scores:
        names = {f"{m}/{'/'.join(map(str, k))}": s for m, o in scores.items() for k, s in o.items()}
        np.savez_compressed(options.scores, **names)


if __name__ == "__main__":
    main()
