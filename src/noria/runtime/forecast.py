"""A forecaster as a stream: rows of a series in, forecasts of a whole horizon out.

The answer to each row is what `Forecaster.predict` says of all rows so far, to the bit.

Letters: K horizon, Q quantiles, F values known in advance, n steps, R forecasts, W steps of a
window.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.errors import DataError, ModelFileError, UsageError
from noria.features.calendar import calendar_features
from noria.features.events import EventReader
from noria.features.panel import CovariateScaler
from noria.features.running import Lookup, Past, Stretch, Window, observe, plain_forecasts
from noria.features.series import Columns, Frequency
from noria.runtime.distribution import Distribution
from noria.runtime.forecast_rows import ForecastMemory, RowReader, Rows
from noria.runtime.horizon import HorizonWeights, average, horizon_numbers, in_units
from noria.runtime.model_file import ModelFile
from noria.runtime.stepper import EnsembleStepper, NetworkStepper

__all__ = ["ForecastStream"]

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class _Reading:
    """Rows of one series, ready for network and head.

    Attributes:
        x: Inputs, shape (n, D); none where the network starts afresh at every forecast.
        now: Inputs of each observed row, shape (rows, D).
        rows: The rows.
        known: Known in advance of the K steps after each observed row, (rows, K, F).
        stretch: Of the target; None where there is no step.
        memory: Before these rows.
    """

    x: NDArray[Any]
    now: NDArray[Any]
    rows: Rows
    known: NDArray[Any]
    stretch: Stretch | None
    memory: ForecastMemory

    @property
    def last(self) -> NDArray[np.int64]:
        """Each row's step within x."""
        return np.minimum(self.rows.last, len(self.x) - 1)


