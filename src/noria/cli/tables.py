"""A model beside what it must beat, as a table or as JSON."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from noria.training.class_scores import ClassComparison
    from noria.training.comparison import Comparison
    from noria.training.detection_scores import DetectionComparison
    from noria.training.language_scores import LanguageComparison
    from noria.training.regression_scores import RegressionComparison
    from noria.training.tag_scores import TagComparison
    from noria.training.translation import TranslationComparison

__all__ = ["show_comparison"]


def show_comparison(
    comparison: Comparison
    | ClassComparison
    | DetectionComparison
    | LanguageComparison
    | RegressionComparison
    | TagComparison
    | TranslationComparison
    | None,
    json: bool,
    **about: str,
) -> None:
    """Print a comparison.

    Args:
        comparison: None where nothing was held out.
        json: As one JSON object instead of a table.
        **about: What else that object shall say.
    """
    if json:
        scores = comparison.scores if comparison else ()
        print(
            jsonlib.dumps(
                {
                    **about,
                    "metrics": scores[0].metrics() if scores else {},
                    "baselines": {score.model: score.metrics() for score in scores[1:]},
                    "comparison": comparison and comparison.to_dict(),
                }
            )
        )
        return
    if comparison is None:
        print("Nothing was held out, so there is no comparison.")
        return
    from rich.console import Console

    from noria.training.class_scores import ClassComparison
    from noria.training.comparison import Comparison
    from noria.training.detection_scores import DetectionComparison
    from noria.training.language_scores import LanguageComparison
    from noria.training.regression_scores import RegressionComparison
    from noria.training.tag_scores import TagComparison

    if isinstance(comparison, ClassComparison):
        table = _classes(comparison)
    elif isinstance(comparison, DetectionComparison):
        table = _detections(comparison)
    elif isinstance(comparison, RegressionComparison):
        table = _numbers(comparison)
    elif isinstance(comparison, TagComparison):
        table = _tags(comparison)
    elif isinstance(comparison, LanguageComparison):
        table = _languages(comparison)
    elif isinstance(comparison, Comparison):
        table = _forecasts(comparison)
    else:
        table = _translations(comparison)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for note in comparison.notes:
        print(note)
    print(comparison.verdict())


def _forecasts(comparison: Comparison) -> Table:
    levels = list(comparison.scores[0].coverage)
    windows = "held-out windows" if comparison.held_out else "windows"
    table = _table(
        f"{comparison.windows} {windows} of {comparison.horizon} steps, {comparison.series} series",
        ["MAE", "MASE", "sMAPE %", "CRPS", *(f"in {level}%" for level in levels)],
    )
    for score in comparison.scores:
        figures = [score.mae, score.mase, score.smape, score.crps]
        table.add_row(
            score.model,
            *(f"{value:.4g}" for value in figures),
            *(f"{100 * score.coverage[level]:.1f}" for level in levels),
            "" if score.parameters is None else str(score.parameters),
            f"{score.seconds:.1f}",
        )
    return table


def _classes(comparison: ClassComparison) -> Table:
    title = f"{comparison.cases} held-out cases of {len(comparison.classes)} classes"
    table = _table(title, ["accuracy %", "macro F1", "log loss"])
    for score in comparison.scores:
        table.add_row(
            score.model,
            f"{100 * score.accuracy:.2f}",
            f"{score.macro_f1:.4f}",
            "" if score.log_loss != score.log_loss else f"{score.log_loss:.4f}",
            "" if score.parameters is None else str(score.parameters),
            f"{score.seconds:.1f}",
        )
    return table


def _tags(comparison: TagComparison) -> Table:
    title = f"{comparison.words} words of {comparison.sentences} held-out sentences"
    names = list(comparison.scores[0].metrics())
    table = _table(title, [f"{'F1' if name == 'f1' else name} %" for name in names])
    for score in comparison.scores:
        figures = score.metrics()
        table.add_row(
            score.model,
            *(f"{100 * figures[name]:.2f}" for name in names),
            "" if score.parameters is None else str(score.parameters),
            f"{score.seconds:.1f}",
        )
    return table


def _numbers(comparison: RegressionComparison) -> Table:
    table = _table(f"{comparison.cases} held-out cases", ["RMSE", "MAE", "R²"])
    for score in comparison.scores:
        table.add_row(
            score.model,
            *(f"{value:.4g}" for value in (score.rmse, score.mae)),
            "" if score.r2 != score.r2 else f"{score.r2:.4f}",
            "" if score.parameters is None else str(score.parameters),
            f"{score.seconds:.1f}",
        )
    return table


def _detections(comparison: DetectionComparison) -> Table:
    labelled = comparison.windows is not None
    title = f"{comparison.events} events"
    if labelled:
        title += f" with {comparison.windows} anomalies"
    headings = ["NAB score", "precision", "recall"] if labelled else []
    table = _table(title, [*headings, "false alarms in 1000", "MAE"])
    for score in comparison.scores:
        figures = [score.nab, score.precision, score.recall] if labelled else []
        figures += [1000 * score.false_alarm_rate, score.mae]
        table.add_row(
            score.model,
            *("" if value != value else f"{value:.4g}" for value in figures),
            "" if score.parameters is None else str(score.parameters),
            f"{score.seconds:.1f}",
        )
    return table


def _languages(comparison: LanguageComparison) -> Table:
    title = f"{comparison.tokens} held-out tokens, {comparison.characters} characters"
    table = _table(title, ["nats a token", "perplexity", "bits a character"])
    for score in comparison.scores:
        table.add_row(
            score.model,
            f"{score.loss:.4f}",
            f"{score.perplexity:.4g}",
            f"{score.bits_per_character:.4f}",
            str(score.parameters),
            f"{score.seconds:.1f}",
        )
    return table


def _translations(comparison: TranslationComparison) -> Table:
    table = _table(f"{comparison.sentences} held-out sentences", ["BLEU", "chrF", "sentences/s"])
    for score in comparison.scores:
        table.add_row(
            score.model,
            f"{score.bleu:.2f}",
            f"{score.chrf:.2f}",
            f"{score.sentences_per_second:.4g}",
            str(score.parameters),
            f"{score.seconds:.1f}",
        )
    return table


def _table(title: str, headings: list[str]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for heading in [*headings, "parameters", "seconds"]:
        table.add_column(heading, justify="right")
    return table
