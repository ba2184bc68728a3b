"""Anomaly detection on a stream: what is not as it was, while it happens.

Features: each channel in units of its deviation, which values are missing, the clock. Network:
any wiring; it expects the next value of every channel and says how exactly. Errors in units of
that exactness become alarms by the law of their largest values, which goes on adapting. Learned
from unlabelled events alone. Rivals: a feed-forward network of as many weights on a fixed window,
the value before, the moving z-score.
"""

from __future__ import annotations

import dataclasses
import functools
import time as clock
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from noria.cells import make_cell
from noria.errors import DataError, UsageError
from noria.features.anomalies import read_windows, windows_of
from noria.features.channels import ChannelTable, read_channels, require_observed
from noria.features.frames import frame_like
from noria.feedback import Feedback, remembers
from noria.runtime import ModelFile, Session
from noria.runtime.alarms import Alarms
from noria.runtime.expectation import WARM_UP, Channels, Grid
from noria.runtime.judge import Expectations, Judge
from noria.tasks.estimator import (
    check_at_least_one,
    check_baselines,
    check_fitted,
    check_training,
    reading,
    settings,
    write_parts,
)
from noria.training.detecting import (
    DetectRecipe,
    TrainedDetector,
    feed_forward_wiring,
    network_wiring,
    train_detector,
)
from noria.training.detection_rivals import BASELINES, plain_expectation
from noria.training.detection_scores import DetectionComparison, Judged, judged, score
from noria.training.loop import TrainingConfig

__all__ = ["AnomalyDetector"]

Floats = NDArray[np.float64]
Expect = Callable[[Grid], Expectations]

_RESULTS = ("score", "alarm", "channel")
"""Columns of the results besides the time."""

_LEAST_EVENTS = 64
_QUIET = 256
_RIVAL_WINDOW = 16
_EXHIBITED = 600


