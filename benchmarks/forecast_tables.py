"""Air quality and exchange rates: plain fits on tables as they are, beside plain forecasts.

    .venv/bin/python benchmarks/forecast_tables.py ../shared/data/series --only beijing
    .venv/bin/python benchmarks/forecast_tables.py ../shared/data/series --only exchange

Beijing: `noria fit forecast` on the first four years of beijing-pm25.csv with no setting but the
columns' names and a horizon of 24 hours; then the last year, day by day, forecast once. AutoETS is
too slow for 365 windows of such a history: it stands beside the network on the last ten days.

Exchange: eight daily rates, horizon 30 days; the last fifth is the test part, the fifth before it
validation. The rival is the naive forecast: tomorrow's rate is today's. The model is fitted on
logarithms, and scored there: a hundredth is one per cent.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

import noria
from noria.training.comparison import Comparison

HOURS_OF_LAST_YEAR = 365 * 24
WEATHER = "DEWP,TEMP,PRES,cbwd,Iws,Is,Ir"


def show(name: str, seconds: float, comparison: Comparison) -> None:
    for score in comparison.scores:
        figures = {key: round(value, 4) for key, value in score.metrics().items()}
        print(json.dumps({"what": name, "model": score.model, **figures}), flush=True)
    print(json.dumps({"what": name, "windows": comparison.windows, "seconds": round(seconds, 1)}))


def beijing(folder: Path, seed: int) -> None:
    lines = (folder / "beijing-pm25.csv").read_text().splitlines(keepends=True)
    with tempfile.TemporaryDirectory() as made:
        first, whole, model = (Path(made, name) for name in ("first.csv", "all.csv", "m.noria"))
        first.write_text("".join(lines[:-HOURS_OF_LAST_YEAR]))
        whole.write_text("".join(lines))
        started = time.monotonic()
        command = [sys.executable, "-m", "noria", "fit", "forecast", first, "--horizon", "24"]
        command += ["--time", "year,month,day,hour", "--target", "pm2.5", "--past", WEATHER]
        subprocess.run([*map(str, command), "--seed", str(seed), "-o", str(model)], check=True)
        seconds = time.monotonic() - started
        forecaster = noria.Forecaster.load(model)
        show("the last ten days", seconds, forecaster.evaluate(whole, windows=10))
        forecaster.set_params(baselines=("fnn", "seasonal_naive"))
        show("the last year", seconds, forecaster.evaluate(whole, windows=365))


def exchange(folder: Path, seed: int) -> None:
    with gzip.open(folder / "exchange_rate.txt.gz", "rt") as file:
        rates = np.log(np.loadtxt(file, delimiter=","))
    days, count = rates.shape
    table = pl.DataFrame(
        {
            "unique_id": np.repeat([f"rate {number}" for number in range(count)], days),
            "ds": np.tile(np.arange(days), count),
            "y": rates.T.reshape(-1),
        }
    )
    windows = days // 5 // 30
    forecaster = noria.Forecaster(
        30, validation_windows=windows, test_windows=windows,
        baselines=("fnn", "seasonal_naive"), seed=seed,
    )  # fmt: skip
    started = time.monotonic()
    forecaster.fit(table)
    show("exchange rates", time.monotonic() - started, forecaster.comparison_)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=["beijing", "exchange"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, run in (("beijing", beijing), ("exchange", exchange)):
        if options.only in (None, name):
            run(options.folder, options.seed)


if __name__ == "__main__":
    main()
