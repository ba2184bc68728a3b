"""The report on a regressor of whole series."""

from __future__ import annotations

from noria.report.classify import LEFT_OUT, TRAINED_ON, add_network
from noria.report.comparison import Column, add_comparison, costs
from noria.report.learning import add_learning
from noria.report.origin import add_origin
from noria.report.page import Page, definitions, note, paragraph
from noria.report.words import count, figures, whole, words
from noria.runtime import ModelFile
from noria.training.regression_scores import RegressionComparison

__all__ = ["regress_page"]

_MODELS = {
    "network": "The recurrent networks of this file; the mean of what they say.",
    "fnn": "Feed-forward networks: they see a whole series, brought to one length, at once and"
    " carry nothing from step to step; about as many weights, trained alike.",
    "mean": "The mean of the training cases, whatever the series.",
    "nearest_neighbour": "Takes the number of the training case that is nearest, step by step,"
    " once all are brought to one length.",
    "ridge_regression": "Ridge regression on statistics of each channel, which know nothing of"
    " order: mean, deviation, least, median and largest value, mean change from step to step.",
}

_MEASURES = {
    "RMSE": "the root of the mean square error, in the numbers' own unit. Lower is better.",
    "MAE": "the mean size of the error, likewise. Lower is better.",
    "R²": "the share of the numbers' variance that is explained. Higher is better.",
    "parameters": "the number of weights learned, all members together.",
    "seconds": "the time to train the networks and to predict.",
}


def regress_page(file: ModelFile) -> Page:
    """The page about a regressor.

    Args:
        file: Its model file.

    Raises:
        KeyError, TypeError, ValueError: if the document is not that of a regressor.
    """
    document = file.document
    comparison = RegressionComparison.from_dict(document["comparison"])
    trained_on, scores = document["trained_on"], comparison.scores
    page = Page(f"A number for each series: {document['columns']['label']}")
    weights = sum(a.size for name, a in file.weights.items() if name.startswith("network."))
    facts = [
        ("Task", "regress"),
        ("Training cases", whole(trained_on["cases"])),
        ("Channels", whole(trained_on["channels"])),
        ("Steps", f"{whole(trained_on['shortest'])} to {whole(trained_on['longest'])}"),
        ("Weights", whole(weights)),
    ]
    page.add(
        definitions(facts, "facts"),
        paragraph(comparison.verdict(), "verdict"),
        note(
            "Memory means here what a recurrent network carries from step to step. It pays if the"
            " network errs less than the models that carry nothing."
        ),
    )
    columns: list[Column] = [
        ("RMSE", figures([score.rmse for score in scores]), 0.0),
        ("MAE", figures([score.mae for score in scores]), 0.0),
        ("R²", ["–" if s.r2 != s.r2 else f"{s.r2:.4f}" for s in scores], 1.0),
        *costs(scores),
    ]
    add_comparison(
        page,
        f"Every model judged the same {count(comparison.cases, 'case')}.",
        [score.model for score in scores],
        columns,
        _MEASURES,
        _MODELS,
        comparison.notes,
    )
    add_network(page, document, file)
    add_learning(
        page, document["parts"], "Huber's loss in training, the RMSE in validation",
        LEFT_OUT.format("cases"),
    )  # fmt: skip
    data = [
        *((f"column: {role}", words(name)) for role, name in document["columns"].items()),
        *((TRAINED_ON.get(key, key), words(value)) for key, value in trained_on.items()),
    ]
    add_origin(page, file, data)
    return page
