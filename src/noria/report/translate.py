"""The report on a translator."""

from __future__ import annotations

from html import escape
from typing import Any

from noria.report.drawing import draw_wiring
from noria.report.learning import add_learning, add_samples
from noria.report.origin import add_origin
from noria.report.page import Page, definitions, note, paragraph, table
from noria.report.words import best_rows, count, whole, words
from noria.runtime import ModelFile
from noria.training.translation import TranslationComparison
from noria.wiring import Wiring

__all__ = ["translate_page"]

_MODELS = {
    "network": "The recurrent encoder and decoder of this file.",
    "fnn": "The same with nothing carried from step to step: it sees each source token by itself,"
    " of what it has written only the last token, and has the same attention; about as many"
    " weights, trained alike.",
    "lexicon": "Each token by the one that it is likeliest to give (IBM model 1), in the source's"
    " order.",
}

_MEASURES = {
    "BLEU": "how many of its runs of one to four words stand in the right translation, too short"
    " ones punished; 0 to 100. Higher is better.",
    "chrF": "the same for runs of one to six characters, as an F-score. Higher is better.",
    "sentences/s": "how many it translated in a second.",
    "parameters": "the number of weights or entries learned.",
    "seconds": "the time to train and to translate.",
}


def translate_page(file: ModelFile) -> Page:
    """The page about a translator.

    Args:
        file: Its model file.

    Raises:
        KeyError, TypeError, ValueError: if the document is not that of a translator.
    """
    document = file.document
    comparison = document["comparison"] and TranslationComparison.from_dict(document["comparison"])
    page = Page(f"Translator with {count(document['trained_on']['vocabulary'], 'token')}")
    _add_summary(page, file, comparison)
    if comparison is not None:
        _add_comparison(page, comparison)
    _add_attention(page, document["exhibits"])
    add_samples(
        page,
        document["parts"]["network"]["history"],
        "made to translate the first sentences held out, greedily",
    )
    _add_network(page, document["parts"]["network"]["plan"])
    add_learning(
        page, document["parts"], "nats a token, and in training what dropout and smoothing add"
    )
    add_origin(page, file, [(key, words(value)) for key, value in document["trained_on"].items()])
    return page


def _add_summary(page: Page, file: ModelFile, comparison: TranslationComparison | None) -> None:
    trained_on = file.document["trained_on"]
    weights = sum(a.size for name, a in file.weights.items() if name.startswith("network."))
    facts = [
        ("Task", "translate"),
        ("Tokens", file.document["tokenizer"]["kind"]),
        ("Vocabulary", whole(trained_on["vocabulary"])),
        ("Training pairs", whole(trained_on["pairs"])),
        ("Weights", whole(weights)),
    ]
    page.add(definitions(facts, "facts"))
    if comparison is not None:
        page.add(
            paragraph(comparison.verdict(), "verdict"),
            note(
                "Memory means here what the networks carry from token to token. It pays if they"
                " translate better than the models that carry nothing."
            ),
        )


def _add_comparison(page: Page, comparison: TranslationComparison) -> None:
    scores = comparison.scores
    columns = [
        ("BLEU", [f"{s.bleu:.2f}" for s in scores], 100.0),
        ("chrF", [f"{s.chrf:.2f}" for s in scores], 100.0),
        ("sentences/s", [f"{s.sentences_per_second:,.0f}" for s in scores], None),
        ("parameters", [whole(s.parameters) for s in scores], None),
        ("seconds", [f"{s.seconds:.1f}" if s.seconds >= 0.1 else "<0.1" for s in scores], None),
    ]
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
        paragraph(f"Every model translated the same {count(comparison.sentences, 'sentence')}."),
        table(rows, ["model", *(name for name, _, _ in columns)], best),
        note("★ marks the best of a column; the first line is the model of this report."),
        *(note(text) for text in comparison.notes),
        "<h3>What the columns say</h3>",
        definitions(_MEASURES.items()),
        "<h3>Who is compared</h3>",
        definitions((s.model, _MODELS.get(s.model, "")) for s in scores),
    )


def _add_attention(page: Page, exhibits: list[dict[str, Any]]) -> None:
    page.section(
        "What it looked at",
        paragraph(
            "Sentences held out, each under what it should become: a row for each token that the"
            " network wrote, a column for each token of the source. The darker, the more it looked"
            " at it as it wrote."
        ),
        *(
            f"<h3>{escape(str(exhibit['reference']))}</h3>{_map(exhibit)}"
            for exhibit in exhibits
            if exhibit["target"]
        ),
    )


def _map(exhibit: dict[str, Any]) -> str:
    """An attention map: cells shaded by their weight."""
    heading = "".join(f'<th scope="col">{escape(str(text))}</th>' for text in exhibit["source"])
    rows = []
    for text, weights in zip(exhibit["target"], exhibit["alignment"], strict=True):
        cells = "".join(
            f'<td style="background:rgba(31,95,168,{0.9 * float(weight):.2f})"'
            f' title="{float(weight):.2f}"></td>'
            for weight in weights
        )
        rows.append(f'<tr><th scope="row">{escape(str(text))}</th>{cells}</tr>')
    return (
        '<div class="scroll tall"><table class="attention"><thead><tr><th></th>'
        f"{heading}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _add_network(page: Page, plan: dict[str, Any]) -> None:
    fed = " What it attended to enters it again at the next step." if plan["input_feeding"] else ""
    page.section(
        "The network",
        paragraph(
            f"Each token is {count(plan['embedding_size'], 'number')}. The encoder reads the source"
            " in both directions:"
        ),
        f'<div class="scroll">{draw_wiring(Wiring.from_dict(plan["encoder"]))}</div>',
        paragraph(f"The decoder writes, looking back by {plan['attention']} attention.{fed}"),
        f'<div class="scroll">{draw_wiring(Wiring.from_dict(plan["decoder"]))}</div>',
    )
