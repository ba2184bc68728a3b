"""The command line: parse, call a task, print.

Nothing slow is imported here at the top: `noria --help` answers at once, without torch.
"""

from __future__ import annotations

import functools
import io
import json as jsonlib
import os
import sys
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args

from cyclopts import App, ArgumentCollection, CoercionError, CycloptsError, Parameter
from cyclopts.config import Toml

from noria import __version__
from noria.cli.arguments import Flag, Json, Level, MaybeOutput, check_output, integers
from noria.cli.fit_classify import classify
from noria.cli.fit_detect import detect
from noria.cli.fit_forecast import forecast
from noria.cli.fit_language import language
from noria.cli.fit_regress import regress
from noria.cli.fit_tag import tag
from noria.cli.fit_translate import translate
from noria.cli.generate import generate
from noria.cli.models import ask, load_model, set_search
from noria.cli.serve import serve
from noria.cli.stream import stream
from noria.cli.tables import show_comparison
from noria.errors import NoriaError, ResourceError, UsageError

__all__ = ["app", "main"]

_OUT_OF_MEMORY = ResourceError("out of memory: take a smaller batch, network or file")

_HERE = Path(__file__).parents[1]

_STAMP = "%Y-%m-%dT%H:%M:%S%.f"
"""Timestamps in CSV, with a fraction of a second only where there is one."""

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
fit_app.command(forecast)
fit_app.command(classify)
fit_app.command(regress)
fit_app.command(tag)
fit_app.command(language)
fit_app.command(translate)
app.command(generate)
fit_app.command(detect)
app.command(stream)
app.command(serve)


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
    tables = () if config is None else (Toml(config, must_exist=True),)
    app.config = (*tables, _refuse_fractions)
    app(tokens, exit_on_error=False, print_error=False)


@app.command
def predict(
    model: Path,
    data: Path,
    /,
    *,
    output: MaybeOutput = None,
    horizon: int | None = None,
    level: Level = None,
    n_best: int | None = None,
    explain: Flag = False,
    encoding: str | None = None,
    beam_size: int | None = None,
    length_penalty: float | None = None,
    json: Json = False,
) -> None:
    """Say what comes next, of which class it is, which tags, what is not normal, the translation.

    Parameters
    ----------
    model
        Model file.
    data
        The data to go on from, to classify, tag or watch, with the columns the model was trained
        on; or text to translate, a sentence a line.
    output
        A .csv or .parquet file to write; standard output if left out.
    horizon
        Steps to forecast; as trained if left out. Of a forecaster alone.
    level
        Levels of the intervals in %, separated by commas; as trained if left out. Of a forecaster
        alone.
    n_best
        Translations of each sentence, the best first. Of a translator alone.
    explain
        Tell which words decided. Of a classifier of texts alone.
    encoding
        Of a file of text, where it is not that of the training's.
    beam_size
        Translations kept open; as trained if left out. Of a translator alone.
    length_penalty
        Power of the length that scores are divided by; as trained if left out. Of a translator
        alone.
    json
        Print one JSON object a line.
    """
    if output is not None:
        check_output(output, model, data)
        if output.suffix not in (".csv", ".parquet"):
            raise UsageError(f"--output {output}: the name must end in .csv or .parquet")
    levels = None if level is None else integers("level", level)
    task, estimator = load_model(model)
    set_search(task, estimator, beam_size=beam_size, length_penalty=length_penalty)
    # where scikit-learn wants an array of predict, predict_frame gives the table
    names = [name for name in ("predict_frame", "predict") if hasattr(estimator, name)]
    if not names:
        raise UsageError(f"a model for {task} does not predict: noria generate writes with it")
    frame = ask(
        task,
        getattr(estimator, names[0]),
        data,
        horizon=horizon,
        levels=levels,
        n_best=n_best,
        explain=explain or None,
        encoding=encoding,
    )
    zoned = any(getattr(dtype, "time_zone", None) for dtype in frame.schema.values())
    stamp = _STAMP + "%:z" if zoned else _STAMP
    if output is None:
        sys.stdout.write(frame.write_ndjson() if json else frame.write_csv(datetime_format=stamp))
        return
    from noria.runtime.files import replace_file

    table = io.BytesIO()
    if output.suffix == ".parquet":
        frame.write_parquet(table)
    else:
        frame.write_csv(table, datetime_format=stamp)
    replace_file(output, table.getvalue())


