"""A trained model as one HTML page that opens offline."""

from __future__ import annotations

from pathlib import Path

from noria.errors import MissingExtraError, ModelFileError
from noria.report.classify import classify_page
from noria.report.classify_text import classify_text_page
from noria.report.detect import detect_page
from noria.report.forecast import forecast_page
from noria.report.language import language_page
from noria.report.regress import regress_page
from noria.report.tag import tag_page
from noria.report.translate import translate_page
from noria.runtime import read_model
from noria.runtime.files import replace_file

__all__ = ["write_report"]

_PAGES = {
    "forecast": forecast_page,
    "classify": classify_page,
    "classify_text": classify_text_page,
    "detect": detect_page,
    "language": language_page,
    "regress": regress_page,
    "tag": tag_page,
    "translate": translate_page,
}


def write_report(model: Path, output: Path) -> None:
    """Write a page about a model: how good it is, what it says, how it is wired and trained.

    The page is one file and loads nothing from anywhere.

    Args:
        model: The model file.
        output: The .html file to make or replace; after a crash it is the old one or the new one.

    Raises:
        ModelFileError: if the model file is missing or damaged, or its task has no report.
        MissingExtraError: if plotly is not installed.
        ResourceError: if the page cannot be written.
    """
    file = read_model(model)
    task = file.document.get("task")
    page = _PAGES.get(task) if isinstance(task, str) else None
    if page is None:
        raise ModelFileError(
            f"{model} is a model for {task}; there are reports for {', '.join(_PAGES)}"
        )
    try:
        html = page(file).html()
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, MissingExtraError):
            raise
        raise ModelFileError(f"{model} is damaged: {error!r} in its document") from error
    replace_file(output, html.encode())
