"""The report on a detector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np

from noria.report.drawing import draw_wiring
from noria.report.learning import add_learning
from noria.report.origin import add_origin
from noria.report.page import Page, definitions, keys, note, paragraph, table
from noria.report.pictures import ACTUAL, ALARM, FORECAST, band_color, draw_detection
from noria.report.words import best_rows, count, figures, whole, words
from noria.runtime import ModelFile
from noria.runtime.alarms import Alarms
from noria.training.detection_scores import DetectionComparison, DetectionScore

__all__ = ["detect_page"]

_MODELS = {
    "network": "The recurrent network of this file.",
    "fnn": "A feed-forward network: it sees a fixed window of past values and carries nothing from"
    " step to step; about as many weights, trained alike.",
    "last_value": "Expects the value before, always as exactly. Nothing is trained.",
    "moving_z_score": "Expects the mean of the last 256 values, as exactly as they deviate from it."
    " Nothing is trained.",
}

_MEASURES = {
    "false alarms in 1000": "alarms raised per 1000 of the events held out, as if all of them were"
    " normal. The rate asked for is the mark: fewer is no better.",
    "MAE": "how far a value was from what was expected of it, on average, in units of the channel's"
    " deviation. Lower is better.",
    "parameters": "the number of weights learned.",
    "seconds": "the time to train and to judge.",
}

_TRAINED_ON = {
    "learned_from": "events learned from",
    "held_out": "events held out",
    "data_sha256": "SHA-256 of the data",
}


def detect_page(file: ModelFile) -> Page:
    """The page about a detector.

    Args:
        file: Its model file.

    Raises:
        KeyError, TypeError, ValueError: if the document is not that of a detector.
    """
    document = file.document
    comparison = document["comparison"] and DetectionComparison.from_dict(document["comparison"])
    names = document["detection"]["channels"]["names"]
    page = Page(f"What is not normal in {words(names)}")
    _add_summary(page, file, comparison)
    _add_comparison(page, comparison)
    _add_exhibit(page, document, names)
    page.section(
        "The network",
        paragraph(
            f"Each event enters at the bottom as {count(file.wiring.input_size, 'value')}: the"
            " channels and the clock. At the top leave two numbers a channel: what is expected of"
            " its next value, and how exactly. The wiring has"
            f" {count(file.wiring.parameter_count(), 'weight')}."
        ),
        f'<div class="scroll">{draw_wiring(file.wiring)}</div>',
    )
    add_learning(
        page,
        document["parts"],
        "the negative log-likelihood of the next value under what was expected of it",
    )
    _add_origin(page, file)
    return page


def _add_summary(page: Page, file: ModelFile, comparison: DetectionComparison | None) -> None:
    document = file.document
    rate = document["settings"]["false_alarm_rate"]
    facts = [
        ("Task", "detect"),
        ("Channels", whole(len(document["detection"]["channels"]["names"]))),
        ("Events", whole(document["trained_on"]["events"])),
        ("False alarms", f"one in {whole(round(1 / rate))}"),
        ("Alarm from score", f"{Alarms.from_dict(document['detection']['alarms']).threshold:.4f}"),
        ("Weights", whole(file.wiring.parameter_count())),
    ]
    page.add(definitions(facts, "facts"))
    page.add(
        paragraph(
            comparison.verdict()
            if comparison
            else "No events were held out, so nothing says whether memory pays here.",
            "verdict",
        )
    )
    page.add(
        note(
            "Memory means here what a recurrent network carries from step to step. It pays if the"
            " network knows better what comes next than the models that carry nothing; whether it"
            " finds more anomalies only labelled events can tell (noria evaluate)."
        )
    )


def _add_comparison(page: Page, comparison: DetectionComparison | None) -> None:
    heading = "Against what it must beat"
    if comparison is None:
        page.section(
            heading,
            paragraph(
                "There is no comparison: all events went into training and validation. Fit with"
                " test_share above 0, or evaluate the model on other events."
            ),
        )
        return
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
            f"Every model judged the same last {count(comparison.events, 'event')}, which no"
            " training saw. All of them alarm by the same rules; only what they expect differs."
        ),
        table(rows, ["model", *(name for name, _, _ in columns)], best),
        note("★ marks the best of a column; the first line is the model of this report."),
        *(note(text) for text in comparison.notes),
        "<h3>What the columns say</h3>",
        definitions(_MEASURES.items()),
        "<h3>Who is compared</h3>",
        definitions((s.model, _MODELS.get(s.model, "")) for s in comparison.scores),
    )


def _columns(scores: Sequence[DetectionScore]) -> Iterator[tuple[str, list[str], float | None]]:
    """Name, cells and best possible value of each column; None where no value is the better."""
    yield (
        "false alarms in 1000",
        [
            "–" if np.isnan(s.false_alarm_rate) else f"{1000 * s.false_alarm_rate:.2f}"
            for s in scores
        ],
        None,
    )
    yield "MAE", figures([s.mae for s in scores]), 0.0
    yield "parameters", ["–" if s.parameters is None else whole(s.parameters) for s in scores], None
    yield "seconds", [f"{s.seconds:.1f}" if s.seconds >= 0.1 else "<0.1" for s in scores], None


def _add_exhibit(page: Page, document: dict[str, Any], names: Sequence[str]) -> None:
    exhibit = document["exhibit"]
    alarms = sum(exhibit["alarm"])
    signs = [
        ("what came", f"height:2px;background:{ACTUAL}"),
        ("what was expected", f"height:3px;background:{FORECAST}"),
        ("give or take two spreads", f"background:{band_color(0, 2)}"),
        ("score, and alarms (dotted)", f"height:2px;background:{ALARM}"),
    ]
    pictures = [
        page.picture(
            draw_detection(exhibit, number),
            f"Values of {name} with what was expected of them, and the score",
            f"<b>{escape(name)}</b>",
        )
        for number, name in enumerate(names)
    ]
    page.section(
        "The last events",
        paragraph(
            f"The last {count(len(exhibit['time']), 'event')} of the data, with"
            f" {count(alarms, 'alarm')}. The score is one for all channels; it says how rare an"
            " error so large is among normal events."
        ),
        keys(signs),
        f'<div class="pictures">{"".join(pictures)}</div>',
    )


def _add_origin(page: Page, file: ModelFile) -> None:
    document, detection = file.document, file.document["detection"]
    data = [
        ("column: time", detection["time"]),
        ("columns: channels", words(detection["channels"]["names"])),
        ("calendar inputs", words(detection["channels"]["cycles"], none="none")),
        ("events of a block", words(detection["alarms"]["block"])),
        ("quiet after an alarm", count(detection["alarms"]["quiet"], "event")),
        *(
            (_TRAINED_ON.get(key, key), words(value))
            for key, value in document["trained_on"].items()
        ),
    ]
    add_origin(page, file, data)
