"""Forecast tomorrow's electricity demand, hour by hour, then follow it as a stream.

The data is twelve weeks of demand in England and Wales in the summer of 2000 (Taylor 2003), as the
package pmdarima ships it, here in means of an hour. What is known in advance, whether a day is a
weekday, is given as such.

    python examples/energy.py [--steps 400]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from pmdarima.datasets import load_taylor

import noria
from noria.runtime import Session

HORIZON = 24

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=400, help="training steps at the most")
options = parser.parse_args()

demand = load_taylor().reshape(-1, 2).mean(axis=1)
hours = np.datetime64("2000-06-05T00", "us") + np.arange(len(demand)) * np.timedelta64(1, "h")
table = pl.DataFrame({"time": hours, "demand": demand}).with_columns(
    working_day=(pl.col("time").dt.weekday() <= 5).cast(pl.Float64)
)
# the last day is kept for the stream below; what is known of it in advance stays
past = table.with_columns(
    demand=pl.when(pl.int_range(pl.len()) < len(table) - HORIZON).then("demand")
)

forecaster = noria.Forecaster(HORIZON, steps=options.steps, hidden_size=32)
forecaster.fit(past, time="time", target="demand", future=["working_day"])
print(f"The last {forecaster.comparison_.windows} days before, forecast one by one:")
for score in forecaster.comparison_.scores:
    print(
        f"  {score.model:15} MASE {score.mase:.3f}, in its 95 % interval {score.coverage[95]:.0%}"
    )
print(forecaster.comparison_.verdict())

day = forecaster.predict(past)
print("\nThe next day, MW:")
print(day.select("time", "forecast", "lo-95", "hi-95")[::4])

# The same model, one reading at a time: what arrives at each hour renews the forecast.
with tempfile.TemporaryDirectory() as folder:
    model = Path(folder, "demand.noria")
    forecaster.save(model)
    session = Session.open(model)
rows = table.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S")).to_dicts()
ahead = [{"working_day": row["working_day"]} for row in rows]
events = [
    {**row, "future": ahead[place + 1 : place + 1 + HORIZON]}
    for place, row in enumerate(rows[:-HORIZON])
]
state, answers = session.feed(session.start(), events)
assert answers[-1]["forecast"] == day["forecast"].to_list()
print(f"\nThe stream, after {len(events)} readings, says the same to the bit.")