@app.command
def evaluate(
    model: Path,
    data: Path,
    /,
    *,
    windows: str | None = None,
    label: str | None = None,
    adapt: Flag = False,
    reference: Path | None = None,
    encoding: str | None = None,
    beam_size: int | None = None,
    length_penalty: float | None = None,
    json: Json = False,
) -> None:
    """Compare a model with its rivals on data that tells what was right.

    Parameters
    ----------
    model
        Model file.
    data
        History and what came after it in one file, labelled cases, events, text, or pairs of texts.
    windows
        Of a forecaster, horizons to forecast at the end of each series; 1 if left out. Of a
        detector, a JSON file of the first and last time of each anomaly.
    label
        Column that is 1 at anomalies. Of a detector alone.
    adapt
        Also let the network go on learning as it reads. Of a language model alone.
    reference
        Right translations, line by line, where the data does not hold both. Of a translator alone.
    encoding
        Of a file of text, where it is not that of the training's.
    beam_size
        Translations kept open; as trained if left out. Of a translator alone.
    length_penalty
        Power of the length that scores are divided by; as trained if left out. Of a translator
        alone.
    json
        Print one JSON object instead of a table.
    """
    task, estimator = load_model(model)
    set_search(task, estimator, beam_size=beam_size, length_penalty=length_penalty)
    given: Any = windows
    if windows is not None and task == "forecast":
        if len(counts := integers("windows", [windows])) != 1:
            raise UsageError(f"--windows {windows}: expected one number of horizons")
        (given,) = counts
    comparison = ask(
        task,
        estimator.evaluate,
        data,
        windows=given,
        label=label,
        adapt=adapt or None,
        reference=reference,
        encoding=encoding,
    )
    show_comparison(comparison, json, model=str(model))


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
    long = ("exhibits", "tokenizer", "encoder", "trained_until")
    document = {key: value for key, value in file.document.items() if key not in long}
    if json:
        print(jsonlib.dumps({"sha256": file.sha256, **document}))
        return
    wiring = file.wiring
    print(f"task         {file.task}")
    for index, layer in enumerate(wiring.layers):
        blocks = [f"{edge.kind} from {edge.source}" for edge in wiring.edges_into(index)]
        fed = ", ".join(blocks) or "no feedback"
        cell = f"{layer.cell}, normalised," if layer.normalised else layer.cell
        print(f"layer {index}      {cell} {layer.input_size} → {layer.hidden_size}; {fed}")
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
    check_output(page, model)
    write_report(model, page)
    print(page)


def _refuse_fractions(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse 2.5, and with it 2.0, where a whole number is asked for: cyclopts would round it."""
    for argument in arguments:
        if int in (argument.hint, *get_args(argument.hint)):
            for token in argument.tokens:
                if "." in token.value:
                    raise CoercionError(argument=argument, token=token, target_type=int)


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


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    Args:
        arguments: Instead of those of the process.
    """
    tokens = sys.argv[1:] if arguments is None else arguments
    # on cores shared with others, threads that spin while they wait cost torch most of its speed
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
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
    except UnicodeEncodeError as error:
        _drop_output()
        lacking = error.object[error.start]
        _leave(
            UsageError(
                f"standard output is in {error.encoding}, which lacks {lacking!a}:"
                " PYTHONIOENCODING=utf-8 changes that, --output where there is one writes a file"
            )
        )
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


def _show_warning(
    otherwise: Callable[..., None], message: Warning | str, category: type[Warning], *rest: Any
) -> None:
    """One line on standard error for what Noria warns of; others' warnings as they are."""
    if issubclass(category, RuntimeWarning) and Path(rest[0]).is_relative_to(_HERE):
        print(f"noria: warning: {message}", file=sys.stderr)
    else:
        otherwise(message, category, *rest)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _drop_output() -> None:
    """Keep Python from trying once more, and complaining, at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(error: NoriaError) -> NoReturn:
    print(f"noria: {_one_line(error)}", file=sys.stderr)
    sys.exit(error.exit_code)
