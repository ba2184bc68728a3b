"""An HTML page taken apart, to be asked what stands in it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any


class ParsedPage(HTMLParser):
    """A page's tags, its tables, its text without scripts and styles, and its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.best: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self._open: str = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag in ("script", "style"):
            (self.scripts if tag == "script" else self.styles).append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open == "style":
            self.styles[-1] += data
        else:
            self.text += data
        if self._open in ("td", "th"):
            self.tables[-1][-1][-1] += data
            if self.tags[-1][1].get("class") == "best":
                self.best.append(data)

    def pictures(self) -> list[dict[str, Any]]:
        """What plotly is told to draw."""
        found = re.match(r"const pictures = (\[.*?\]);\n", self.scripts[-1], re.DOTALL)
        assert found is not None
        pictures: list[dict[str, Any]] = json.loads(found[1])
        return pictures
