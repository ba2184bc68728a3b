"""The report on a classifier of series, and what it shares with one of texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from noria.report.comparison import Column, add_comparison, add_confusion, costs
from noria.report.drawing import draw_wiring
from noria.report.learning import add_learning
from noria.report.origin import add_origin
from noria.report.page import Page, definitions, note, paragraph
from noria.report.words import count, figures, whole, words
from noria.runtime import ModelFile
from noria.training.class_scores import ClassComparison

__all__ = ["LEFT_OUT", "TRAINED_ON", "add_classes", "add_network", "classify_page"]

LEFT_OUT = "Each member learned from all training {} but its own part, by which it was validated."

_MODELS = {
    "network": "The recurrent networks of this file; the mean of what they say.",
    "fnn": "Feed-forward networks: they see a whole series, brought to one length, at once and"
    " carry nothing from step to step; about as many weights, trained alike.",
    "nearest_neighbour": "Takes the class of the training case that is nearest, step by step, once"
    " all are brought to one length. It gives no probabilities.",
    "minirocket": "MiniRocket: ten thousand fixed convolutions and ridge regression on how often"
    " each is positive, by sktime; all brought to one length. It gives no probabilities.",
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

TRAINED_ON = {
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
    add_classes(page, comparison, "case", _MODELS)
    add_network(page, document, file)
    add_learning(page, document["parts"], "the cross entropy", LEFT_OUT.format("cases"))
    _add_origin(page, file)
    return page


def add_classes(
    page: Page, comparison: ClassComparison, case: str, models: Mapping[str, str]
) -> None:
    """Add the comparison, and what is taken for what.

    Args:
        page: The page to add to.
        comparison: Of classifiers.
        case: What was classed.
        models: What is behind the models' names.
    """
    scores = comparison.scores
    columns: list[Column] = [
        ("accuracy %", [f"{100 * score.accuracy:.2f}" for score in scores], 100.0),
        ("macro F1", [f"{score.macro_f1:.4f}" for score in scores], 1.0),
        ("log loss", figures([score.log_loss for score in scores]), 0.0),
        *costs(scores),
    ]
    add_comparison(
        page,
        f"Every model classed the same {count(comparison.cases, case)}.",
        [score.model for score in scores],
        columns,
        _MEASURES,
        models,
        comparison.notes,
    )
    add_confusion(
        page,
        "A row for each true class, a column for each class that the network found.",
        comparison.classes,
        comparison.confusion,
    )


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


def add_network(page: Page, document: dict[str, Any], file: ModelFile) -> None:
    """Add the section on networks of whole series.

    Args:
        page: The page to add to.
        document: The model's.
        file: The model.
    """
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


def _add_origin(page: Page, file: ModelFile) -> None:
    document = file.document
    data = [
        *((f"column: {role}", words(name)) for role, name in document["columns"].items()),
        *(
            (TRAINED_ON.get(key, key), words(value))
            for key, value in document["trained_on"].items()
        ),
    ]
    add_origin(page, file, data)
