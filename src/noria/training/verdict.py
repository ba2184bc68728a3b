"""In one sentence, whether memory pays."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["verdict"]


_RIVAL = "fnn"
"""The same network without memory: only beside it can be said that memory pays."""


def verdict(
    metric: str, values: Mapping[str, float], *, lower_is_better: bool, remembers: bool = True
) -> str:
    """Hold the first of several models against the others.

    Args:
        metric: What the figures are, as it shall be written.
        values: The figure of each model, the one in question first.
        lower_is_better: Whether a lower figure is the better.
        remembers: Whether the model in question carries anything from step to step.

    >>> verdict("accuracy", {"network": 0.9, "fnn": 0.8}, lower_is_better=False)
    'Memory pays here: network has the highest accuracy, 0.9.'
    """
    unknown = [model for model, value in values.items() if not math.isfinite(value)]
    if unknown:
        return f"No verdict: the {metric} of {' and '.join(unknown)} is no number."
    own, *others = values
    if not others:
        return f"{own}: {metric} {values[own]:.4g}; nothing to compare it with."
    sign = 1 if lower_is_better else -1
    ahead = [model for model in others if sign * values[model] <= sign * values[own]]
    if ahead:
        best = min(others, key=lambda model: sign * values[model])
        told = (
            f"{' and '.join(ahead)} did no worse than {own}"
            f" ({metric} {values[best]:.4g} against {values[own]:.4g})"
        )
        return (
            f"Memory does not pay here: {told}." if remembers else f"{told}, which has no memory."
        )
    extreme = "lowest" if lower_is_better else "highest"
    told = f"{own} has the {extreme} {metric}, {values[own]:.4g}"
    if not remembers:
        return f"{told}. It has no memory, so that says nothing of memory."
    if _RIVAL not in others:
        return f"{told}. Whether memory pays, only a feed-forward network beside it would tell."
    return f"Memory pays here: {told}."
