"""How a model learned: losses over the steps, and what it had to show on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from noria.report.page import Page, keys, paragraph, table
from noria.report.pictures import PART_COLORS, draw_learning
from noria.report.words import whole

__all__ = ["add_learning", "add_samples"]

_PARTS = {"network": "network", "fnn": "feed-forward rival"}

_MOST_SAMPLES = 8


def add_samples(page: Page, history: Mapping[str, Any], what: str) -> None:
    """What the network wrote, from the first validation to the last.

    Args:
        page: The page to add to.
        history: Its training's.
        what: What it was made to do after each validation.
    """
    shown = list(zip(history["step"], history["validation"], history["samples"], strict=True))
    if len(shown) > _MOST_SAMPLES:
        last = len(shown) - 1
        numbers = sorted({round(last * i / (_MOST_SAMPLES - 1)) for i in range(_MOST_SAMPLES)})
        shown = [shown[number] for number in numbers]
    pieces = [
        f"<figure><figcaption><b>Step {whole(step)}</b>, validation loss {loss:.4f}</figcaption>"
        f'<pre class="sample">{escape(text)}</pre></figure>'
        for step, loss, text in shown
    ]
    page.section(
        "What it wrote as it learned",
        paragraph(f"After each validation it was {what}."),
        f'<div class="pictures">{"".join(pieces)}</div>',
    )


def add_learning(page: Page, parts: Mapping[str, Any], loss: str, of_members: str = "") -> None:
    """The losses of the network and of its feed-forward rival.

    Args:
        page: The page to add to.
        parts: Their documents, by name: with one "history", or "histories", one a member.
        loss: What training makes small, in words.
        of_members: How the members differ, in a sentence or two.
    """
    histories: dict[str, Any] = {}
    colors, signs, outcomes = [], [], []
    for (name, title), color in zip(_PARTS.items(), PART_COLORS, strict=True):
        if name not in parts:
            continue
        signs += [
            (f"{title}, {kind}", f"height:0;border-top:2px {style} {color}")
            for kind, style in [("training", "dotted"), ("validation", "solid")]
        ]
        several = parts[name].get("histories")
        for number, history in enumerate(several or [parts[name]["history"]], 1):
            called = f"{title} {number}" if several else title
            histories[called] = history
            colors.append(color)
            ended = whole(max(history["step"], default=0))
            outcomes.append(
                [
                    called,
                    whole(history["best_step"]),
                    f"{ended}, early" if history["stopped_early"] else ended,
                    f"{min(history['validation'], default=math.nan):.4f}",
                    f"{history['seconds']:.1f}",
                ]
            )
    page.section(
        "How it learned",
        paragraph(
            f"The loss is what training makes small: {loss}. Training loss (dotted) is on what the"
            " network learns from, validation loss (solid) on what it does not; ★ marks the step"
            f" whose weights were kept. {of_members}".rstrip()
        ),
        keys(signs),
        page.picture(
            draw_learning(histories, colors), "Training and validation loss over the steps"
        ),
        table(
            outcomes,
            [
                "member" if of_members else "part",
                "step kept",
                "last step",
                "validation loss",
                "seconds",
            ],
        ),
    )
