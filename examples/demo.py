"""Forecast the electricity demand of England and Wales, with three commands.

The data is twelve weeks of half-hourly demand in the summer of 2000 (Taylor 2003), as the
package pmdarima ships it. Run it with `make demo`; it leaves everything in demo-output/.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
from pmdarima.datasets import load_taylor

FOLDER = Path("demo-output")
DATA = FOLDER / "demand.csv"
MODEL = FOLDER / "demand.noria"
FORECAST = FOLDER / "forecast.csv"


def write_data() -> None:
    demand = load_taylor()
    start = np.datetime64("2000-06-05", "us")
    times = start + np.arange(len(demand)) * np.timedelta64(30, "m")
    pl.DataFrame({"time": times, "demand": demand}).write_csv(DATA)


def noria(*arguments: object) -> None:
    words = ["noria", *map(str, arguments)]
    print("\n$", " ".join(words), flush=True)
    subprocess.run([sys.executable, "-m", *words], check=True)


FOLDER.mkdir(exist_ok=True)
write_data()
noria(
    *("fit", "forecast", DATA, "--time", "time", "--target", "demand", "--horizon", "48"),
    *("--output", MODEL),
)
noria("predict", MODEL, DATA, "--output", FORECAST)
print(pl.read_csv(FORECAST).head())
noria("report", MODEL)
