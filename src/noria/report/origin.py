"""The last section of every page: data, settings and hash of the model."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from noria.report.page import Page, table
from noria.report.words import words
from noria.runtime import ModelFile

__all__ = ["add_origin"]


def add_origin(page: Page, file: ModelFile, data: Sequence[Sequence[str]]) -> None:
    """Say where a model comes from.

    Args:
        page: The page to add to.
        file: The model.
        data: What it was trained on, as rows of name and value.
    """
    settings = [
        (key, words(value, none="not set")) for key, value in file.document["settings"].items()
    ]
    page.section(
        "Where it comes from",
        '<div class="side"><div><h3>Data</h3>',
        table(data),
        "</div><div><h3>Settings</h3>",
        table(settings),
        "</div></div>",
        "<h3>Model file</h3>",
        f"<p>SHA-256 <code>{escape(file.sha256)}</code>, format version"
        f" {escape(str(file.document['version']))}</p>",
    )
