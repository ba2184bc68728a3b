"""The report on a forecaster."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from noria.features.series import Frequency
from noria.report.drawing import draw_wiring
from noria.report.learning import add_learning
from noria.report.origin import add_origin
from noria.report.page import Page, definitions, keys, note, paragraph, table
from noria.report.pictures import (
    ACTUAL,
    FORECAST,
    band_color,
    draw_forecast,
)
from noria.report.words import best_rows, count, figures, whole, words
from noria.runtime import ModelFile
from noria.training.comparison import Comparison, Score
from noria.wiring import Wiring

__all__ = ["forecast_page"]

_UNITS = {
    "us": "microsecond",
    "ms": "millisecond",
    "s": "second",
    "m": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "q": "quarter",
    "y": "year",
}

_MODELS = {
    "network": "The recurrent network of this file.",
    "fnn": "A feed-forward network: it sees a fixed window of past steps and carries nothing from"
    " step to step; about as many weights, trained alike.",
    "seasonal_naive": "Repeats what came one season before. Nothing is trained.",
    "auto_ets": "AutoETS: exponential smoothing with error, trend and season, its form chosen for"
    " each series.",
    "auto_arima": "AutoARIMA: a seasonal ARIMA model, its orders chosen for each series.",
}

_TRAINED_ON = {
    "training_rows": "training rows",
    "validation_windows": "validation windows",
    "test_windows": "held-out windows",
    "data_sha256": "SHA-256 of the data",
}


def forecast_page(file: ModelFile) -> Page:
    """The page about a forecaster.

    Args:
        file: Its model file.

    Raises:
        KeyError, TypeError, ValueError: if the document is not that of a forecaster.
    """
    document = file.document
    comparison = document["comparison"] and Comparison.from_dict(document["comparison"])
    page = Page(f"Forecast of {document['columns']['target']}")
    _add_summary(page, file, comparison)
    _add_comparison(page, document, comparison)
    _add_exhibits(page, document)
    _add_network(page, document, file.wiring)
    add_learning(
        page,
        document["parts"],
        "how far the forecast quantiles were from what came, in units of the series' own seasonal"
        " change",
    )
    _add_origin(page, file)
    return page


def _add_summary(page: Page, file: ModelFile, comparison: Comparison | None) -> None:
    document = file.document
    weights = sum(a.size for name, a in file.weights.items() if name.startswith("network."))
    trained_on, horizon = document["trained_on"], document["settings"]["horizon"]
    facts = [
        ("Task", "forecast"),
        ("Series", whole(trained_on["series"])),
        ("Rows", whole(trained_on["rows"])),
        ("One step", _step_words(document["freq"])),
        ("Horizon", _span_words(horizon, document["freq"])),
        ("Weights", whole(weights)),
    ]
    page.add(definitions(facts, "facts"))
    verdict = (
        comparison.verdict()
        if comparison
        else "No windows of the data were held out, so nothing says whether memory pays here."
    )
    page.add(paragraph(verdict, "verdict"))
    page.add(
        note(
            "Memory means here what a recurrent network carries from step to step. It pays if the"
            " network forecasts better than the models that carry nothing."
        )
    )


def _add_comparison(page: Page, document: dict[str, Any], comparison: Comparison | None) -> None:
    heading = "Against what it must beat"
    if comparison is None:
        page.section(
            heading,
            paragraph(
                "There is no comparison: the whole data went into training and validation. Fit with"
                " test_windows of 1 or more, or evaluate the model on other data."
            ),
        )
        return
    windows = count(comparison.windows, "forecast")
    series = count(comparison.series, "series", "series")
    columns = list(_columns(comparison.scores))
    shown = [[column[row] for _, column, _ in columns] for row in range(len(comparison.scores))]
    rows = [[score.model, *cells] for score, cells in zip(comparison.scores, shown, strict=True)]
    best = frozenset(
        (row, number)
        for number, (_, column, target) in enumerate(columns, 1)
        for row in best_rows(column, target)
    )
    page.section(
        heading,
        paragraph(
            f"Every model made the same {windows} of {count(comparison.horizon, 'step')} on"
            f" {series}, on the last part of the data"
            f"{', which no training saw' if comparison.held_out else ''}."
        ),
        table(rows, ["model", *(name for name, _, _ in columns)], best),
        note("★ marks the best of a column; the first line is the model of this report."),
        *(note(text) for text in comparison.notes),
        "<h3>What the columns say</h3>",
        definitions(_measures(document, comparison)),
        "<h3>Who is compared</h3>",
        definitions((s.model, _MODELS.get(s.model, "")) for s in comparison.scores),
    )


def _columns(scores: Sequence[Score]) -> Iterator[tuple[str, list[str], float | None]]:
    """Name, cells and best possible value of each column; None where no value is the better."""
    for name, heading in [("mae", "MAE"), ("mase", "MASE"), ("smape", "sMAPE %"), ("crps", "CRPS")]:
        yield heading, figures([getattr(score, name) for score in scores]), 0.0
    for level in scores[0].coverage:
        shares = [100 * score.coverage.get(level, math.nan) for score in scores]
        cells = ["–" if math.isnan(share) else f"{share:.1f}" for share in shares]
        yield f"in {level}%", cells, float(level)
    counts = ["–" if s.parameters is None else whole(s.parameters) for s in scores]
    yield "parameters", counts, None
    yield "seconds", [f"{s.seconds:.1f}" if s.seconds >= 0.1 else "<0.1" for s in scores], None


def _measures(document: dict[str, Any], comparison: Comparison) -> Iterator[tuple[str, str]]:
    target = document["columns"]["target"]
    season = min(document["seasons"], default=1)
    change = "from one step to the next" if season == 1 else f"over one season of {season} steps"
    best = "Lower is better."
    error = "mean absolute error: how far the forecast was from what came, on average, in the units"
    yield "MAE", f"{error} of {target}. {best}"
    scaled = f"that error divided by the mean change {change} before the forecast"
    yield "MASE", f"{scaled}. Below 1 is nearer than such a change. {best}"
    percentage = "the error as a percentage of the mean of forecast and what came, from 0 to 200"
    yield "sMAPE", f"{percentage}. {best}"
    whole = "judges the forecast together with its intervals, in the units of"
    yield "CRPS", f"{whole} {target}: narrow and right is best. {best}"
    for level in list(comparison.scores[0].coverage)[-1:]:
        share = f"the share of what came, in %, that lay inside the {level}% interval. Best is"
        aside = "above it the intervals are too wide, below it they promise too much"
        yield f"in {level}%", f"{share} {level}: {aside}. Other levels likewise."
    yield "parameters", "the number of weights learned."
    yield "seconds", "the time to train and to forecast."


def _add_exhibits(page: Page, document: dict[str, Any]) -> None:
    levels, heading = document["levels"], "Forecasts and what came"
    if not document["exhibits"]:
        page.section(heading, paragraph("The model file keeps no forecasts of held-out windows."))
        return
    signs = [
        ("what came", f"height:2px;background:{ACTUAL}"),
        ("forecast (median)", f"height:3px;background:{FORECAST}"),
    ]
    signs += [
        (f"{level}% interval", f"background:{band_color(number, len(levels))}")
        for number, level in enumerate(sorted(levels, reverse=True))
    ]
    pictures = []
    for exhibit in document["exhibits"]:
        origin = exhibit["origin"]
        since = exhibit["time"][origin] if origin < len(exhibit["time"]) else "the end"
        since = since.removesuffix(".000000").removesuffix("T00:00:00").replace("T", " ")
        pictures.append(
            page.picture(
                draw_forecast(exhibit, levels),
                f"Forecast of {exhibit['series']} from {since} on, with its intervals, and what"
                " came",
                f"<b>{escape(str(exhibit['series']))}</b>, forecast from {escape(since)} on",
            )
        )
    page.section(
        heading,
        paragraph(
            "Each picture is one of the forecasts compared: left of the dotted line what the"
            f" network had seen, right of it the forecast of {document['columns']['target']}."
            f" The {max(levels)}% interval should hold {max(levels)} in 100 points of what came."
        ),
        keys(signs),
        f'<div class="pictures">{"".join(pictures)}</div>',
    )


def _add_network(page: Page, document: dict[str, Any], wiring: Wiring) -> None:
    weights = count(wiring.parameter_count(), "weight")
    page.section(
        "The network",
        paragraph(
            f"Each step enters at the bottom as {count(wiring.input_size, 'value')} and leaves at"
            " the top; arrows beside the boxes go back in the stack or round a layer and arrive one"
            f" step later. The wiring has {weights}. What leaves it goes to the head, which makes"
            f" all {count(document['settings']['horizon'], 'step')} of the forecast at once, each"
            " with its intervals."
        ),
        f'<div class="scroll">{draw_wiring(wiring)}</div>',
    )


def _add_origin(page: Page, file: ModelFile) -> None:
    document = file.document
    trained_on, freq, columns = document["trained_on"], document["freq"], document["columns"]
    data = [
        *((f"column: {role}", words(name, none="none")) for role, name in columns.items()),
        ("one step", _step_words(freq)),
        ("seasons", words([_span_words(s, freq) for s in document["seasons"]], none="none")),
        ("calendar inputs", words(document["calendar"], none="none")),
        ("context length", _span_words(document["chosen"]["context_length"], freq)),
        *((_TRAINED_ON.get(key, key), words(value)) for key, value in trained_on.items()),
    ]
    add_origin(page, file, data)


def _step_words(freq: str) -> str:
    """A frequency in words.

    >>> _step_words("30m"), _step_words("1mo"), _step_words("1")
    ('30 minutes', '1 month', '1 (whole numbers)')
    """
    size = freq.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = _UNITS.get(freq[len(size) :])
    return f"{freq} (whole numbers)" if unit is None else count(int(size), unit)


def _span_words(steps: int, freq: str) -> str:
    """So many steps, and how long that is.

    >>> _span_words(48, "30m"), _span_words(3, "1"), _span_words(1, "1d")
    ('48 steps (1 day)', '3 steps', '1 step (1 day)')
    """
    step = Frequency.parse(freq)
    if not step.unit:
        return count(steps, "step")
    return f"{count(steps, 'step')} ({_step_words(str(Frequency(step.unit, step.size * steps)))})"
