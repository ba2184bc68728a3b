"""What a person sees of a training: a bar on the terminal, curves in TensorBoard's format."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from noria.training.loop import Update

__all__ = ["watching"]


@contextmanager
def watching(
    title: str, *, log_dir: Path | None = None, bar: bool = True
) -> Iterator[Callable[[Update], None]]:
    """Show a training as it goes on.

    Args:
        title: Stands before the bar.
        log_dir: Folder for event files that TensorBoard reads; None for none.
        bar: Whether to draw a bar on standard error; none is drawn where that is no terminal.

    Yields:
        The function to call after every step.
    """
    with ExitStack() as stack:
        watchers: list[Callable[[Update], None]] = []
        if bar and sys.stderr.isatty():
            watchers.append(stack.enter_context(_bar(title)))
        if log_dir is not None:
            watchers.append(stack.enter_context(_events(log_dir)))

        def show(update: Update) -> None:
            for watcher in watchers:
                watcher(update)

        yield show


@contextmanager
def _bar(title: str) -> Iterator[Callable[[Update], None]]:
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("loss {task.fields[loss]:.4f}  validation {task.fields[validation]:.4f}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with progress:
        task = progress.add_task(title, total=None, loss=float("nan"), validation=float("nan"))

        def show(update: Update) -> None:
            progress.update(
                task,
                completed=update.step,
                total=update.steps,
                loss=update.loss,
                validation=update.validation,
            )

        yield show


@contextmanager
def _events(folder: Path) -> Iterator[Callable[[Update], None]]:
    writer = SummaryWriter(folder)

    def write(update: Update) -> None:
        values = {"loss/training": update.loss, "learning_rate": update.learning_rate}
        if update.validated:
            values["loss/validation"] = update.validation
        for name, value in values.items():
            writer.add_scalar(name, value, update.step)

    try:
        yield write
    finally:
        writer.close()
