"""What every `noria fit` does once its estimator is made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from noria.cli.tables import show_comparison

__all__ = ["fit_and_save"]


def fit_and_save(
    estimator: Any,
    data: Any,
    output: Path,
    again: bool = False,
    /,
    *,
    resume: bool,
    json: bool,
    **arguments: Any,
) -> None:
    """Train, with checkpoints beside the model file; save; show the comparison.

    Args:
        estimator: Of a task; its `checkpoints` names the files that its `fit` may leave.
        data: What to train on.
        output: The model file.
        again: The estimator is fitted: train it on.
        resume: Go on from the checkpoints.
        json: Print one JSON object instead of a table.
        **arguments: Further ones of `fit`.
    """
    checkpoint = output.with_name(output.name + ".checkpoint")
    checkpoints = estimator.checkpoints(checkpoint)
    if resume and not any(file.exists() for file in checkpoints):
        print(f"noria: no checkpoint {checkpoints[0]}; training from the start", file=sys.stderr)
    train = estimator.refit if again else estimator.fit
    train(data, checkpoint=checkpoint, resume=resume, progress=True, **arguments)
    estimator.save(output)
    for leftover in checkpoints:
        leftover.unlink(missing_ok=True)
    show_comparison(estimator.comparison_, json, model=str(output))
    if not json:
        print(f"Model: {output}")
