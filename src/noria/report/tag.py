"""The report on a tagger of words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from noria.features.tags import legal_steps
from noria.report.classify import LEFT_OUT
from noria.report.comparison import Column, add_comparison, add_confusion, costs
from noria.report.drawing import draw_wiring
from noria.report.learning import add_learning
from noria.report.origin import add_origin
from noria.report.page import Page, definitions, keys, note, paragraph, table
from noria.report.words import count, whole, words
from noria.runtime import ModelFile
from noria.training.tag_scores import TagComparison
from noria.wiring import Wiring

__all__ = ["tag_page"]

_MODELS = {
    "network": "The recurrent networks of this file; the mean of their scores.",
    "fnn": "Feed-forward networks: the same inputs and the same output, five words at a time; they"
    " carry nothing from word to word; about as many weights, trained alike.",
    "most_frequent_tag": "Gives each word the tag that it had most often in training.",
    "logistic_regression": "Logistic regression on the words and features from two before to two"
    " after, and on the word's last characters. Each word is tagged by itself.",
}

_MEASURES = {
    "F1 %": "the harmonic mean of precision and recall. Higher is better.",
    "precision %": "the share of the stretches found that are right, from the first word to the"
    " last, and of the right type. Higher is better.",
    "recall %": "the share of the stretches there are that were found so. Higher is better.",
    "accuracy %": "the share of the words whose tag is right. Higher is better.",
    "parameters": "the number of weights learned, all members together.",
    "seconds": "the time to train the networks and to tag.",
}

_LIKED, _DISLIKED = "11,122,91", "194,96,10"
_MOST_LABELS = 60


def tag_page(file: ModelFile) -> Page:
    """The page about a tagger.

    Args:
        file: Its model file.

    Raises:
        KeyError, TypeError, ValueError: if the document is not that of a tagger.
    """
    document = file.document
    comparison = TagComparison.from_dict(document["comparison"])
    page = Page(f"Tagging with {count(len(document['names']['tags']), 'tag')}")
    _add_summary(page, file, comparison)
    _add_comparison(page, comparison)
    _add_types(page, comparison)
    add_confusion(
        page,
        "Words: a row for each true tag, a column for each tag that the network gave.",
        comparison.tags,
        comparison.confusion,
    )
    _add_sentences(page, document["exhibits"])
    _add_transitions(page, file)
    _add_network(page, document, file)
    what = "F1" if document["names"]["scheme"] != "plain" else "the share of right tags"
    add_learning(
        page,
        document["parts"],
        f"nats a word of the right chain of tags; that of validation is 1 less {what}",
        LEFT_OUT.format("sentences"),
    )
    columns = [(f"column: {role}", words(name)) for role, name in _columns(document).items()]
    add_origin(page, file, [*columns, *((k, words(v)) for k, v in document["trained_on"].items())])
    return page


def _columns(document: dict[str, Any]) -> dict[str, Any]:
    return {role: name for role, name in document["columns"].items() if name != []}


def _add_summary(page: Page, file: ModelFile, comparison: TagComparison) -> None:
    trained_on = file.document["trained_on"]
    weights = sum(a.size for name, a in file.weights.items() if name.startswith("network."))
    facts = [
        ("Task", "tag"),
        ("Training sentences", whole(trained_on["sentences"])),
        ("Training words", whole(trained_on["words"])),
        ("Tags", whole(trained_on["tags"])),
        ("Scheme", file.document["names"]["scheme"]),
        ("Weights", whole(weights)),
    ]
    page.add(
        definitions(facts, "facts"),
        paragraph(comparison.verdict(), "verdict"),
        note(
            "Memory means here what a recurrent network carries from word to word. It pays if the"
            " network tags better than the models that see only a few words at a time."
        ),
    )


def _add_comparison(page: Page, comparison: TagComparison) -> None:
    scores = comparison.scores
    columns: list[Column] = [
        (
            f"{'F1' if name == 'f1' else name} %",
            [f"{100 * score.metrics()[name]:.2f}" for score in scores],
            100.0,
        )
        for name in scores[0].metrics()
    ]
    add_comparison(
        page,
        f"Every model tagged the same {count(comparison.words, 'word')} of"
        f" {count(comparison.sentences, 'sentence')}.",
        [score.model for score in scores],
        [*columns, *costs(scores)],
        _MEASURES,
        _MODELS,
        comparison.notes,
    )


def _add_types(page: Page, comparison: TagComparison) -> None:
    if not comparison.types:
        return
    rows = [
        [part.name or "–", whole(part.actual)]
        + [f"{100 * value:.2f}" for value in (part.precision, part.recall, part.f1)]
        for part in sorted(comparison.types, key=lambda part: -part.actual)
    ]
    page.section(
        "Type by type",
        paragraph("How the network does at each type of stretches."),
        table(rows, ["type", "there are", "precision %", "recall %", "F1 %"]),
    )


def _add_sentences(page: Page, exhibits: Sequence[dict[str, Any]]) -> None:
    if not exhibits:
        return
    page.section(
        "What it finds",
        paragraph(
            "Sentences held out, each word above its tag. Where the network erred, the true tag"
            " stands below; the fainter the colour, the less sure it was."
        ),
        keys(
            [
                ("right", f"background:rgba({_LIKED},.4)"),
                ("wrong", f"background:rgba({_DISLIKED},.5)"),
            ]
        ),
        *(
            f'<p class="tagged">{"".join(_word(*parts) for parts in _rows(e))}</p>'
            for e in exhibits
        ),
    )


def _rows(exhibit: dict[str, Any]) -> zip[Any]:
    return zip(
        *(exhibit[name] for name in ("words", "actual", "found", "probability")), strict=True
    )


def _word(word: str, actual: str, found: str, probability: float) -> str:
    rgb = _LIKED if actual == found else _DISLIKED
    faint = found == "O" == actual
    style = "" if faint else f' style="background:rgba({rgb},{0.5 * float(probability):.2f})"'
    true = "" if actual == found else f"<br><small>{escape(str(actual))}</small>"
    tag = "" if faint else escape(str(found))
    return f"<span{style}>{escape(str(word))}<br><small>{tag}</small>{true}</span> "


def _add_transitions(page: Page, file: ModelFile) -> None:
    plan = file.document["parts"]["network"]["plan"]
    labels = tuple(plan["labels"])
    if len(labels) > _MOST_LABELS:
        return
    members = len(file.document["parts"]["network"]["histories"])
    learned = np.mean(
        [file.weights[f"network.{member}.chain.learned"] for member in range(members)], axis=0
    )
    legal = legal_steps(labels) if plan["stretches"] else np.ones(learned.shape, dtype=bool)
    top = float(np.abs(learned[legal]).max()) or 1.0
    names = [*labels, "begin"], [*labels, "end"]
    heading = "".join(f'<th scope="col">{escape(name)}</th>' for name in names[1])
    rows = []
    for row, name in enumerate(names[0]):
        cells = []
        for column in range(len(labels) + 1):
            score = float(learned[row, column])
            rgb = _LIKED if score > 0 else _DISLIKED
            style = f"background:rgba({rgb},{0.8 * abs(score) / top:.2f})"
            cells.append(
                f'<td style="{style}" title="{score:+.2f}"></td>'
                if legal[row, column]
                else '<td class="never" title="never"></td>'
            )
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    page.section(
        "What may follow what",
        paragraph(
            "What the output learned of one tag (row) before another (column), beside what the"
            " words say. Point at a cell for its score."
        ),
        keys(
            [
                ("often", f"background:rgba({_LIKED},.6)"),
                ("seldom", f"background:rgba({_DISLIKED},.6)"),
                *(
                    [("never: the scheme forbids it", "background:#e3e8ee")]
                    if not legal.all()
                    else []
                ),
            ]
        ),
        '<div class="scroll"><table class="attention transitions"><thead><tr><th></th>'
        f"{heading}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>",
    )


def _add_network(page: Page, document: dict[str, Any], file: ModelFile) -> None:
    part = document["parts"]["network"]
    plan, wiring = part["plan"], file.wiring
    parts = [f"its own {count(plan['embedding_size'], 'number')}"]
    if plan["feature_sizes"]:
        parts.append(f"{whole(plan['feature_size'])} for each further column")
    if plan["characters"] is not None:
        size = Wiring.from_dict(plan["characters"]).output_size
        parts.append(f"{whole(size)} that a small network reads from its characters")
    page.section(
        "The network",
        paragraph(
            f"{count(len(part['histories']), 'network')} of this wiring,"
            f" {count(wiring.parameter_count(), 'weight')} each above the embeddings. A word enters"
            f" as {', '.join(parts)}. What leaves at the top is weighed by a linear layer, a number"
            " for each tag; the chain of tags whose numbers and transitions sum highest is the"
            " answer."
        ),
        f'<div class="scroll">{draw_wiring(wiring)}</div>',
    )
