"""The report on a classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from noria.report.drawing import draw_wiring
from noria.report.origin import add_origin
from noria.report.page import Page, definitions, keys, note, paragraph, table
from noria.report.pictures import PART_COLORS, draw_learning
from noria.report.words import best_rows, count, figures, whole, words
from noria.runtime import ModelFile
from noria.training.class_scores import ClassComparison, ClassScore

__all__ = ["classify_page"]

_MODELS = {
    "network": "The recurrent networks of this file; the mean of what they say.",
    "fnn": "Feed-forward networks: they see a whole series, brought to one length, at once and"
    " carry nothing from step to step; about as many weights, trained alike.",
    "nearest_neighbour": "Takes the class of the training case that is nearest, step by step, once"
    " all are brought to one length. It gives no probabilities.",
    "logistic_regression": "Logistic regression on statistics of each channel, which know nothing"
    " of order: mean, deviation, least, median and largest value, mean change from step to step.",
}

_MEASURES = {
    "accuracy %": "the share of the cases whose class was found. Higher is better.",
    "macro F1": "the mean over the classes of each one's F1, so that rare ones count. Higher is"
    " better.",
    "log loss": "what the probability given to the true class was worth, in nats: sure and right"
    " is best, sure and wrong is dear. Lower is better.",
    "parameters": "the number of weights learned, all members together.",
    "seconds": "the time to train the networks and to classify.",
}

_PARTS = {"network": "network", "fnn": "feed-forward rival"}

_TRAINED_ON = {
    "shortest": "steps of the shortest",
    "longest": "steps of the longest",
    "data_sha256": "SHA-256 of the data",
}


def classify_page(file: ModelFile) -> Page:
    """The page about a classifier.

    Args:
        file: Its model file.

    Raises:
        KeyError, TypeError, ValueError: if the document is not that of a classifier.
    """
    document = file.document
    comparison = ClassComparison.from_dict(document["comparison"])
    page = Page(f"Classification into {count(len(comparison.classes), 'class', 'classes')}")
    _add_summary(page, file, comparison)
    _add_comparison(page, comparison)
    _add_confusion(page, comparison)
    _add_network(page, document, file)
    _add_learning(page, document)
    _add_origin(page, file)
    return page


def _add_summary(page: Page, file: ModelFile, comparison: ClassComparison) -> None:
    trained_on = file.document["trained_on"]
    weights = sum(a.size for name, a in file.weights.items() if name.startswith("network."))
    facts = [
        ("Task", "classify"),
        ("Training cases", whole(trained_on["cases"])),
        ("Classes", whole(trained_on["classes"])),
        ("Channels", whole(trained_on["channels"])),
        ("Steps", f"{whole(trained_on['shortest'])} to {whole(trained_on['longest'])}"),
        ("Weights", whole(weights)),
    ]
    page.add(
        definitions(facts, "facts"),
        paragraph(comparison.verdict(), "verdict"),
        note(
            "Memory means here what a recurrent network carries from step to step. It pays if the"
            " network finds more classes than the models that carry nothing."
        ),
    )


def _add_comparison(page: Page, comparison: ClassComparison) -> None:
    scores = comparison.scores
    columns = _columns(scores)
    rows = [
        [score.model, *(cells[row] for _, cells, _ in columns)] for row, score in enumerate(scores)
    ]
    best = frozenset(
        (row, number)
        for number, (_, cells, target) in enumerate(columns, 1)
        for row in best_rows(cells, target)
    )
    page.section(
        "Against what it must beat",
        paragraph(f"Every model classed the same {count(comparison.cases, 'case')}."),
        table(rows, ["model", *(name for name, _, _ in columns)], best),
        note("★ marks the best of a column; the first line is the model of this report."),
        *(note(text) for text in comparison.notes),
        "<h3>What the columns say</h3>",
        definitions(_MEASURES.items()),
        "<h3>Who is compared</h3>",
        definitions((s.model, _MODELS.get(s.model, "")) for s in scores),
    )


def _columns(scores: Sequence[ClassScore]) -> list[tuple[str, list[str], float | None]]:
    """Name, cells and best possible value of each column; None where no value is the better."""
    counts = ["–" if s.parameters is None else whole(s.parameters) for s in scores]
    return [
        ("accuracy %", [f"{100 * score.accuracy:.2f}" for score in scores], 100.0),
        ("macro F1", [f"{score.macro_f1:.4f}" for score in scores], 1.0),
        ("log loss", figures([score.log_loss for score in scores]), 0.0),
        ("parameters", counts, None),
        ("seconds", [f"{s.seconds:.1f}" if s.seconds >= 0.1 else "<0.1" for s in scores], None),
    ]


def _add_confusion(page: Page, comparison: ClassComparison) -> None:
    page.section(
        "What is taken for what",
        paragraph(
            "A row for each true class, a column for each class that the network found. Right"
            " answers stand on the diagonal; the darker, the larger the share of the row."
        ),
        _matrix(comparison.classes, comparison.confusion),
    )


def _matrix(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """A confusion matrix, cells shaded by their share of the row."""
    heading = "".join(f'<th scope="col">{escape(name)}</th>' for name in classes)
    rows = []
    for number, (name, cells) in enumerate(zip(classes, confusion, strict=True)):
        shaded = []
        for column, cases in enumerate(cells):
            share = cases / max(sum(cells), 1)
            rgb = "11,122,91" if column == number else "194,96,10"
            style = f"background:rgba({rgb},{0.55 * math.sqrt(share):.2f})"
            shaded.append(f'<td style="{style}">{whole(cases)}</td>')
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(shaded)}</tr>')
    return (
        '<div class="scroll"><table class="confusion"><thead><tr><th scope="col">true ↓ found →'
        f"</th>{heading}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _add_network(page: Page, document: dict[str, Any], file: ModelFile) -> None:
    plan, wiring = document["parts"]["network"]["plan"], file.wiring
    members = len(document["parts"]["network"]["histories"])
    front = ""
    if plan["strides"]:
        front = (
            f" Below it stand {count(len(plan['strides']), 'convolution')} of {plan['kernel_size']}"
            f" steps, {plan['channels']} wide, which leave one step of"
            f" {count(math.prod(plan['strides']), 'step')}."
        )
    page.section(
        "The network",
        paragraph(
            f"{count(members, 'network')} of this wiring,"
            f" {count(wiring.parameter_count(), 'weight')} each.{front} What leaves it at the top"
            f" is pooled over all steps ({plan['pooling']}) and weighed by a last linear layer,"
            " a number for each class."
        ),
        f'<div class="scroll">{draw_wiring(wiring)}</div>',
    )


def _add_learning(page: Page, document: dict[str, Any]) -> None:
    histories: dict[str, Any] = {}
    colors, signs, outcomes = [], [], []
    for (name, title), color in zip(_PARTS.items(), PART_COLORS, strict=True):
        if name not in document["parts"]:
            continue
        signs += [
            (f"{title}, {kind}", f"height:0;border-top:2px {style} {color}")
            for kind, style in [("training", "dotted"), ("validation", "solid")]
        ]
        for number, history in enumerate(document["parts"][name]["histories"], 1):
            member = f"{title} {number}"
            histories[member] = history
            colors.append(color)
            ended = whole(max(history["step"], default=0))
            outcomes.append(
                [
                    member,
                    whole(history["best_step"]),
                    f"{ended}, early" if history["stopped_early"] else ended,
                    f"{min(history['validation'], default=math.nan):.4f}",
                    f"{history['seconds']:.1f}",
                ]
            )
    page.section(
        "How it learned",
        paragraph(
            "Each member learned from all training cases but its own part, by which it was"
            " validated (solid lines): the weights of the best validation (★) were kept. The loss"
            " is the cross entropy."
        ),
        keys(signs),
        page.picture(
            draw_learning(histories, colors), "Training and validation loss over the steps"
        ),
        table(outcomes, ["member", "best step", "last step", "validation loss", "seconds"]),
    )


def _add_origin(page: Page, file: ModelFile) -> None:
    document = file.document
    data = [
        *((f"column: {role}", words(name)) for role, name in document["columns"].items()),
        *(
            (_TRAINED_ON.get(key, key), words(value))
            for key, value in document["trained_on"].items()
        ),
    ]
    add_origin(page, file, data)
