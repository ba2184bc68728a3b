"""A page that is one file: text, tables and pictures, opened without a network.

Text comes in as plain strings and is escaped here; only what is named html is taken as it is. The
browser is told to load nothing (its content security policy), so that a mistake shows at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from noria.errors import MissingExtraError

__all__ = ["Page", "definitions", "keys", "note", "paragraph", "table"]

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)

_STYLE = """
:root { color-scheme: light; --ink: #1b2733; --muted: #52606d; --rule: #dde3ea; --soft: #f5f7fa; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .5rem; padding-top: 1rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; overflow-wrap: anywhere; }
p.note, figcaption { color: var(--muted); font-size: .9rem; }
p.verdict { font-size: 1.1rem; font-weight: 600; padding: .7rem .9rem; margin: 1rem 0;
  background: #eef4fb; border-left: 4px solid #1f5fa8; border-radius: 0 6px 6px 0; }
.scroll { overflow-x: auto; }
.tall { max-height: 44rem; overflow-y: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--rule); }
thead th { color: var(--muted); font-weight: 600; border-bottom: 2px solid #b8c4d0;
  vertical-align: bottom; }
table.figures { width: 100%; }
table.figures td, table.figures th { text-align: right; white-space: nowrap; }
table.figures th:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
table.figures tbody th { font-weight: 400; }
table.figures tbody tr:first-child > * { background: var(--soft); }
td.best { font-weight: 700; color: #0b6b4f; }
td.best::before { content: "★ "; font-size: .75em; vertical-align: .1em; }
table.confusion td, table.confusion th { text-align: right; }
table.confusion tbody th { white-space: nowrap; }
table.confusion td.none { color: #8996a3; }
table.attention td { min-width: .5rem; height: 1.6rem; padding: 0; border: 1px solid var(--soft); }
table.attention th { font-weight: 400; white-space: nowrap; border: 0; }
table.attention th { padding: .2rem .3rem; font-size: .8rem; }
table.attention thead th { writing-mode: vertical-rl; transform: rotate(180deg);
  padding: .2rem 0; line-height: 1.6; }
table.transitions { width: 100%; }
table.transitions thead th { line-height: 1.2; }
table.transitions td.never { background: #e3e8ee; }
p.marked { max-width: none; line-height: 1.9; }
p.marked span { padding: .1rem .15rem; border-radius: 3px; }
p.tagged { display: flex; flex-wrap: wrap; gap: .3rem; max-width: none; margin: .8rem 0; }
p.tagged span { padding: .1rem .25rem; border-radius: 3px; text-align: center; line-height: 1.25; }
p.tagged small { color: var(--muted); font-size: .68rem; }
table.pairs { width: 100%; }
table.pairs th { font-weight: 400; color: var(--muted); width: 38%; padding-left: 0; }
table.pairs td { overflow-wrap: anywhere; }
dl { margin: .8rem 0; font-size: .92rem; max-width: 52rem; }
dt { font-weight: 600; float: left; clear: left; margin-right: .5rem; }
dd { margin: 0 0 .35rem; }
dl.facts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 1rem 0; }
dl.facts dt { float: none; margin: 0; font-weight: 400; color: var(--muted); font-size: .82rem; }
dl.facts dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
.side { display: grid; gap: 0 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
.pictures { display: grid; gap: 1rem 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); }
figure { margin: .5rem 0; min-width: 0; }
figcaption { overflow-wrap: anywhere; }
figcaption b { color: var(--ink); }
.keys { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .9rem; padding: 0;
  margin: .6rem 0; list-style: none; }
.keys i { display: inline-block; width: 1.6rem; height: .8rem; margin-right: .4rem;
  vertical-align: middle; }
pre.sample { margin: .3rem 0; padding: .6rem .8rem; background: var(--soft); font-size: .82rem;
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 18rem; overflow-y: auto; }
code { font-size: .88em; overflow-wrap: anywhere; }
svg.wiring { display: block; margin: .5rem auto; }
@media (max-width: 40rem) {
  main { padding: 1rem .8rem 3rem; }
  h1 { font-size: 1.4rem; }
  th, td { padding: .35rem .5rem; }
}
@media print {
  h2 { break-after: avoid; }
  figure { break-inside: avoid; }
  .tall { max-height: none; }
}
"""

_BEST = ' class="best"'

_DRAW = """
for (const {id, data, layout} of pictures)
  Plotly.newPlot(id, data, layout, {responsive: true, displayModeBar: false});
"""


class Page:
    """A page in the making: sections are added from the top, `html` puts it together.

    Args:
        title: Of the page, and its first heading.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>"]
        self._pictures: list[dict[str, Any]] = []

    def add(self, *html: str) -> None:
        """Add pieces of HTML."""
        self._parts += html

    def section(self, heading: str, *html: str) -> None:
        """Add a heading and pieces of HTML below it."""
        self._parts += [f"<h2>{escape(heading)}</h2>", *html]

    def picture(self, picture: dict[str, Any], alternative: str, caption_html: str = "") -> str:
        """A plotly picture; the caller puts what is returned where it belongs.

        Args:
            picture: Its `data` and `layout`. Plotly takes texts in them for markup: nothing of
                the user's may stand there but numbers and times.
            alternative: What it shows, for who cannot see it.
            caption_html: What stands above it.
        """
        name = f"picture-{len(self._pictures) + 1}"
        self._pictures.append({"id": name, **picture})
        caption = f"<figcaption>{caption_html}</figcaption>" if caption_html else ""
        height = picture["layout"]["height"]
        return (
            f'<figure>{caption}<div id="{name}" role="img" aria-label="{escape(alternative)}"'
            f' style="height:{height}px"></div></figure>'
        )

    def html(self) -> str:
        """The whole page.

        Raises:
            MissingExtraError: if plotly is not installed.
        """
        scripts = ""
        if self._pictures:
            pictures = _in_script(self._pictures)
            scripts = (
                "<noscript><p>The pictures of this page need JavaScript.</p></noscript>\n"
                f"<script>{_plotly()}</script>\n"
                f"<script>const pictures = {pictures};{_DRAW}</script>"
            )
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<link rel="icon" href="data:,">\n'
            f"<title>{escape(self._title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
            + "\n".join(self._parts)
            + f"\n{scripts}\n</main>\n</body>\n</html>\n"
        )


def _in_script(value: Any) -> str:
    """JSON that cannot end the script it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("plotly"):
            raise
        raise MissingExtraError("a report needs plotly: pip install 'noria[train]'") from error
    return str(get_plotlyjs())


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text.

    >>> paragraph("1 < 2")
    '<p>1 &lt; 2</p>'
    """
    name = f' class="{kind}"' if kind else ""
    return f"<p{name}>{escape(text)}</p>"


def note(text: str) -> str:
    """A paragraph of less weight."""
    return paragraph(text, "note")


def definitions(pairs: Iterable[tuple[str, str]], kind: str = "") -> str:
    """Terms and what they mean."""
    name = f' class="{kind}"' if kind else ""
    items = (f"<div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>" for term, text in pairs)
    return f"<dl{name}>{''.join(items)}</dl>"


def keys(signs: Iterable[tuple[str, str]]) -> str:
    """What the signs of a picture mean: words, and the CSS of a small sample."""
    items = (f'<li><i style="{escape(style)}"></i>{escape(words)}</li>' for words, style in signs)
    return f'<ul class="keys">{"".join(items)}</ul>'


def table(
    rows: Sequence[Sequence[str]],
    heading: Sequence[str] = (),
    best: frozenset[tuple[int, int]] = frozenset(),
) -> str:
    """A table whose first column names the rows: of figures with a heading, else of pairs.

    Args:
        rows: Its cells.
        heading: Names of the columns.
        best: (row, column) of the cells to be marked.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heading)
    body = []
    for number, (name, *cells) in enumerate(rows):
        marked = (
            f"<td{_BEST if (number, column) in best else ''}>{escape(cell)}</td>"
            for column, cell in enumerate(cells, 1)
        )
        body.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(marked)}</tr>')
    return (
        f'<div class="scroll"><table class="{"figures" if heading else "pairs"}">'
        + (f"<thead><tr>{head}</tr></thead>" if heading else "")
        + f"<tbody>{''.join(body)}</tbody></table></div>"
    )
