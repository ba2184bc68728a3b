"""Fit the same LSTM forecaster here and in neuralforecast on M4 Hourly; time and MASE of both.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install neuralforecast torch==2.13.0
    .venv/bin/python benchmarks/neuralforecast_speed.py ../shared/data/series/m4-hourly \\
        --peer /tmp/peer/bin/python

Both are one LSTM layer of 64 neurons with a head of 48 hours and five quantiles, trained by the
pinball loss on as many forecasts: so many steps of 512 each, from the same 414 series. Here a step
is 32 stretches of two weeks with 16 forecasts from each, one scan of a stretch serving all of its
forecasts; there it is 512 windows of a week, each scanned by itself. The time is that of the fit
alone; the official test part is then forecast once by both. The runs alternate, on as many
threads. Without neuralforecast the benchmark says so and ends.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HORIZON, HIDDEN, FORECASTS, SEASON = 48, 64, 512, 24


def read_wide(path: Path) -> dict[str, list[float]]:
    with path.open() as file:
        rows = csv.reader(file)
        next(rows)
        return {row[0]: [float(value) for value in row[1:] if value] for row in rows}


def long(series: dict[str, list[float]]) -> dict[str, list]:
    return {
        "unique_id": [name for name, values in series.items() for _ in values],
        "ds": [step for values in series.values() for step in range(1, len(values) + 1)],
        "y": [value for values in series.values() for value in values],
    }


def fit_here(series: dict[str, list[float]], steps: int, seed: int) -> tuple[float, list, list]:
    import polars as pl

    import noria

    forecaster = noria.Forecaster(
        HORIZON, hidden_size=HIDDEN, seasons=(24, 168), steps=steps, batch_size=32, patience=99,
        test_windows=0, baselines=(), seed=seed,
    )  # fmt: skip
    table = pl.DataFrame(long(series))
    started = time.perf_counter()
    forecaster.fit(table)
    seconds = time.perf_counter() - started
    found = forecaster.predict(table)
    return seconds, found["unique_id"].to_list(), found["forecast"].to_list()


def fit_peer(series: dict[str, list[float]], steps: int, seed: int) -> tuple[float, list, list]:
    import logging
    import warnings

    import pandas as pd
    import torch

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import LSTM

    model = LSTM(
        h=HORIZON, input_size=7 * SEASON, encoder_hidden_size=HIDDEN, encoder_n_layers=1,
        loss=MQLoss(level=[80, 95]), max_steps=steps, batch_size=32,
        windows_batch_size=FORECASTS, scaler_type="robust", learning_rate=2e-3,
        val_check_steps=10**6, random_seed=seed, accelerator="cpu", devices=1, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    peer = NeuralForecast(models=[model], freq=1)
    table = pd.DataFrame(long(series))
    started = time.perf_counter()
    peer.fit(table)
    seconds = time.perf_counter() - started
    found = peer.predict()
    (name,) = [column for column in found.columns if column.endswith("median")]
    ids = found["unique_id"] if "unique_id" in found.columns else found.index
    return seconds, list(ids), found[name].tolist()


def mase(train: dict, test: dict, ids: list[str], forecast: list[float]) -> float:
    by_name: dict[str, list[float]] = {}
    for name, value in zip(ids, forecast, strict=True):
        by_name.setdefault(name, []).append(value)
    errors = []
    for name, history in train.items():
        y = np.array(history)
        scale = np.abs(y[SEASON:] - y[:-SEASON]).mean()
        errors.append(np.abs(np.array(test[name]) - by_name[name]).mean() / scale)
    return float(np.mean(errors))


def run(python: str, what: str, options: argparse.Namespace, seed: int) -> dict[str, float]:
    threads = str(options.threads)
    environment = os.environ | {"OMP_NUM_THREADS": threads, "NORIA_NUM_THREADS": threads}
    with tempfile.TemporaryDirectory() as folder:
        command = [python, str(Path(__file__).resolve()), str(options.folder.resolve())]
        command += ["--only", what, "--steps", str(options.steps), "--seeds", str(seed)]
        done = subprocess.run(
            command, env=environment, cwd=folder, check=True, stdout=subprocess.PIPE, text=True
        )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", default=sys.executable, help="Python that has neuralforecast")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["here", "peer"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    train = read_wide(options.folder / "train.csv")
    if options.only:
        fit = {"here": fit_here, "peer": fit_peer}[options.only]
        seconds, ids, forecast = fit(train, options.steps, options.seeds[0])
        test = read_wide(options.folder / "test.csv")
        print(json.dumps({"seconds": seconds, "mase": mase(train, test, ids, forecast)}))
        return
    probe = [options.peer, "-c", "import neuralforecast; print(neuralforecast.__version__)"]
    found = subprocess.run(probe, capture_output=True, text=True, check=False)
    if found.returncode:
        print(f"neuralforecast is not installed in {options.peer}: skipped")
        return
    seconds: dict[str, list[float]] = {"here": [], "peer": []}
    for seed in options.seeds:
        for what, python in (("here", sys.executable), ("peer", options.peer)):
            result = run(python, what, options, seed)
            seconds[what].append(result["seconds"])
            print(json.dumps({"seed": seed, "what": what, **result}), flush=True)
    ratio = statistics.median(seconds["peer"]) / statistics.median(seconds["here"])
    print(
        f"neuralforecast {found.stdout.strip()}, {options.threads} thread(s),"
        f" {options.steps} steps: {ratio:.2f} times as fast here"
    )


if __name__ == "__main__":
    main()
