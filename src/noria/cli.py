"""The command line: parse, call a task, print.

Nothing slow is imported here at the top: `noria --help` answers at once, without torch.
"""

from __future__ import annotations

import importlib
import io
import json as jsonlib
import os
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Toml

from noria import __version__
from noria.errors import ModelFileError, NoriaError, ResourceError, UsageError

if TYPE_CHECKING:
    from noria.tasks.forecast import Forecaster
    from noria.training.comparison import Comparison

__all__ = ["app", "main"]

_OUT_OF_MEMORY = ResourceError("out of memory: take a smaller batch, network or file")

_STAMP = "%Y-%m-%dT%H:%M:%S%.f"
"""Timestamps in CSV, with a fraction of a second only where there is one."""

_TASKS = {"forecast": ("noria.tasks.forecast", "Forecaster")}

app = App(
    name="noria",
    help="Recurrent neural networks: train one, ask it, stream it.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.meta.suppress_keyboard_interrupt = False
fit_app = App(name="fit", help="Train a model on your data.")
app.command(fit_app)

Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
Output = Annotated[Path, Parameter(name=["--output", "-o"])]
MaybeOutput = Annotated[Path | None, Parameter(name=["--output", "-o"])]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Names = Annotated[list[str] | None, Parameter(negative="")]
Level = Annotated[list[str] | None, Parameter(negative="--no-level")]
Season = Annotated[list[str] | None, Parameter(negative="--no-season")]
Baselines = Annotated[list[str] | None, Parameter(negative="--no-baselines")]


@app.meta.default
def _with_config(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Path | None = None,
) -> None:
    """Run a command, its flags from a file where the command line leaves them out.

    Parameters
    ----------
    config
        TOML file; a table such as [fit.forecast] holds the flags of that command.
    """
    if config is not None:
        _check_config(config)
    app.config = () if config is None else (Toml(config, must_exist=True),)
    app(tokens, exit_on_error=False, print_error=False)


@fit_app.command
def forecast(
    data: Path,
    /,
    *,
    output: Output,
    horizon: int = 24,
    time: str = "ds",
    target: str = "y",
    id: str | None = None,  # noqa: A002
    past: Names = None,
    future: Names = None,
    static: Names = None,
    freq: str | None = None,
    level: Level = None,
    season: Season = None,
    cell: str = "lstm",
    hidden_size: int = 64,
    num_layers: int = 1,
    feedback: str = "direct+lateral",
    context_length: int | None = None,
    truncation_length: int = 256,
    dropout: float = 0.2,
    recurrent_dropout: float = 0.2,
    batch_size: int = 32,
    steps: int = 1500,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-2,
    patience: int = 8,
    validation_windows: int | None = None,
    test_windows: int | None = None,
    baselines: Baselines = None,
    seed: int = 0,
    checkpoint_every: int = 100,
    resume: Flag = False,
    log_dir: Path | None = None,
    json: Json = False,
) -> None:
    """Train a forecaster and compare it with its rivals on held-out windows.

    Parameters
    ----------
    data
        CSV or Parquet file, a row for each series and time step.
    output
        Where to write the model file.
    horizon
        Steps to forecast.
    time
        Column of timestamps or step numbers; or several that make one: year,month,day,hour.
    target
        Column to forecast.
    id
        Column that tells series apart; unique_id is taken if it is there.
    past
        Columns known up to now, separated by commas.
    future
        Columns known in advance, separated by commas.
    static
        Columns that are constant in a series, separated by commas.
    freq
        Step of the grid, such as 30m, 1h, 1d, 1mo; found in the data if left out.
    level
        Levels of the intervals in %, separated by commas; 80,95 if left out.
    season
        Season lengths in steps, separated by commas; those of the frequency if left out.
    cell
        lstm, gru, rnn_tanh or rnn_relu.
    hidden_size
        Neurons of a layer.
    num_layers
        Layers.
    feedback
        none, direct, lateral, indirect, full, or a sum of them with +.
    context_length
        Steps of a training stretch; twice the longest season if left out.
    truncation_length
        Steps of back-propagation; a longer stretch is trained piece by piece.
    dropout
        Probability of dropping a neuron's output on its way up.
    recurrent_dropout
        Probability of dropping it on its way back.
    batch_size
        Stretches in a batch.
    steps
        Training steps at the most.
    learning_rate
        Top of the learning rate's schedule.
    weight_decay
        Of AdamW.
    patience
        Validations without a better one before training stops.
    validation_windows
        Horizons kept for validation; a tenth of the data if left out.
    test_windows
        Horizons kept for the comparison; a tenth of the data if left out, 0 for none.
    baselines
        What to compare with, separated by commas: fnn, seasonal_naive, auto_ets.
    seed
        Of everything random.
    checkpoint_every
        Steps between two checkpoints.
    resume
        Go on with a training that was interrupted or killed.
    log_dir
        Folder for TensorBoard's event files.
    json
        Print one JSON object instead of a table.
    """
    _check_output(output, data)
    forecaster = _task("forecast")(
        horizon,
        cell=cell,
        hidden_size=hidden_size,
        num_layers=num_layers,
        feedback=feedback,
        levels=(80, 95) if level is None else _integers("level", level),
        seasons=None if season is None else _integers("season", season),
        context_length=context_length,
        truncation_length=truncation_length,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        batch_size=batch_size,
        steps=steps,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        patience=patience,
        validation_windows=validation_windows,
        test_windows=test_windows,
        **({} if baselines is None else {"baselines": _split(baselines)}),
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    checkpoint = output.with_name(output.name + ".checkpoint")
    if resume and not checkpoint.exists():
        print(f"noria: no checkpoint {checkpoint}; training from the start", file=sys.stderr)
    forecaster.fit(
        data,
        time=time,
        target=target,
        id=id,
        past=_split(past),
        future=_split(future),
        static=_split(static),
        freq=freq,
        checkpoint=checkpoint,
        resume=resume,
        log_dir=log_dir,
        progress=True,
    )
    forecaster.save(output)
    for leftover in (checkpoint, checkpoint.with_name(checkpoint.name + "-fnn")):
        leftover.unlink(missing_ok=True)
    _show_comparison(forecaster.comparison_, json, model=str(output))
    if not json:
        print(f"Model: {output}")


@app.command
def predict(
    model: Path,
    data: Path,
    /,
    *,
    output: MaybeOutput = None,
    horizon: int | None = None,
    level: Level = None,
    json: Json = False,
) -> None:
    """Say what comes next, as CSV, JSON lines or into a file.

    Parameters
    ----------
    model
        Model file.
    data
        The data to go on from, with the columns the model was trained on.
    output
        A .csv or .parquet file to write; standard output if left out.
    horizon
        Steps to forecast; as trained if left out.
    level
        Levels of the intervals in %, separated by commas; as trained if left out.
    json
        Print one JSON object a line.
    """
    if output is not None:
        _check_output(output, model, data)
        if output.suffix not in (".csv", ".parquet"):
            raise UsageError(f"--output {output}: the name must end in .csv or .parquet")
    levels = None if level is None else _integers("level", level)
    frame = _load(model).predict(data, horizon=horizon, levels=levels)
    if output is None:
        sys.stdout.write(frame.write_ndjson() if json else frame.write_csv(datetime_format=_STAMP))
        return
    from noria.runtime.files import replace_file

    table = io.BytesIO()
    if output.suffix == ".parquet":
        frame.write_parquet(table)
    else:
        frame.write_csv(table, datetime_format=_STAMP)
    replace_file(output, table.getvalue())


@app.command
def evaluate(
    model: Path,
    data: Path,
    /,
    *,
    windows: int = 1,
    json: Json = False,
) -> None:
    """Compare a model with its rivals at the end of each series.

    Parameters
    ----------
    model
        Model file.
    data
        History and what came after it, in one file.
    windows
        Horizons to forecast at the end of each series.
    json
        Print one JSON object instead of a table.
    """
    _show_comparison(_load(model).evaluate(data, windows=windows), json, model=str(model))


@app.command
def info(model: Path, /, *, json: Json = False) -> None:
    """Tell what a model file holds.

    Parameters
    ----------
    model
        Model file.
    json
        Print one JSON object.
    """
    from noria.runtime import read_model

    file = read_model(model)
    document = {key: value for key, value in file.document.items() if key != "exhibits"}
    if json:
        print(jsonlib.dumps({"sha256": file.sha256, **document}))
        return
    wiring = file.wiring
    print(f"task         {file.task}")
    for index, layer in enumerate(wiring.layers):
        blocks = [f"{edge.kind} from {edge.source}" for edge in wiring.edges_into(index)]
        fed = ", ".join(blocks) or "no feedback"
        print(f"layer {index}      {layer.cell} {layer.input_size} → {layer.hidden_size}; {fed}")
    print(f"weights      {sum(array.size for array in file.weights.values())}")
    for key, value in document.get("trained_on", {}).items():
        print(f"{key:<12} {value}")
    print(f"sha256       {file.sha256}")


@app.command
def report(model: Path, /, *, output: MaybeOutput = None) -> None:
    """Write a page about a model that opens in any browser, offline.

    Parameters
    ----------
    model
        Model file.
    output
        The .html file to write; beside the model if left out.
    """
    from noria.report import write_report

    page = model.with_suffix(".html") if output is None else output
    _check_output(page, model)
    write_report(model, page)
    print(page)


def _task(name: str) -> Any:
    module, attribute = _TASKS[name]
    return getattr(importlib.import_module(module), attribute)


def _load(model: Path) -> Forecaster:
    """The estimator in a model file, whatever its task."""
    from noria.runtime import read_model

    name = read_model(model).task
    if name not in _TASKS:
        raise ModelFileError(f"{model} is for the task {name!r}, which this Noria does not know")
    loaded: Forecaster = _task(name).load(model)
    return loaded


def _split(values: Iterable[str] | None) -> list[str]:
    return [
        part.strip() for value in values or () for part in str(value).split(",") if part.strip()
    ]


def _integers(name: str, values: Iterable[str]) -> list[int]:
    try:
        return [int(value) for value in _split(values)]
    except ValueError:
        raise UsageError(
            f"--{name} {','.join(values)}: expected whole numbers separated by commas"
        ) from None


def _check_config(config: Path) -> None:
    """Name the file in what is wrong with it."""
    if not config.is_file():
        raise UsageError(f"--config: there is no file {config}")
    try:
        tables = tomllib.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"--config: {config} is not TOML: {error}") from None
    _check_tables(config, tables, app)


def _check_tables(config: Path, tables: dict[str, Any], group: App, prefix: str = "") -> None:
    """Refuse what stands in no command's table: it would be passed over in silence."""
    for key, value in tables.items():
        commands = [name for name in group if not name.startswith("-")]
        if key not in commands or not isinstance(value, dict):
            tables_of = ", ".join(f"[{prefix}{name}]" for name in commands)
            raise UsageError(f"--config: {config} has {prefix}{key!r}; there can be {tables_of}")
        if group[key].default_command is None:
            _check_tables(config, value, group[key], f"{prefix}{key}.")


def _check_output(output: Path, *inputs: Path) -> None:
    """Fail before the work, not after it."""
    if not output.parent.is_dir():
        raise UsageError(f"{output}: there is no folder {output.parent}")
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file")
    if output.exists() and not output.is_file():
        raise UsageError(f"{output} is no ordinary file; it would be replaced")
    if any(output.exists() and file.exists() and output.samefile(file) for file in inputs):
        raise UsageError(f"{output} is what is read; give --output another name")
    if not os.access(output.parent, os.W_OK):
        raise UsageError(f"{output}: the folder {output.parent} cannot be written to")


def _show_comparison(comparison: Comparison | None, json: bool, **about: str) -> None:
    if json:
        scores = comparison.scores if comparison else ()
        print(
            jsonlib.dumps(
                {
                    **about,
                    "metrics": scores[0].metrics() if scores else {},
                    "baselines": {score.model: score.metrics() for score in scores[1:]},
                    "comparison": comparison and comparison.to_dict(),
                }
            )
        )
        return
    if comparison is None:
        print("No windows were held out, so there is no comparison.")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{comparison.windows} held-out windows of {comparison.horizon} steps,"
        f" {comparison.series} series",
        title_justify="left",
    )
    levels = list(comparison.scores[0].coverage)
    headings = ["MAE", "MASE", "sMAPE %", "CRPS", *(f"in {level}%" for level in levels)]
    table.add_column("model")
    for heading in [*headings, "parameters", "seconds"]:
        table.add_column(heading, justify="right")
    for score in comparison.scores:
        figures = [score.mae, score.mase, score.smape, score.crps]
        table.add_row(
            score.model,
            *(f"{value:.4g}" for value in figures),
            *(f"{100 * score.coverage[level]:.1f}" for level in levels),
            "" if score.parameters is None else str(score.parameters),
            f"{score.seconds:.1f}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for note in comparison.notes:
        print(note)
    print(comparison.verdict())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    Args:
        arguments: Instead of those of the process.
    """
    tokens = sys.argv[1:] if arguments is None else arguments
    # on cores shared with others, threads that spin while they wait cost torch most of its speed
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app.meta(tokens, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CycloptsError as error:
        _leave(UsageError(f"{_one_line(error)} (see noria --help)"))
    except NoriaError as error:
        _leave(error)
    except MemoryError:
        _leave(_OUT_OF_MEMORY)
    except KeyboardInterrupt:
        goes_on = "; the same command with --resume goes on" if "fit" in tokens else ""
        print(f"\nnoria: interrupted{goes_on}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        _drop_output()  # whoever read it has had enough
        sys.exit(0)
    except OSError as error:
        if error.filename is None:
            _drop_output()
        _leave(ResourceError(f"{error.filename or 'standard output'}: {error.strerror or error}"))
    except Exception as error:
        # torch has no error of its own for this
        if "can't allocate memory" in str(error):
            _leave(_OUT_OF_MEMORY)
        if os.environ.get("NORIA_DEBUG"):
            raise
        print(
            f"noria: internal error: {type(error).__name__}: {_one_line(error)}"
            " (NORIA_DEBUG=1 shows where; please report it)",
            file=sys.stderr,
        )
        sys.exit(1)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _drop_output() -> None:
    """Keep Python from trying once more, and complaining, at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(error: NoriaError) -> NoReturn:
    print(f"noria: {_one_line(error)}", file=sys.stderr)
    sys.exit(error.exit_code)
