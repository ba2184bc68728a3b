"""Forecast the seven columns of ETTh1 together and score every window of the test part.

    .venv/bin/python benchmarks/etth1.py ../shared/data/series/etth1.csv --horizons 96 --seeds 0 1 2

The split is the usual one: 8,640 rows for training, 2,880 for validation, 2,880 for testing, all
standardised by the training part. One model forecasts all columns, each from its own past. Every
window of the test part is scored, 2,881 less the horizon for each column, by the mean squared
error of the forecast, which is the median. Prints a line a run and writes JSON.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl

import noria

TRAIN, VALIDATION, TEST = 8_640, 2_880, 2_880
SEGMENT, WINDOW = 48, 720


def read(path: Path) -> tuple[pl.Series, dict[str, np.ndarray]]:
    """Timestamps, and the standardised columns by name."""
    table = pl.read_csv(path, try_parse_dates=True)[: TRAIN + VALIDATION + TEST]
    columns = {}
    for name in table.columns[1:]:
        values = table[name].to_numpy().astype(np.float64)
        columns[name] = (values - values[:TRAIN].mean()) / values[:TRAIN].std()
    return table[table.columns[0]], columns


def naive_mse(columns: dict[str, np.ndarray], horizon: int, season: int) -> float:
    """Of repeating the last season, over the same windows."""
    origins = np.arange(TRAIN + VALIDATION, TRAIN + VALIDATION + TEST - horizon + 1)
    ahead = np.arange(horizon)
    errors = [
        np.mean((y[origins[:, None] + ahead] - y[origins[:, None] - season + ahead % season]) ** 2)
        for y in columns.values()
    ]
    return float(np.mean(errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--horizons", type=int, nargs="+", default=[96, 192, 336, 720])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--ensemble", type=int, default=1)
    parser.add_argument(
        "--validate", action="store_true", help="leave the test part alone: score the validation"
    )
    parser.add_argument("--output", type=Path, default=Path("etth1.json"))
    options = parser.parse_args()
    stamps, columns = read(options.data)
    if options.validate:
        stamps = stamps[: TRAIN + VALIDATION]
        columns = {name: y[: TRAIN + VALIDATION] for name, y in columns.items()}
    long = pl.concat(
        [pl.DataFrame({"column": name, "date": stamps, "value": y}) for name, y in columns.items()]
    ).with_columns(channel="column")
    results = []
    for horizon in options.horizons:
        # the validation part is so many horizons, rounded up: training never sees more than 8,640
        held_out = -(-VALIDATION // horizon)
        for seed in options.seeds:
            forecaster = noria.Forecaster(
                horizon,
                cell="gru",
                hidden_size=options.hidden_size,
                segment_length=SEGMENT,
                context_length=WINDOW,
                dropout=0.5,
                recurrent_dropout=0.0,
                levels=(),
                steps=options.steps,
                learning_rate=options.learning_rate,
                ensemble=options.ensemble,
                validation_windows=held_out,
                seed=seed,
            )
            started = time.monotonic()
            roles = {"id": "column", "time": "date", "target": "value", "static": ["channel"]}
            if options.validate:
                forecaster.set_params(test_windows=0, baselines=()).fit(long, **roles)
                print(json.dumps({"horizon": horizon, "seed": seed, **vars(forecaster.history_)}))
                continue
            windows = TEST - horizon + 1
            found = forecaster.cross_validation(long, windows=windows, stride=1, **roles)
            error = found["y"] - found["forecast"]
            result = {
                "horizon": horizon,
                "seed": seed,
                "seconds": round(time.monotonic() - started, 1),
                "windows": len(found) // horizon,
                "mse": float((error**2).mean()),
                "mae": float(error.abs().mean()),
                "naive_mse": naive_mse(columns, horizon, 1),
                "seasonal_naive_mse": naive_mse(columns, horizon, 24),
            }
            results.append(result)
            print(json.dumps(result), flush=True)
        mse = [result["mse"] for result in results if result["horizon"] == horizon]
        if mse:
            print(f"H={horizon} MSE {np.mean(mse):.4f} ± {np.std(mse):.4f}", flush=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