class ForecastStream:
    """Events are rows of the table that the model was fitted on; answers are forecasts.

    Args:
        model: A model file that `noria.Forecaster.save` wrote.
    """

    def __init__(self, model: ModelFile, *, int8: bool = False) -> None:
        document = model.document
        part = document["parts"]["network"]
        settings = document["settings"]
        found = {name.split(".")[1] for name in model.weights if name.startswith("network.")}
        if part["members"] != len(found):
            raise ModelFileError("the model file is damaged: it has not as many members as it says")
        members = [_below(f"network.{n}.", model.weights) for n in range(len(found))]
        self.stepper = EnsembleStepper(
            [NetworkStepper(model.wiring, _below("network.", own), int8=int8) for own in members]
        )
        self._heads = [HorizonWeights.from_names(_below("head.", own)) for own in members]
        self._window = part["window"] and Window(**part["window"])
        self._horizon: int = part["horizon"]
        self._seasons = tuple(document["seasons"])
        self._levels = tuple(document["levels"])
        self._wanted = tuple(sorted(set(settings["levels"])))
        lower = [(100 - level) / 200 for level in reversed(self._levels)]
        self._distribution = Distribution(
            part["distribution"], (*lower, 0.5, *(1 - q for q in reversed(lower)))
        )
        self._factors = np.array(part["factors"], np.float64)
        self._scaler = CovariateScaler(
            np.array(document["scaler"]["mean"], np.float64),
            np.array(document["scaler"]["deviation"], np.float64),
        )
        try:
            self._columns = columns = Columns(**document["columns"])
            self._freq: str = document["freq"]
            self._frequency = Frequency.parse(self._freq)
            integer = self._frequency.unit == ""
            one = np.zeros(1, np.int64 if integer else "M8[us]")
            names, _ = calendar_features(one, self._freq)
        except UsageError as error:
            raise ModelFileError(f"the model file is damaged: {error}") from error
        self._calendar = [names.index(name) for name in document["calendar"]]
        self._events = EventReader(columns, document["categories"], integer_time=integer)
        self._sizes = tuple(
            self._events.width(group) for group in (columns.past, columns.future, columns.static)
        )
        self._known_size = len(self._calendar) + self._sizes[1]
        self._rows = RowReader(self._events, self._frequency, self._horizon)
        if not self._consistent():
            raise ModelFileError("the model file is damaged: its parts do not fit together")
        self._nothing = ForecastMemory(
            start=None,
            on_day=True,
            on_end=self._frequency.unit == "mo",
            past=Past.empty(self._seasons),
            static=np.full(self._sizes[2], np.nan),
            known=np.full((self._horizon, self._sizes[1]), np.nan),
            origin=0,
            quantiles=np.zeros((self._horizon, 2 * len(self._levels) + 1)),
            window=np.zeros(0),
        )

    def _consistent(self) -> bool:
        past, _, static = self._sizes
        wiring, seasons, levels = self.stepper.wiring, self._seasons, self._levels
        window = self._window
        segment = window.segment if window else 0
        lengths = (window.length, window.segment) if window else (1, 1)
        numbers = (self._horizon, *seasons, *levels, *self._wanted, *lengths)
        texts = [self._columns.time, self._columns.target, *self._columns.covariates]
        texts += chain.from_iterable(self._events.categories.values())
        return (
            all(
                isinstance(text, str)
                for text in (*texts, *sum(self._events.categories.values(), ()))
            )
            and all(type(number) is int and 0 < number < 2**31 for number in numbers)
            and list(seasons) == sorted(set(seasons))
            and set(self._wanted) <= set(levels)
            and self._scaler.mean.shape == self._scaler.deviation.shape == (sum(self._sizes),)
            and self._factors.shape == (self._horizon, len(levels))
            and lengths[0] % lengths[1] == 0
            and wiring.input_size
            == segment + 3 + 2 * len(seasons) + past + static + self._known_size
            and all(
                head.code.dtype == self.stepper.dtype
                and head.fits(
                    wiring.output_size,
                    self._horizon,
                    self._known_size,
                    2 + 3 * len(seasons),
                    self._distribution.size,
                )
                for head in self._heads
            )
        )

    def start(self) -> ForecastMemory:
        """Before the first row."""
        return self._nothing

    def read(self, memory: ForecastMemory, events: Sequence[Any]) -> _Reading:
        """Rows as the network's inputs.

        Raises:
            DataError: see `RowReader.read`; and if a difference of targets overflows.
        """
        rows = self._rows.read(memory, events)
        dtype, steps = self.stepper.dtype, len(rows.y)
        if rows.start is None or not steps:
            nothing = np.empty((0, self.stepper.wiring.input_size), dtype)
            return _Reading(nothing, nothing, rows, np.empty(0), None, memory)
        upcoming = memory.past.steps + 1 + np.arange(steps + self._horizon)
        stamps = self._rows.stamps(rows.start, upcoming, rows.on_end)
        calendar = calendar_features(stamps, self._freq)[1][:, self._calendar]
        past, future, _ = self._sizes
        with np.errstate(all="ignore"):
            stretch = observe(memory.past, np.array(rows.y), self._seasons)
            static = self._scale(rows.static[None], past + future)
            columns: list[NDArray[Any]] = [
                stretch.inputs,
                self._scale(np.stack(rows.past), 0),
                np.broadcast_to(static, (steps, static.shape[1])),
                calendar[:steps],
                self._scale(np.stack(rows.next), past),
            ]
            x = np.concatenate(columns, axis=1).astype(dtype)
            known = np.empty((len(rows.observed), self._horizon, self._known_size), dtype)
            for index, (row, given) in enumerate(zip(rows.observed, rows.ahead, strict=True)):
                here = rows.last[row]
                known[index, :, : len(self._calendar)] = calendar[here : here + self._horizon]
                known[index, :, len(self._calendar) :] = self._scale(given, past)
        if not all(np.isfinite(part).all() for part in (x, known, stretch.level, stretch.scale)):
            raise DataError("a number is so large that differences overflow; correct it")
        now = x[np.array(rows.last)[rows.observed]]
        if self._window:
            x = np.empty((0, self.stepper.wiring.input_size), dtype)
        return _Reading(x, now, rows, known, stretch, memory)

    def _scale(self, rows: Floats, first: int) -> Floats:
        """Covariates standardised; the first of them is so manieth of all."""
        end = first + rows.shape[1]
        part = CovariateScaler(self._scaler.mean[first:end], self._scaler.deviation[first:end])
        return part(rows)

    def answer(
        self, readings: Sequence[_Reading], outputs: Sequence[NDArray[Any]]
    ) -> list[tuple[ForecastMemory, list[Any]] | DataError]:
        """The forecast from each row; a row whose target is missing leaves the last one standing.

        Before the first observed target the answer's lists are empty.
        """
        forecasts = self._forecasts(readings, outputs)
        return [
            self._answers(reading, own) for reading, own in zip(readings, forecasts, strict=True)
        ]

    def _forecasts(
        self, readings: Sequence[_Reading], outputs: Sequence[NDArray[Any]]
    ) -> list[Floats]:
        """Calibrated quantiles from the observed rows of each stream, (rows, K, Q) each."""
        counts = [len(reading.rows.observed) for reading in readings]
        live = [(r, o) for r, o in zip(readings, outputs, strict=True) if r.rows.observed]
        if not live:
            return [np.empty((0, 0, 0))] * len(readings)
        stretches = [reading.stretch for reading, _ in live if reading.stretch is not None]
        owner = np.repeat(np.arange(len(live)), [count for count in counts if count])
        steps = [np.array(reading.rows.last)[reading.rows.observed] for reading, _ in live]
        before = [reading.memory.past for reading, _ in live]
        first: NDArray[np.int64] = np.array([past.steps for past in before])
        last, level, scale = (
            np.concatenate(
                [getattr(stretch, name)[own] for stretch, own in zip(stretches, steps, strict=True)]
            )
            for name in ("last", "level", "scale")
        )

        def lookup(values: list[Floats], remembered: list[int]) -> Lookup:
            begins: NDArray[np.int64] = np.cumsum([0, *(len(part) for part in values[:-1])])
            earliest = first - np.array(remembered)
            return Lookup(np.concatenate(values), (begins - earliest)[owner], earliest[owner])

        t = first[owner] + np.concatenate(steps)
        candidates = plain_forecasts(
            t,
            self._horizon,
            self._seasons,
            last,
            level,
            scale,
            lookup([s.levels for s in stretches], [len(past.level) for past in before]),
            [
                lookup([s.filled[i] for s in stretches], [len(past.filled[i]) for past in before])
                for i in range(len(self._seasons))
            ],
        )
        with np.errstate(all="ignore"):
            if self._window:
                held = [reading.memory.window for reading, _ in live]
                recent = [
                    np.concatenate([values, stretch.last])
                    for values, stretch in zip(held, stretches, strict=True)
                ]
                latest = lookup(recent, [len(values) for values in held])
                now = np.concatenate([reading.now for reading, _ in live])
                seen = self._window.inputs(t, latest, level, scale, now).astype(self.stepper.dtype)
                hidden = self.stepper.scan(seen, self.stepper.zero_state(len(seen)))[0][:, -1]
            else:
                hidden = np.concatenate([output[reading.rows.observed] for reading, output in live])
            candidates = candidates.astype(self.stepper.dtype)
            known = np.concatenate([reading.known for reading, _ in live])
            level, scale = level[:, None, None], scale[:, None, None]
            scaled = []
            for head, own in zip(
                self._heads, np.split(hidden, len(self._heads), axis=1), strict=True
            ):
                numbers = horizon_numbers(head, own, candidates, known, self._distribution.moved)
                scaled.append(self._distribution.quantiles(numbers, level, scale))
            whole = self._distribution.counts
            quantiles = in_units(average(scaled), self._factors, level, scale, whole=whole)
        return np.split(quantiles, np.cumsum(counts)[:-1])

    def _answers(
        self, reading: _Reading, quantiles: Floats
    ) -> tuple[ForecastMemory, list[Any]] | DataError:
        if not np.isfinite(quantiles).all():
            return DataError("a number is so large that the forecast overflows; correct it")
        rows, memory = reading.rows, reading.memory
        fresh = dict(zip(rows.observed, quantiles, strict=True))
        origin, latest = memory.origin, memory.quantiles
        answers = []
        for row, (step, month_end) in enumerate(zip(rows.last, rows.month_end, strict=True)):
            if row in fresh:
                origin, latest = memory.past.steps + step, fresh[row]
            known = rows.start if step >= 0 else memory.start
            answers.append(self._answer(known, origin, latest, month_end))
        after = ForecastMemory(
            start=rows.start,
            on_day=rows.on_day,
            on_end=rows.on_end,
            past=memory.past if reading.stretch is None else reading.stretch.past,
            static=rows.static,
            known=rows.known,
            origin=origin,
            quantiles=latest.copy(),
            window=memory.window,
        )
        if self._window and reading.stretch is not None:
            recent = np.concatenate([memory.window, reading.stretch.last])
            after = dataclasses.replace(after, window=recent[-self._window.length :].copy())
        return after, answers

    def _answer(
        self, start: int | None, origin: int, quantiles: Floats, month_end: bool
    ) -> dict[str, list[Any]]:
        if start is None:
            return {name: [] for name in self._answer_names()}
        stamps = self._rows.stamps(start, origin + 1 + np.arange(self._horizon), month_end)
        middle = len(self._levels)
        columns = [self._rows.texts(stamps), quantiles[:, middle].tolist()]
        for level in self._wanted:
            apart = 1 + self._levels.index(level)
            columns += [quantiles[:, middle + side * apart].tolist() for side in (-1, 1)]
        return dict(zip(self._answer_names(), columns, strict=True))

    def _answer_names(self) -> list[str]:
        """The answer's fields, as `Forecaster.predict` names its columns."""
        stamp = "ds" if "," in self._columns.time else self._columns.time
        ends = [f"{end}-{level}" for level in self._wanted for end in ("lo", "hi")]
        return [stamp, "forecast", *ends]

    def memory_to_bytes(self, memory: ForecastMemory) -> bytes:
        """The memory as bytes."""
        return memory.to_bytes()

    def memory_from_bytes(self, data: bytes) -> ForecastMemory:
        """The memory back.

        Raises:
            StateError: if the bytes are no memory of this model.
        """
        length = self._window.length if self._window else 0
        return self._nothing.from_bytes(data, self._seasons, length)

    def describe(self) -> dict[str, Any]:
        """JSON schemas of an event and an answer."""
        columns = self._columns
        number = {"type": ["number", "null"]}
        stamp = {"type": "integer"} if self._frequency.unit == "" else {"type": "string"}
        times = [columns.time] if "," not in columns.time else columns.time.split(",")

        def covariates(names: Sequence[str]) -> dict[str, Any]:
            return {
                name: {"enum": [*self._events.categories[name], None]}
                if name in self._events.categories
                else number
                for name in names
            }

        event: dict[str, Any] = {name.strip(): stamp for name in times}
        event[columns.target] = number
        event |= covariates((*columns.past, *columns.static))
        if columns.future:
            row = covariates(columns.future)
            event["future"] = {
                "type": "array",
                "minItems": self._horizon,
                "items": {"type": "object", "required": list(row), "properties": row},
            }
        name, *others = self._answer_names()
        answer = {name: stamp} | {key: {"type": "number"} for key in others}
        return {
            "event": {"type": "object", "required": list(event), "properties": event},
            "answer": {
                "type": "object",
                "required": list(answer),
                "properties": {
                    name: {
                        "type": "array",
                        "items": items,
                        "maxItems": self._horizon,
                    }
                    for name, items in answer.items()
                },
            },
        }


def _below(prefix: str, weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The weights whose names begin so, without that beginning."""
    return {
        name.removeprefix(prefix): array
        for name, array in weights.items()
        if name.startswith(prefix)
    }
