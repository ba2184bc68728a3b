"""The report on a classifier of texts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from noria.report.classify import LEFT_OUT, add_classes
from noria.report.drawing import draw_wiring
from noria.report.learning import add_learning
from noria.report.origin import add_origin
from noria.report.page import Page, definitions, keys, note, paragraph
from noria.report.words import count, whole, words
from noria.runtime import ModelFile
from noria.training.class_scores import ClassComparison

__all__ = ["classify_text_page"]

_MODELS = {
    "network": "The recurrent networks of this file; the mean of what they say.",
    "fnn": "Feed-forward networks: the same embeddings, three words at a time, pooled over the"
    " text; they carry nothing from word to word; about as many weights, trained alike.",
    "tfidf_logistic_regression": "Logistic regression on the words and pairs of neighbours of a"
    " text, weighed by tf-idf, which knows nothing else of their order.",
}

_FOR, _AGAINST, _LOOKED = "11,122,91", "194,96,10", "31,95,168"


def classify_text_page(file: ModelFile) -> Page:
    """The page about a classifier of texts.

    Args:
        file: Its model file.

    Raises:
        KeyError, TypeError, ValueError: if the document is not that of a classifier of texts.
    """
    document = file.document
    comparison = ClassComparison.from_dict(document["comparison"])
    page = Page(f"Texts in {count(len(comparison.classes), 'class', 'classes')}")
    _add_summary(page, file, comparison)
    add_classes(page, comparison, "text", _MODELS)
    _add_words(page, document["exhibits"])
    _add_network(page, document, file)
    loss = "the mean of each class's own cross entropy"
    add_learning(
        page,
        document["parts"],
        loss if document["multi_label"] else "the cross entropy",
        LEFT_OUT.format("texts"),
    )
    columns = [(f"column: {role}", words(name)) for role, name in document["columns"].items()]
    add_origin(page, file, [*columns, *((k, words(v)) for k, v in document["trained_on"].items())])
    return page


def _add_summary(page: Page, file: ModelFile, comparison: ClassComparison) -> None:
    trained_on = file.document["trained_on"]
    weights = sum(a.size for name, a in file.weights.items() if name.startswith("network."))
    facts = [
        ("Task", "classify texts"),
        ("Training texts", whole(trained_on["texts"])),
        ("Classes", whole(trained_on["classes"])),
        ("Classes of a text", "any number" if file.document["multi_label"] else "one"),
        ("Tokens", file.document["settings"]["tokens"]),
        ("Vocabulary", whole(trained_on["vocabulary"])),
        ("Weights", whole(weights)),
    ]
    page.add(
        definitions(facts, "facts"),
        paragraph(comparison.verdict(), "verdict"),
        note(
            "Memory means here what a recurrent network carries from word to word. It pays if the"
            " network finds more classes than the models that carry nothing."
        ),
    )


def _add_words(page: Page, exhibits: Sequence[dict[str, Any]]) -> None:
    if not exhibits:
        return
    attended = any("attention" in exhibit for exhibit in exhibits)
    page.section(
        "Which words decided",
        paragraph(
            "Texts held out. What each word adds to the log-odds of the class that was found"
            " likeliest, mean of the members, by integrated gradients; the stronger the colour,"
            " the more. Point at a word for its figure."
        ),
        keys(
            [
                ("speaks for it", f"background:rgba({_FOR},.5)"),
                ("speaks against it", f"background:rgba({_AGAINST},.5)"),
                *([("attention", f"background:rgba({_LOOKED},.5)")] if attended else []),
            ]
        ),
        *map(_exhibit, exhibits),
    )


def _exhibit(exhibit: dict[str, Any]) -> str:
    found = exhibit["found"] or "no class"
    actual = ", ".join(map(str, exhibit["actual"])) or "no class"
    likeliest = f"{exhibit['likeliest']} with {100 * float(exhibit['probability']):.1f} %"
    verdict = "rightly" if found == actual else f"true: {actual}"
    weights = [float(weight) for weight in exhibit["weights"]]
    top = max(map(abs, weights), default=0.0) or 1.0
    lines = [
        _line(
            exhibit["words"],
            [(_FOR if w > 0 else _AGAINST, abs(w) / top, f"{w:+.3f}") for w in weights],
        )
    ]
    if "attention" in exhibit:
        shares = [float(share) for share in exhibit["attention"]]
        top = max(shares, default=0.0) or 1.0
        lines.append(_line(exhibit["words"], [(_LOOKED, s / top, f"{s:.3f}") for s in shares]))
    heading = escape(f"{found}, {verdict}; likeliest {likeliest}")
    return f"<figure><figcaption>{heading}</figcaption>{''.join(lines)}</figure>"


def _line(texts: Sequence[str], marks: Sequence[tuple[str, float, str]]) -> str:
    """Words on backgrounds: a colour, how strong, and what pointing at the word tells."""
    marked = (
        f'<span style="background:rgba({rgb},{0.6 * strength:.2f})" title="{title}">'
        f"{escape(str(text))}</span>"
        for text, (rgb, strength, title) in zip(texts, marks, strict=True)
    )
    return f'<p class="marked">{" ".join(marked)}</p>'


def _add_network(page: Page, document: dict[str, Any], file: ModelFile) -> None:
    part = document["parts"]["network"]
    plan, wiring = part["plan"], file.wiring
    grams = " and those of its character n-grams" if plan["buckets"] else ""
    page.section(
        "The network",
        paragraph(
            f"{count(len(part['histories']), 'network')} of this wiring,"
            f" {count(wiring.parameter_count(), 'weight')} each above the embeddings. A word enters"
            f" as the sum of its own {count(plan['embedding_size'], 'number')}{grams}. What leaves"
            f" at the top is pooled over all words ({plan['pooling']}) and weighed by a last linear"
            " layer, a number for each class."
        ),
        f'<div class="scroll">{draw_wiring(wiring)}</div>',
    )
