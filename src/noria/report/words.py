"""Numbers and settings as a person would write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["best_rows", "count", "figures", "whole", "words"]


def best_rows(cells: Sequence[str], target: float | None) -> list[int]:
    """Rows of the cells nearest to a value; cells that read the same are as good."""
    if target is None:
        return []
    apart = {
        row: round(abs(float(cell.replace(",", "")) - target), 9)
        for row, cell in enumerate(cells)
        if cell != "–"
    }
    return [row for row, distance in apart.items() if distance == min(apart.values())]


def figures(values: Sequence[float]) -> list[str]:
    """One column's values with the same decimals, four figures in the smallest."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    decimals = min(max(3 - math.floor(math.log10(min(sizes))), 0), 8) if sizes else 0
    return [f"{value:,.{decimals}f}" if math.isfinite(value) else "–" for value in values]


def words(value: Any, none: str = "–") -> str:
    """A setting as a person would write it.

    >>> words([80, 95]), words(None), words(0.002), words([[True, False]] * 2)
    ('80, 95', '–', '0.002', 'adjacency, 2 × 2')
    """
    if value is None or value == []:
        return none
    if isinstance(value, list):
        if isinstance(value[0], list):
            return f"adjacency, {len(value)} × {len(value[0])}"
        return ", ".join(words(item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return whole(value)
    return str(value)


def whole(number: int) -> str:
    """A whole number with commas at the thousands."""
    return f"{number:,}"


def count(number: int, noun: str, plural: str = "") -> str:
    """So many of something."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
