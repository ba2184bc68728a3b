"""Forecast the sea off Peru, a year ahead: the water whose warm years are called El Niño.

The data is the monthly surface temperature of 1950 to 2010 in °C, as the package statsmodels ships
it. A tenth of the months is taken out here: missing values need no care.

    python examples/weather.py [--steps 300]
"""

import argparse

import numpy as np
import polars as pl
from statsmodels.datasets import elnino

import noria

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=300, help="training steps at the most")
options = parser.parse_args()

temperature = elnino.load_pandas().data.drop(columns="YEAR").to_numpy().reshape(-1)
months = np.datetime64("1950-01", "M") + np.arange(len(temperature))
gone = np.random.default_rng(0).random(len(temperature)) < 0.1
gone[[0, -1]] = False
table = pl.DataFrame({"month": months.astype("M8[us]"), "celsius": temperature}).with_columns(
    celsius=pl.when(pl.Series(~gone)).then("celsius")
)

forecaster = noria.Forecaster(12, steps=options.steps, ensemble=3)
forecaster.fit(table, time="month", target="celsius")
print(f"The last {forecaster.comparison_.windows} years, forecast one by one:")
for score in forecaster.comparison_.scores:
    print(f"  {score.model:15} mean error {score.mae:.2f} °C, MASE {score.mase:.3f}")
print(forecaster.comparison_.verdict())

print("\nThe year after:")
year = forecaster.predict(table)
print(year.select(pl.col("month").dt.strftime("%Y-%m"), "forecast", "lo-80", "hi-80"))