class AnomalyDetector(BaseEstimator):  # type: ignore[misc]
    """Detects anomalies in one stream of events with one or several channels.

    Args:
        cell: "lstm", "gru", "rnn_tanh", "rnn_relu" or another of `noria.cells`, as "slstm".
        hidden_size: Neurons of a layer.
        num_layers: Layers.
        feedback: Which neurons feed which; see `noria.wiring.Wiring.build`.
        false_alarm_rate: Share of normal events that may raise an alarm; a third to one and a
            half times that was seen on made streams of known laws.
        quiet: Events after an alarm within which only a much rarer one of that channel alarms
            again; None takes half of the events learned from, at most 256.
        context_length: Steps of a training stretch.
        dropout: Probability of dropping a neuron's output on its way up.
        recurrent_dropout: Probability of dropping it on its way back.
        batch_size: Stretches in a batch.
        steps: Training steps at the most.
        learning_rate: Top of the schedule.
        weight_decay: Of AdamW.
        patience: Validations without a better one before training stops.
        validation_share: Share of the events learned from that is kept for validation.
        test_share: Share of the events, the last ones, kept for the comparison; 0 for none.
        baselines: What to compare with: "fnn", "last_value", "moving_z_score".
        checkpoint_every: Training steps between two checkpoints.
        seed: Of everything random.

    Attributes:
        network_: The trained recurrent network.
        fnn_: The feed-forward rival, or None.
        channels_: Names, scales and calendar of the channels.
        alarms_: How errors become scores.
        threshold_: Score from which an event alarms.
        comparison_: The table on the held-out events, or None.
        history_: The course of the training.

    >>> AnomalyDetector(hidden_size=16).get_params()["false_alarm_rate"]
    0.001
    """

    def __init__(
        self,
        *,
        cell: str = "lstm",
        hidden_size: int = 32,
        num_layers: int = 1,
        feedback: Feedback = "direct+lateral",
        false_alarm_rate: float = 1e-3,
        quiet: int | None = None,
        context_length: int = 128,
        dropout: float = 0.1,
        recurrent_dropout: float = 0.0,
        batch_size: int = 16,
        steps: int = 400,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        patience: int = 8,
        validation_share: float = 0.15,
        test_share: float = 0.1,
        baselines: Sequence[str] = BASELINES,
        checkpoint_every: int = 200,
        seed: int = 0,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.feedback = feedback
        self.false_alarm_rate = false_alarm_rate
        self.quiet = quiet
        self.context_length = context_length
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.batch_size = batch_size
        self.steps = steps
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.validation_share = validation_share
        self.test_share = test_share
        self.baselines = baselines
        self.checkpoint_every = checkpoint_every
        self.seed = seed

    def fit(
        self,
        data: Any,
        *,
        time: str = "timestamp",
        value: Sequence[str] = ("value",),
        checkpoint: Path | None = None,
        resume: bool = False,
        log_dir: Path | None = None,
        progress: bool = False,
    ) -> Self:
        """Learn from unlabelled events what is normal.

        Args:
            data: Path of a CSV or Parquet file, or a dataframe; a row an event. A few anomalies
                among them do no harm.
            time: Column of timestamps or step numbers; equal distances are not needed.
            value: Columns of the channels.
            checkpoint: Where to keep the state of the training; None for none. That of the
                feed-forward rival stands beside it. They are left for the caller to delete.
            resume: Go on from the checkpoint, if there is one.
            log_dir: Folder for TensorBoard's event files.
            progress: Draw a bar on standard error where that is a terminal.

        Returns:
            This detector, fitted.

        Raises:
            DataError: if the data is not what it should be.
            UsageError: if the arguments cannot be meant.
        """
        self._check_arguments()
        for name in (time, *value):
            if name in _RESULTS:
                raise UsageError(f"column {name!r} has the name of a result; rename it")
        table = read_channels(data, time=time, value=value)
        learned = table.first(len(table) - int(self.test_share * len(table)))
        if len(learned) < _LEAST_EVENTS:
            raise DataError(
                f"{table.name}: holds {len(learned)} events to learn from; at least"
                f" {_LEAST_EVENTS} are needed"
            )
        require_observed(learned)
        self.time_, self.dates_ = time, table.times.dtype.kind == "M"
        self.channels_ = Channels.fit(learned.names, learned.times, learned.values)
        self.alarms_ = self._make_alarms(len(learned))
        self.threshold_ = self.alarms_.threshold
        self.trained_on_: dict[str, Any] = {
            "events": len(table),
            "learned_from": len(learned),
            "held_out": len(table) - len(learned),
            "data_sha256": table.sha256(),
        }
        grid = self._grid(learned)
        validated_from = int((1 - self.validation_share) * len(learned))
        shared = {
            "channels": self.channels_,
            "grid": grid,
            "train_end": int(grid.own[validated_from]),
            "recipe": self._recipe(),
            "trained_on": self.trained_on_["data_sha256"],
            "resume": resume,
            "progress": progress,
        }
        cells = [make_cell(self.cell, self.hidden_size)] * self.num_layers
        wiring = network_wiring(self.channels_, cells, self.feedback)
        files = [None] * 2 if checkpoint is None else self.checkpoints(checkpoint)
        self.network_ = train_detector(
            wiring, **shared, title="network", checkpoint=files[0], log_dir=log_dir
        )
        self.history_ = self.network_.history
        self.fnn_: TrainedDetector | None = None
        if "fnn" in self.baselines:
            self.fnn_ = train_detector(
                feed_forward_wiring(
                    self.channels_, self.num_layers, _RIVAL_WINDOW, wiring.parameter_count()
                ),
                **shared,
                title="fnn",
                window=_RIVAL_WINDOW,
                checkpoint=files[1],
                log_dir=log_dir and log_dir / "fnn",
            )
        self.normal_ = {
            name: self._judge(name).learn(expect(grid)).to_numbers()
            for name, expect in self._models().items()
        }
        self.comparison_: DetectionComparison | None = None
        if len(learned) < len(table):
            self.comparison_ = self._compare(table, None, len(learned))
        self.exhibit_ = self._exhibit(table)
        return self

    def checkpoints(self, checkpoint: Path) -> list[Path]:
        """The files that `fit` may leave: the network's and its rival's."""
        return [checkpoint, checkpoint.with_name(checkpoint.name + "-fnn")]

    def score_samples(self, data: Any) -> Floats:
        """The score of each event, shape (T,): 1 − s is the share of normal blocks as high."""
        return np.array([answer["score"] for answer in self._answers(self._read(data))])

    def predict(self, data: Any) -> NDArray[np.bool_]:
        """Whether each event alarms, shape (T,)."""
        return np.array([answer["alarm"] for answer in self._answers(self._read(data))])

    def predict_frame(self, data: Any) -> Any:
        """Judge events as a stream would, from its beginning.

        Args:
            data: As in `fit`, with the same columns.

        Returns:
            A dataframe of the kind given (polars for a path): the time, `score` in [0, 1],
            `alarm`, and `channel`, the one to blame for the score.

        Raises:
            DataError: if the data is not what it should be.
        """
        table = self._read(data)
        answers = self._answers(table)
        columns = {name: [answer[name] for answer in answers] for name in _RESULTS}
        return frame_like(data, {self.time_: table.times, **columns})

    def evaluate(
        self,
        data: Any,
        *,
        label: str | None = None,
        windows: Sequence[Sequence[Any]] | Path | str | None = None,
    ) -> DetectionComparison:
        """Compare with the rivals; nothing is trained.

        Args:
            data: As in `fit`.
            label: Column that is 1 at anomalies; neighbouring ones are one anomaly.
            windows: First and last time of each anomaly; or a JSON file of such pairs, or of an
                object that gives them by the name of the data's file. Without label and windows
                every alarm counts as a false one.

        Returns:
            The table.

        Raises:
            DataError: if the data or the windows are not what they should be.
            UsageError: if both label and windows are given.
        """
        if label is not None and windows is not None:
            raise UsageError("give label or windows, not both")
        table = self._read(data, label)
        found = None
        if table.labels is not None:
            found = windows_of(table.labels)
        elif windows is not None:
            found = read_windows(windows, table)
        return self._compare(table, found, 0)

    def judged(self, data: Any) -> list[Judged]:
        """What each model of the table says of every event, the network first.

        Args:
            data: As in `fit`.

        Raises:
            DataError: if the data is not what it should be.
        """
        return self._judged(self._read(data), 0)

    def save(self, path: Path | str) -> None:
        """Write the model file.

        Raises:
            ResourceError: if the disk does not take it.
        """
        check_fitted(self)
        document = {
            **self._stream_document(),
            "settings": settings(self),
            "trained_on": self.trained_on_,
            "comparison": self.comparison_ and self.comparison_.to_dict(),
            "exhibit": self.exhibit_,
        }
        write_parts(path, document, self._trained())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a model file that `save` wrote.

        Raises:
            ModelFileError: if it is missing, damaged, or of another task.
        """
        with reading(path, "detect") as file:
            document = file.document
            self = cls(**document["settings"])
            detection = document["detection"]
            self.time_, self.dates_ = detection["time"], detection["dates"]
            self.channels_ = Channels.from_dict(detection["channels"])
            self.alarms_ = Alarms.from_dict(detection["alarms"])
            self.threshold_ = self.alarms_.threshold
            self.normal_ = {
                name: np.array(numbers, dtype=np.float64)
                for name, numbers in detection["normal"].items()
            }
            self.trained_on_ = document["trained_on"]
            comparison = document["comparison"]
            self.comparison_ = comparison and DetectionComparison.from_dict(comparison)
            self.exhibit_ = document["exhibit"]
            parts = {
                name: TrainedDetector.from_document(part, file.part(name))
                for name, part in document["parts"].items()
            }
            self.network_, self.fnn_ = parts["network"], parts.get("fnn")
            self.history_ = self.network_.history
            for name, numbers in self.normal_.items():
                self._judge(name).state(numbers)
        return self

    def _stream_document(self) -> dict[str, Any]:
        """What a session needs to know."""
        return {
            "task": "detect",
            "wiring": self.network_.wiring.to_dict(),
            "detection": {
                "time": self.time_,
                "dates": self.dates_,
                "channels": self.channels_.to_dict(),
                "alarms": dataclasses.asdict(self.alarms_),
                "normal": {name: numbers.tolist() for name, numbers in self.normal_.items()},
            },
        }

    def _check_arguments(self) -> None:
        check_at_least_one(
            self,
            *("hidden_size", "num_layers", "quiet", "context_length", "batch_size"),
            *("steps", "patience", "checkpoint_every"),
        )
        check_training(self)
        check_baselines(self.baselines, BASELINES)
        if not 0 < self.false_alarm_rate < 1:
            raise UsageError(
                f"false_alarm_rate is {self.false_alarm_rate}: it must be above 0 and below 1"
            )
        if not 0 < self.validation_share <= 0.5:
            raise UsageError(
                f"validation_share is {self.validation_share}: it must be above 0 and at most 0.5"
            )
        if not 0 <= self.test_share <= 0.5:
            raise UsageError(f"test_share is {self.test_share}: it must be from 0 to 0.5")

    def _make_alarms(self, events: int) -> Alarms:
        quiet = min(events // 2, _QUIET) if self.quiet is None else self.quiet
        alarms = Alarms(self.false_alarm_rate, quiet)
        if self.false_alarm_rate * alarms.block >= 1:
            raise UsageError(
                f"false_alarm_rate is {self.false_alarm_rate}: it must be below"
                f" {1 / alarms.block}, one in {alarms.block}"
            )
        return alarms

    def _recipe(self) -> DetectRecipe:
        return DetectRecipe(
            self.context_length,
            self.batch_size,
            self.dropout,
            self.recurrent_dropout,
            TrainingConfig(
                steps=self.steps,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                patience=self.patience,
                checkpoint_every=self.checkpoint_every,
                seed=self.seed,
                validate_every=max(1, self.steps // 40),
            ),
        )

    def _read(self, data: Any, label: str | None = None) -> ChannelTable:
        check_fitted(self)
        table = read_channels(data, time=self.time_, value=self.channels_.names, label=label)
        if (table.times.dtype.kind == "M") != self.dates_:
            kinds = ("dates", "step numbers") if self.dates_ else ("step numbers", "dates")
            raise DataError(
                f"{table.name}, column {self.time_!r}: the model was trained on {kinds[0]},"
                f" these are {kinds[1]}"
            )
        return table

    def _answers(self, table: ChannelTable) -> list[dict[str, Any]]:
        """What a fresh stream answers to the events."""
        weights = {f"network.{name}": array for name, array in self.network_.parameters.items()}
        session = Session(ModelFile(self._stream_document(), weights, sha256=""))
        return session.feed(session.start(), table.events(self.time_))[1]

    def _grid(self, table: ChannelTable) -> Grid:
        return self.channels_.grid(table.times.astype(np.int64), table.values)

    def _models(self) -> dict[str, Expect]:
        """What expects, by its name in the table, the network first."""
        models: dict[str, Expect] = {
            name: functools.partial(part.expect, channels=self.channels_)
            for name, part in self._trained().items()
        }
        for name in ("last_value", "moving_z_score"):
            if name in self.baselines:
                models[name] = functools.partial(plain_expectation, name)
        return models

    def _trained(self) -> dict[str, TrainedDetector]:
        parts = {"network": self.network_, "fnn": self.fnn_}
        return {name: part for name, part in parts.items() if part is not None}

    def _judge(self, name: str) -> Judge:
        return Judge(self.alarms_, len(self.channels_.names), name in self._trained())

    def _judged(self, table: ChannelTable, first: int) -> list[Judged]:
        """What all models say of the events from one on."""
        grid = self._grid(table)
        said = []
        for name, expect in self._models().items():
            started = clock.monotonic()
            events = expect(grid).since(first)
            part = self._trained().get(name)
            judge = self._judge(name)
            said.append(
                judged(
                    name,
                    judge,
                    judge.state(self.normal_[name]),
                    events,
                    part.parameter_count if part else None,
                    clock.monotonic() - started + (part.history.seconds if part else 0.0),
                )
            )
        return said

    def _compare(
        self, table: ChannelTable, windows: Sequence[tuple[int, int]] | None, first: int
    ) -> DetectionComparison:
        return DetectionComparison(
            tuple(score(said, self.threshold_, windows) for said in self._judged(table, first)),
            len(table) - first,
            None if windows is None else len(windows),
            remembers=remembers(self.feedback),
        )

    def _exhibit(self, table: ChannelTable) -> dict[str, Any]:
        """The last events with what was expected of them, as JSON values for the report."""
        grid = self._grid(table)
        events = self.network_.expect(grid, self.channels_)
        judge = self._judge("network")
        said = judged("network", judge, judge.state(self.normal_["network"]), events, None, 0.0)
        last = slice(-min(_EXHIBITED, len(table) - WARM_UP), None)
        middle = (events.actual - said.errors)[last]
        middle = np.where(np.isnan(middle), events.middle[last], middle)
        spread = events.spread[last]
        bounds = [self.channels_.unscaled(middle + k * spread) for k in (-2, 0, 2)]
        lower, expected, upper = (bound.T.tolist() for bound in bounds)
        values = table.values[last].T.tolist()
        return {
            "time": [str(stamp) for stamp in table.times[last]],
            "values": [[None if v != v else v for v in channel] for channel in values],
            "expected": expected,
            "lower": lower,
            "upper": upper,
            "score": said.scores[last].tolist(),
            "alarm": (said.onsets() >= self.threshold_)[last].tolist(),
        }
