"""The report on a language model."""

from __future__ import annotations

from typing import Any

from noria.report.drawing import draw_wiring
from noria.report.learning import add_learning, add_samples
from noria.report.origin import add_origin
from noria.report.page import Page, definitions, note, paragraph, table
from noria.report.words import best_rows, count, figures, whole, words
from noria.runtime import ModelFile
from noria.training.language_scores import LanguageComparison

__all__ = ["language_page"]

_MODELS = {
    "network": "The recurrent network of this file. It reads on and on, and carries its state.",
    "fnn": "A feed-forward network: it sees the last few tokens at once and carries nothing from"
    " step to step; about as many weights, trained alike.",
    "kneser_ney": "Counts of the training text's n-grams, smoothed by Kneser and Ney's rule; its"
    " parameters are the counts.",
    "network, adapting": "The network while it goes on learning as it reads.",
}

_MEASURES = {
    "nats a token": "what it costs to be told the next token: minus the logarithm of the"
    " probability it was given, in the mean. Lower is better.",
    "perplexity": "so many tokens, all alike, would be as hard to choose from. Lower is better.",
    "bits a character": "the same cost for a character of the text, to compare models whatever"
    " their tokens, as long as these give back the text to the letter: words do not say the spaces,"
    " nor lower case the capitals. Lower is better.",
    "parameters": "the number of weights or counts learned.",
    "seconds": "the time to train and to read the text.",
}


def language_page(file: ModelFile) -> Page:
    """The page about a language model.

    Args:
        file: Its model file.

    Raises:
        KeyError, TypeError, ValueError: if the document is not that of a language model.
    """
    document = file.document
    trained_on = document["trained_on"]
    page = Page(f"Language model over {count(trained_on['vocabulary'], 'token')}")
    comparison = document["comparison"] and LanguageComparison.from_dict(document["comparison"])
    _add_summary(page, file, comparison)
    if comparison is not None:
        _add_comparison(page, comparison)
    add_samples(
        page, document["parts"]["network"]["history"], "let write, with the same random numbers"
    )
    _add_network(page, document, file)
    add_learning(
        page,
        document["parts"],
        "nats a token, and in training what dropout and smoothing add",
    )
    columns = [(f"column: {role}", words(name)) for role, name in document["columns"].items()]
    data = [] if document["whole"] else columns
    add_origin(page, file, [*data, *((key, words(value)) for key, value in trained_on.items())])
    return page


def _add_summary(page: Page, file: ModelFile, comparison: LanguageComparison | None) -> None:
    trained_on = file.document["trained_on"]
    weights = sum(a.size for name, a in file.weights.items() if name.startswith("network."))
    facts = [
        ("Task", "language"),
        ("Tokens", file.document["tokenizer"]["kind"]),
        ("Vocabulary", whole(trained_on["vocabulary"])),
        ("Training characters", whole(trained_on["characters"])),
        ("Weights", whole(weights)),
    ]
    page.add(definitions(facts, "facts"))
    if comparison is not None:
        page.add(
            paragraph(comparison.verdict(), "verdict"),
            note(
                "Memory means here what a recurrent network carries from token to token. It pays"
                " if the network foretells the text better than the models that see only the last"
                " few tokens."
            ),
        )


def _add_comparison(page: Page, comparison: LanguageComparison) -> None:
    scores = comparison.scores
    columns = [
        ("nats a token", figures([s.loss for s in scores]), 0.0),
        ("perplexity", figures([s.perplexity for s in scores]), 1.0),
        ("bits a character", figures([s.bits_per_character for s in scores]), 0.0),
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
        paragraph(
            f"Every model foretold the same {count(comparison.tokens, 'token')}, which none had"
            f" learned from: {count(comparison.characters, 'character')}."
        ),
        table(rows, ["model", *(name for name, _, _ in columns)], best),
        note("★ marks the best of a column; the first line is the model of this report."),
        *(note(text) for text in comparison.notes),
        "<h3>What the columns say</h3>",
        definitions(_MEASURES.items()),
        "<h3>Who is compared</h3>",
        definitions((s.model, _MODELS.get(s.model, "")) for s in scores),
    )


def _add_network(page: Page, document: dict[str, Any], file: ModelFile) -> None:
    plan, wiring = document["parts"]["network"]["plan"], file.wiring
    top = "the embedding's own weights" if plan["tied"] else "a linear layer"
    if plan["cutoffs"]:
        top = f"an adaptive softmax, cut at {words(plan['cutoffs'])}"
    page.section(
        "The network",
        paragraph(
            f"Each token enters as {count(plan['embedding_size'], 'number')}; {top} makes of the"
            f" last layer a probability of each of the {count(plan['vocabulary_size'], 'token')}."
        ),
        f'<div class="scroll">{draw_wiring(wiring)}</div>',
    )
