"""Plotly pictures as plain data: forecasts and expectations, and learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "ACTUAL",
    "ALARM",
    "FORECAST",
    "PART_COLORS",
    "band_color",
    "draw_detection",
    "draw_forecast",
    "draw_learning",
]

ACTUAL = "#1b2733"
FORECAST = "#1f5fa8"
ALARM = "#b3261e"
PART_COLORS = (FORECAST, "#c2600a")
_NUMBER = ",.5~r"  # d3's: five figures, no zeros at the end
_LOSS = ".4~r"
_FEW_POWERS = 5  # of ten, to have ticks between them


def band_color(number: int, levels: int) -> str:
    """The opaque colour of an interval, the widest (number 0) the lightest."""
    share = 0.16 + 0.36 * number / max(levels - 1, 1)
    rgb = [round(255 + share * (int(FORECAST[i : i + 2], 16) - 255)) for i in (1, 3, 5)]
    return f"#{rgb[0]:02x}{rgb[1]:02x}{rgb[2]:02x}"


def draw_forecast(exhibit: Mapping[str, Any], levels: Sequence[int]) -> dict[str, Any]:
    """What a forecast said and what came.

    Args:
        exhibit: "time" and "actual" of the steps shown, "origin", the index of the first step
            forecast, and "quantiles", (K, Q) at the points of `quantile_grid(levels)`.
        levels: Levels of the intervals in %, ascending.
    """
    time, actual, origin = _times(exhibit["time"]), exhibit["actual"], exhibit["origin"]
    quantiles = [list(row) for row in exhibit["quantiles"]]
    ahead = time[origin : origin + len(quantiles)]
    if len(quantiles) == 1 and origin > 0 and actual[origin - 1] is not None:
        # one step makes no area: let it open from the last value known
        quantiles.insert(0, [actual[origin - 1]] * len(quantiles[0]))
        ahead = time[origin - 1 : origin + 1]
    data: list[dict[str, Any]] = []
    for number, level in enumerate(sorted(levels, reverse=True)):
        lower = [row[number] for row in quantiles]
        upper = [row[-1 - number] for row in quantiles]
        edge = {"type": "scatter", "mode": "lines", "x": ahead, "line": {"width": 0}}
        data += [
            {**edge, "y": lower, "hoverinfo": "skip"},
            {
                **edge,
                "y": upper,
                "fill": "tonexty",
                "fillcolor": band_color(number, len(levels)),
                "customdata": lower,
                "hovertemplate": f"{level}%: %{{customdata:{_NUMBER}}} to %{{y:{_NUMBER}}}"
                "<extra></extra>",
            },
        ]
    line = {"type": "scatter", "mode": "lines"}
    data += [
        {
            **line,
            "x": ahead,
            "y": [row[len(row) // 2] for row in quantiles],
            "line": {"color": FORECAST, "width": 2},
            "hovertemplate": f"forecast: %{{y:{_NUMBER}}}<extra></extra>",
        },
        {
            **line,
            "x": time,
            "y": actual,
            "line": {"color": ACTUAL, "width": 1.4},
            "hovertemplate": f"what came: %{{y:{_NUMBER}}}<extra></extra>",
        },
    ]
    layout = _layout(height=260)
    if origin < len(time):
        begin = {"x0": time[origin], "x1": time[origin], "y0": 0, "y1": 1}
        line_style = {"color": "#7b8794", "width": 1, "dash": "dot"}
        layout["shapes"] = [
            {"type": "line", "xref": "x", "yref": "paper", **begin, "line": line_style}
        ]
    if time and isinstance(time[0], str):
        layout["xaxis"]["type"] = "date"
    return {"data": data, "layout": layout}


def draw_detection(exhibit: Mapping[str, Any], channel: int) -> dict[str, Any]:
    """What one channel did, what was expected of it, and the score under it.

    Args:
        exhibit: "time", "score" and "alarm" of the events shown, and by channel "values",
            "expected", "lower" and "upper".
        channel: Its index.
    """
    time = _times(exhibit["time"])
    edge = {"type": "scatter", "mode": "lines", "x": time, "line": {"width": 0}}
    line = {"type": "scatter", "mode": "lines", "x": time}
    data: list[dict[str, Any]] = [
        {**edge, "y": exhibit["lower"][channel], "hoverinfo": "skip"},
        {
            **edge,
            "y": exhibit["upper"][channel],
            "fill": "tonexty",
            "fillcolor": band_color(0, 2),
            "hoverinfo": "skip",
        },
        {
            **line,
            "y": exhibit["expected"][channel],
            "line": {"color": FORECAST, "width": 1},
            "hovertemplate": f"expected: %{{y:{_NUMBER}}}<extra></extra>",
        },
        {
            **line,
            "y": exhibit["values"][channel],
            "line": {"color": ACTUAL, "width": 1.4},
            "hovertemplate": f"what came: %{{y:{_NUMBER}}}<extra></extra>",
        },
        {
            **line,
            "y": exhibit["score"],
            "yaxis": "y2",
            "line": {"color": ALARM, "width": 1.4},
            "hovertemplate": "score: %{y:.4f}<extra></extra>",
        },
    ]
    layout = _layout(height=340)
    layout["yaxis"]["domain"] = [0.32, 1.0]
    layout["yaxis2"] = {**layout["yaxis"], "domain": [0.0, 0.24], "range": [0, 1.05], "nticks": 3}
    layout["xaxis"]["anchor"] = "y2"
    layout["shapes"] = [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "x0": moment,
            "x1": moment,
            "line": {"color": ALARM, "width": 1, "dash": "dot"},
        }
        for moment, alarm in zip(time, exhibit["alarm"], strict=True)
        if alarm
    ]
    if time and isinstance(time[0], str):
        layout["xaxis"]["type"] = "date"
    return {"data": data, "layout": layout}


def draw_learning(
    histories: Mapping[str, Mapping[str, Any]], colors: Sequence[str] = PART_COLORS
) -> dict[str, Any]:
    """Loss over the steps of training.

    Args:
        histories: By what a part is called; "step", "training", "validation", "best_step".
        colors: Of each part.
    """
    data: list[dict[str, Any]] = []
    for (name, history), color in zip(histories.items(), colors, strict=False):
        for kind, style in [("training", "dot"), ("validation", "solid")]:
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(history["step"]) == 1 else "lines",
                    "x": history["step"],
                    "y": history[kind],
                    "line": {"color": color, "dash": style, "width": 2},
                    "hovertemplate": f"{name}, {kind}: %{{y:{_LOSS}}}<extra></extra>",
                }
            )
        if history["best_step"] in history["step"]:
            best = history["step"].index(history["best_step"])
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [history["best_step"]],
                    "y": [history["validation"][best]],
                    "marker": {
                        "color": color,
                        "size": 12,
                        "symbol": "star",
                        "line": {"color": "#ffffff", "width": 1},
                    },
                    "hovertemplate": f"{name}: kept<extra></extra>",
                }
            )
    layout = _layout(height=340)
    layout["xaxis"]["title"] = {"text": "training step"}
    layout["yaxis"]["title"] = {"text": "loss"}
    losses = [v for h in histories.values() for v in [*h["training"], *h["validation"]]]
    if losses and 0 < 10 * min(losses) < max(losses):
        layout["yaxis"]["type"] = "log"
        layout["yaxis"]["title"] = {"text": "loss (logarithmic)"}
        layout["yaxis"] |= _written_out(min(losses), max(losses))
    return {"data": data, "layout": layout}


def _written_out(least: float, most: float) -> dict[str, Any]:
    """Ticks at 1, 2 and 5 of each power of ten: by itself plotly writes 2 where 0.2 or 20 is."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    digits = (1, 2, 5) if len(powers) <= _FEW_POWERS else (1,)
    values = [float(f"{digit}e{power}") for power in powers for digit in digits]
    return {"tickvals": values, "ticktext": [f"{value:g}" for value in values]}


def _times(texts: Sequence[str]) -> list[str] | list[int]:
    """Integer times as numbers, so that the axis is one of numbers."""
    try:
        return [int(text) for text in texts]
    except ValueError:
        return list(texts)


def _layout(height: int) -> dict[str, Any]:
    axis = {
        "fixedrange": True,  # a finger on the picture scrolls the page
        "gridcolor": "#edf0f4",
        "linecolor": "#b8c4d0",
        "zeroline": False,
        "automargin": True,
        "nticks": 6,
    }
    return {
        "height": height,
        "margin": {"l": 8, "r": 10, "t": 8, "b": 8},
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": ACTUAL},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "hovermode": "x unified",
        "dragmode": False,
        "showlegend": False,
        "xaxis": {**axis, "showline": True},
        "yaxis": dict(axis),
    }
