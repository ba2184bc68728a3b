"""Forecast a share's price a week ahead, and see what that is worth.

The data is the daily price of Microsoft, as the package pmdarima ships it, with the volume traded.
The rival that counts is the naive forecast: next week's price is today's. On a market that prices
in what is known nothing beats it by much, and a model that seems to is usually a mistake; the
intervals are what is of use. No advice to anybody.

    python examples/market.py [--steps 300]
"""

import argparse

import numpy as np
import polars as pl
from pmdarima.datasets import load_msft

import noria

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=300, help="training steps at the most")
options = parser.parse_args()

prices = load_msft()
# trading days are numbered: weekends are no gaps, and a day after the last has no date yet
table = pl.DataFrame(
    {
        "day": np.arange(len(prices)),
        "log_price": np.log(prices["Close"].to_numpy()),
        "log_volume": np.log1p(prices["Volume"].to_numpy()),
    }
)[-2500:]

forecaster = noria.Forecaster(5, steps=options.steps, hidden_size=16, test_windows=60)
forecaster.fit(table, time="day", target="log_price", past=["log_volume"])
scores = {score.model: score for score in forecaster.comparison_.scores}
naive = scores["seasonal_naive"]
print(f"The last {forecaster.comparison_.windows} weeks, forecast one by one:")
for model, score in scores.items():
    name = model.removeprefix("seasonal_")
    print(
        f"  {name:10} error {100 * score.mae:.2f} %, {score.mae / naive.mae - 1:+.1%} of the naive"
        f" one; in its 95 % interval {score.coverage[95]:.0%}"
    )
gain = 1 - scores["network"].mae / naive.mae
if gain < 0.02:
    print("The network does not beat the naive forecast by as much as 2 %. Do not trade on it.")
else:
    print(f"The network beats the naive forecast by {gain:.1%}: look for the mistake first.")

week = forecaster.predict(table)
print("\nThe next week, within which prices with a chance of 95 %:")
print(week.select("day", *(pl.col(name).exp().round(2) for name in ("forecast", "lo-95", "hi-95"))))
