"""The section that stands on every page: a model beside what it must beat; and its confusions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from noria.report.page import Page, definitions, note, paragraph, table
from noria.report.words import best_rows, whole

__all__ = ["Column", "add_comparison", "add_confusion", "costs"]

Column = tuple[str, list[str], float | None]
"""Name, cells, and the best possible value; None where no value is the better."""


def costs(scores: Sequence[Any]) -> list[Column]:
    """The columns of what each model costs.

    Args:
        scores: With "parameters", a number or None, and "seconds".
    """
    counts = ["–" if score.parameters is None else whole(score.parameters) for score in scores]
    seconds = [f"{s.seconds:.1f}" if s.seconds >= 0.1 else "<0.1" for s in scores]
    return [("parameters", counts, None), ("seconds", seconds, None)]


def add_comparison(
    page: Page,
    intro: str,
    models: Sequence[str],
    columns: Sequence[Column],
    measures: Mapping[str, str],
    who: Mapping[str, str],
    notes: Sequence[str],
) -> None:
    """Add the table of scores, and what its words mean.

    Args:
        page: The page to add to.
        intro: On what all were compared.
        models: Their names, the one in question first.
        columns: A cell for each model.
        measures: What the columns say.
        who: What is behind the models' names.
        notes: What a reader must know.
    """
    rows = [[model, *(cells[row] for _, cells, _ in columns)] for row, model in enumerate(models)]
    best = frozenset(
        (row, number)
        for number, (_, cells, target) in enumerate(columns, 1)
        for row in best_rows(cells, target)
    )
    shown = {name for name, _, _ in columns}
    page.section(
        "Against what it must beat",
        paragraph(intro),
        table(rows, ["model", *(name for name, _, _ in columns)], best),
        note("★ marks the best of a column; the first line is the model of this report."),
        *map(note, notes),
        "<h3>What the columns say</h3>",
        definitions((name, text) for name, text in measures.items() if name in shown),
        "<h3>Who is compared</h3>",
        definitions((model, who.get(model, "")) for model in models),
    )


def add_confusion(
    page: Page, what: str, classes: Sequence[str], confusion: Sequence[Sequence[int]]
) -> None:
    """Add a confusion matrix, cells shaded by their share of the row.

    Args:
        page: The page to add to.
        what: What a row and a column are for, in a sentence.
        classes: The C classes.
        confusion: How often each true class (row) was taken for each class, (C, C).
    """
    heading = "".join(f'<th scope="col">{escape(name)}</th>' for name in classes)
    rows = []
    for number, (name, cells) in enumerate(zip(classes, confusion, strict=True)):
        shaded = []
        for column, cases in enumerate(cells):
            share = cases / max(sum(cells), 1)
            rgb = "11,122,91" if column == number else "194,96,10"
            style = f"background:rgba({rgb},{0.55 * math.sqrt(share):.2f})"
            shaded.append(
                f'<td style="{style}">{whole(cases)}</td>' if cases else '<td class="none">0</td>'
            )
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(shaded)}</tr>')
    page.section(
        "What is taken for what",
        paragraph(
            f"{what} Right answers stand on the diagonal; the darker, the larger the share of the"
            " row."
        ),
        '<div class="scroll"><table class="confusion"><thead><tr><th scope="col">true ↓ found →'
        f"</th>{heading}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>",
    )
