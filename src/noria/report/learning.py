"""How the network and its feed-forward rival learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noria.report.page import Page, keys, paragraph
from noria.report.pictures import PART_COLORS, draw_learning
from noria.report.words import whole

__all__ = ["add_learning"]

_PARTS = {"network": "network", "fnn": "feed-forward rival"}


def add_learning(page: Page, parts: Mapping[str, Any], loss: str) -> None:
    """Say how training went.

    Args:
        page: The page to add to.
        parts: The trained parts' documents, each with its "history".
        loss: What training makes small, in words.
    """
    histories = {words: parts[name]["history"] for name, words in _PARTS.items() if name in parts}
    signs = [
        (f"{words}, {kind}", f"height:0;border-top:2px {style} {color}")
        for words, color in zip(histories, PART_COLORS, strict=False)
        for kind, style in [("training", "dotted"), ("validation", "solid")]
    ]
    outcomes = [
        paragraph(
            f"{words[0].upper()}{words[1:]}: best at step {whole(history['best_step'])}, "
            + (
                "stopped early as validation no longer improved"
                if history["stopped_early"]
                else "all steps done"
            )
            + f" (step {whole(max(history['step'], default=0))});"
            f" {history['seconds']:.1f} seconds."
        )
        for words, history in histories.items()
    ]
    page.section(
        "How it learned",
        paragraph(
            f"The loss is what training makes small: {loss}. Training loss (dotted) is on what"
            " the network learns from, validation loss (solid) on what it does not; the weights of"
            " the best validation (★) were kept."
        ),
        keys(signs),
        page.picture(draw_learning(histories), "Training and validation loss over the steps"),
        *outcomes,
    )
