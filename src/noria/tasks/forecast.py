"""Forecasting: what comes next in a series, and how sure that is.

Features: every step's distance from a moving level and from a season before, in units of the
series' running seasonal error; calendar; covariates; or the last window in segments. Network: any
wiring, one global model for all series, or several that are averaged. Head: a whole horizon of
quantiles or of another distribution, a learned mixture of plain forecasts plus what they leave
out. Loss: pinball or likelihood. Intervals: conformal. Rivals: a feed-forward network of as many
weights on a fixed window, the seasonal naive forecast, AutoETS, AutoARIMA.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from noria.errors import DataError, UsageError
from noria.features.frames import frame_like, in_zone
from noria.features.panel import CovariateScaler, Panel, calendar_cycles
from noria.features.running import Window
from noria.features.season import find_season
from noria.features.series import Columns, SeriesTable, season_lengths
from noria.features.table import read_table
from noria.feedback import Feedback, remembers
from noria.tasks.estimator import (
    check_fitted,
    check_number,
    reading,
    settings,
    write_parts,
)
from noria.tasks.forecast_settings import (
    OF_A_TRAINING,
    check_settings,
    recipe_of,
    require_counts,
    search_settings,
    sizes,
    wiring_of,
)
from noria.training.comparison import Comparison
from noria.training.forecasting import TrainedForecaster, feed_forward_rival, train_forecaster
from noria.training.rivals import BASELINES, compare, exhibit
from noria.training.split import split_series
from noria.training.trained import TrainingRun, checkpoint_of
from noria.training.windows import Origins

__all__ = ["Forecaster"]

_RESULTS = ("cutoff", "y", "forecast")
"""Columns of the results besides the id and the time."""

_REFIT_RATE = 0.25
"""The learning rate of a training that goes on, as a share of the first one's."""


class Forecaster(BaseEstimator):  # type: ignore[misc]
    """Forecasts one series or thousands with one recurrent network.

    Args:
        horizon: Steps forecast at once; prediction may ask for more.
        cell: "lstm", "gru", "rnn_tanh", "rnn_relu" or another of `noria.cells`, as "slstm".
        hidden_size: Neurons of a layer; None takes 64, and 32 for less than 2,000 steps to train
            on; twice as many with segments.
        num_layers: Layers.
        feedback: Which neurons feed which; see `noria.wiring.Wiring.build`.
        levels: Levels of the intervals, in %.
        seasons: Season lengths in steps; None takes those natural to the data's frequency or,
            where it has none, as step numbers have not, one that is found by the autocorrelation
            of the part for training.
        context_length: Steps of a training stretch; None takes twice the longest season. With
            segments, steps of the window; None takes four times the longest season.
        segment_length: Steps that the network takes at once. It then starts afresh at every
            forecast and sees the last window alone, relative to the level at its end. None for a
            network that goes on from step to step and sees the whole past.
        distribution: What is forecast of each step: "quantiles", "student_t" or, for counts,
            "negative_binomial".
        ensemble: Networks, alike but for their seed, whose forecasts are averaged.
        truncation_length: Steps of back-propagation; a longer stretch is trained piece by piece.
        dropout: Probability of dropping a neuron's output between layers.
        recurrent_dropout: Probability of dropping it on its way back.
        batch_size: Stretches in a batch.
        steps: Training steps at the most.
        learning_rate: Top of the schedule.
        weight_decay: Of AdamW.
        patience: Validations without a better one before training stops.
        validation_windows: Horizons at the end of the training part kept for validation and
            calibration; None takes a tenth of the data, between 1 and 10.
        test_windows: Horizons at the end of each series kept for the comparison; None likewise,
            0 for no comparison.
        baselines: What to compare with: "fnn", "seasonal_naive", "auto_ets" and, where asked for,
            "auto_arima", which is slow.
        search: Other settings to try, each a training; those that validate best are taken. They
            are of the cell, the sizes, the dropouts and the learning rate; 0 for none.
        checkpoint_every: Training steps between two checkpoints.
        seed: Of everything random.

    Attributes:
        network_: The trained recurrent module with its calibration.
        fnn_: The feed-forward rival, or None.
        comparison_: The table on the held-out windows, or None.
        chosen_: Settings that were found in the data or by the search.
        history_: The course of the training.
        seasons_, freq_, columns_: What was found in the data.

    >>> Forecaster(horizon=24).get_params()["cell"]
    'lstm'
    """

    scaler_: CovariateScaler
    network_: TrainedForecaster
    fnn_: TrainedForecaster | None

    def __init__(
        self,
        horizon: int = 24,
        *,
        cell: str = "lstm",
        hidden_size: int | None = None,
        num_layers: int = 1,
        feedback: Feedback = "direct+lateral",
        levels: Sequence[int] = (80, 95),
        seasons: Sequence[int] | None = None,
        context_length: int | None = None,
        segment_length: int | None = None,
        distribution: str = "quantiles",
        ensemble: int = 1,
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
        baselines: Sequence[str] = BASELINES,
        search: int = 0,
        checkpoint_every: int = 100,
        seed: int = 0,
    ) -> None:
        self.horizon = horizon
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.feedback = feedback
        self.levels = levels
        self.seasons = seasons
        self.context_length = context_length
        self.segment_length = segment_length
        self.distribution = distribution
        self.ensemble = ensemble
        self.truncation_length = truncation_length
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.batch_size = batch_size
        self.steps = steps
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.validation_windows = validation_windows
        self.test_windows = test_windows
        self.baselines = baselines
        self.search = search
        self.checkpoint_every = checkpoint_every
        self.seed = seed

    def fit(
        self,
        data: Any,
        *,
        time: str = "ds",
        target: str = "y",
        id: str | None = None,  # noqa: A002
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        static: Sequence[str] = (),
        freq: str | None = None,
        checkpoint: Path | None = None,
        resume: bool = False,
        log_dir: Path | None = None,
        progress: bool = False,
    ) -> Self:
        """Train on a table of series, and compare on its last windows.

        Args:
            data: Path of a CSV or Parquet file, or a dataframe; a row a series and time step.
            time: Column of timestamps or step numbers; several, separated by commas, where the
                file has year, month, day and hour apart.
            target: Column to forecast.
            id: Column that tells the series apart; None takes `unique_id` if there is one.
            past: Covariates known up to now.
            future: Covariates known in advance.
            static: Covariates that are constant in a series.
            freq: Step of the grid, such as "1h" or "1mo"; None finds it.
            checkpoint: Where to keep the state of the training; None for none. The checkpoint of
                the feed-forward rival stands beside it. They are left for the caller to delete.
            resume: Go on from the checkpoint, if there is one.
            log_dir: Folder for TensorBoard's event files.
            progress: Draw a bar on standard error where that is a terminal.

        Returns:
            This forecaster, fitted.

        Raises:
            DataError: if the data is not what it should be.
            UsageError: if the arguments cannot be meant.
        """
        columns = Columns(time, target, id, tuple(past), tuple(future), tuple(static))
        check_settings(self)
        table = read_table(data, columns, freq=freq).from_first_observed()
        return self._fit_table(table, TrainingRun("", checkpoint, resume, log_dir, progress))

    def refit(
        self,
        data: Any,
        *,
        checkpoint: Path | None = None,
        resume: bool = False,
        log_dir: Path | None = None,
        progress: bool = False,
    ) -> Self:
        """Train on from the weights so far, on newer or other data; calibrate and compare anew.

        Columns, grid, seasons, scaling and sizes stay as they are, and so do settings that a
        search found (`chosen_`); the learning rate is a quarter of that of `fit`.

        Args:
            data: As in `fit`, with the same columns.
            checkpoint: As in `fit`, as are the others.
            resume: Go on from the checkpoint, if there is one.
            log_dir: Folder for TensorBoard's event files.
            progress: Draw a bar on standard error where that is a terminal.

        Returns:
            This forecaster.

        Raises:
            DataError: if the data is not what it should be.
            UsageError: if the forecaster is not fitted, or a setting that is not of the training
                alone was changed.
        """
        check_fitted(self)
        check_settings(self)
        fixed = [name for name in self.fitted_settings_ if name not in OF_A_TRAINING]
        self._require_as_fitted(*fixed)
        table = self._read(data)
        return self._fit_table(table, TrainingRun("", checkpoint, resume, log_dir, progress), True)

    def _require_as_fitted(self, *names: str) -> None:
        """Refuse settings that were changed after the network was made by them."""
        now = settings(self)
        for name in names:
            if now[name] != self.fitted_settings_[name]:
                raise UsageError(
                    f"{name} is {now[name]!r} and was {self.fitted_settings_[name]!r} when this"
                    " forecaster was fitted: set it back, or fit anew"
                )

    def _fit_table(
        self, table: SeriesTable, run: TrainingRun | None = None, again: bool = False
    ) -> Self:
        for name in (table.columns.id, table.columns.time):
            if name in _RESULTS:
                raise UsageError(f"column {name!r} has the name of a result; rename it")
        table.require_every_step()
        if self.distribution == "negative_binomial":
            require_counts(table)
        if not again:
            self.fitted_settings_ = settings(self)
            self.freq_ = table.freq
            self.zone_ = None if table.wall else table.zone
            self.columns_ = table.columns
            self.categories_ = table.categories
            self.levels_ = tuple(sorted({int(level) for level in self.levels} | {50}))
            self.seasons_ = self._find_seasons(table)
            self.calendar_ = calendar_cycles(table)
        split = split_series(
            table, self.horizon, self.seasons_, self.validation_windows, self.test_windows
        )
        panel = Panel(
            table,
            self.seasons_,
            int(self.horizon),
            self.calendar_,
            self.scaler_ if again else None,
            train_ends=split.train_ends,
        )
        self.scaler_ = panel.scaler
        run = dataclasses.replace(run or TrainingRun(), trained_on=table.sha256())
        if not again:
            self.chosen_ = sizes(settings(self), panel, split)
            if self.search:
                self.chosen_ = search_settings(settings(self), self.levels_, panel, split, run)
        self.trained_on_: dict[str, Any] = {
            "series": len(table.series),
            "rows": table.n_rows,
            "training_rows": int(split.train_ends.sum()),
            "validation_windows": split.validation_windows,
            "test_windows": split.test_windows,
            "data_sha256": run.trained_on,
        }
        given = self._settings()
        old, old_fnn = (self.network_, self.fnn_) if again else (None, None)
        before = self.trained_until_ if again else None
        if again:
            given["learning_rate"] *= _REFIT_RATE
        recipe = recipe_of(given, self.levels_)
        wiring = old.wiring if old else wiring_of(given, panel)
        self.network_ = train_forecaster(
            wiring, panel, split, recipe, run, title="network", start=old
        )
        self.history_ = self.network_.history
        self.fnn_ = None
        if "fnn" in self.baselines:
            length = min(2 * min(self.seasons_, default=16), recipe.context_length)
            if recipe.window:
                length = recipe.window.length
            recipe = dataclasses.replace(recipe, window=Window(length, length))
            size = self.network_.modules[0].parameter_count
            rival = feed_forward_rival(panel, recipe, given["num_layers"], size)
            self.fnn_ = train_forecaster(
                rival, panel, split, recipe, run, title="fnn", start=old_fnn
            )
        self.comparison_, self.exhibits_ = None, []
        origins = split.test_origins(self.horizon)
        ids = [series.id for series in table.series]
        ends = table.times(np.arange(len(ids)), split.validation_ends - 1)
        known = dict(zip(ids, ends.tolist(), strict=True))
        self.trained_until_: dict[str, int] | None = None
        if not again:
            self.trained_until_ = known
        elif before is not None:
            self.trained_until_ = before | {
                name: max(end, before.get(name, end)) for name, end in known.items()
            }
        if len(origins):
            self.comparison_ = self._compare(panel, origins, before if again else {})
            self.exhibits_ = exhibit(panel, origins, self.network_)
        return self

    def _settings(self) -> dict[str, Any]:
        """The settings in force: those that were given, and over them those that were found."""
        return {**settings(self), **self.chosen_}

    def _find_seasons(self, table: SeriesTable) -> tuple[int, ...]:
        if self.seasons is not None:
            return tuple(sorted({int(season) for season in self.seasons}))
        natural = season_lengths(table.freq)
        if natural:
            longest = max(len(series.y) for series in table.series)
            return tuple(season for season in natural if 3 * season <= longest)
        ends = split_series(
            table, self.horizon, (), self.validation_windows, self.test_windows
        ).train_ends.tolist()
        found = find_season([s.y[:end] for s, end in zip(table.series, ends, strict=True)])
        return () if found is None or found + self.horizon > max(ends) else (found,)

    def predict(
        self, data: Any, *, horizon: int | None = None, levels: Sequence[int] | None = None
    ) -> Any:
        """Forecast what comes after the end of each series, known to the model or not.

        Beyond the trained horizon the forecast goes on from its own medians; its intervals then
        widen as those of independent steps would, by the root of the sum of their squares.

        Args:
            data: As in `fit`, with the same columns; rows after the last observed target give the
                covariates known in advance.
            horizon: Steps; None takes the trained one.
            levels: Levels of the intervals, of those trained; None takes all asked for in `fit`.

        Returns:
            A dataframe of the kind given (polars for a path): id, time, `forecast`, and
            `lo-80`, `hi-80`, … for every level. Times are of the zone that those of the data have.

        Raises:
            DataError: if the data is not what it should be.
            UsageError: if a level was not trained or the horizon is below 1.
        """
        check_fitted(self)
        self._require_as_fitted("horizon")
        steps = self.horizon if horizon is None else horizon
        check_number("horizon", steps, whole=True)
        if steps < 1:
            raise UsageError(f"horizon is {steps}: it must be at least 1")
        wanted = tuple(sorted(set(self.levels if levels is None else levels)))
        for level in wanted:
            if level not in self.levels_:
                raise UsageError(
                    f"level {level} was not trained; this model has"
                    f" {', '.join(map(str, self.levels_))}"
                )
        table = self._read(data)
        table.require_future(steps)
        quantiles = self.network_.run_ahead(table, self._panel, steps)
        columns: dict[str, list[Any]] = {name: [] for name in ("id", "time")}
        for series in table.series:
            columns["id"] += [series.id] * steps
            columns["time"].append(table.timestamps(series, len(series.y), steps))
        values = quantiles.reshape(-1, quantiles.shape[-1])
        times = np.concatenate(columns["time"])
        return self._frame(data, table, columns["id"], times, values, wanted)

    def evaluate(self, data: Any, *, windows: int = 1) -> Comparison:
        """Compare with the rivals on the last windows of each series; nothing is trained.

        A series too short for them is left out. The notes of the table say so, and how many windows
        lie at times that the model was trained on.

        Args:
            data: As in `fit`, history and what is to be forecast in one table.
            windows: Horizons to forecast at the end of each series, none overlapping.

        Returns:
            The table.

        Raises:
            DataError: if the data is not what it should be or every series too short.
        """
        check_fitted(self)
        self._require_as_fitted("horizon")
        check_number("windows", windows, whole=True)
        table = self._read(data)
        origins, note = self._last_origins(table, windows)
        found = self._compare(self._panel(table), origins, self.trained_until_)
        return dataclasses.replace(found, notes=(*found.notes, *note))

    def cross_validation(
        self,
        data: Any,
        *,
        windows: int = 3,
        stride: int | None = None,
        refit: bool = False,
        **columns: Any,
    ) -> Any:
        """Fit on the beginning, forecast from rolling origins after it.

        Args:
            data: As in `fit`.
            windows: Number of origins.
            stride: Steps from one origin to the next; None takes the horizon.
            refit: Fit again at every origin, on all before it; else once, before the first.
            **columns: As in `fit`: time, target, id, past, future, static, freq.

        Returns:
            A dataframe of the kind given: id, time, `cutoff` (last time known), `y`, `forecast`
            and the intervals.

        Raises:
            DataError: if the data is not what it should be or too short.
        """
        check_settings(self)
        stride = self.horizon if stride is None else stride
        for name, value in (("windows", windows), ("stride", stride)):
            check_number(name, value, whole=True)
        if windows < 1 or stride < 1:
            raise UsageError("windows and stride must be at least 1")
        freq = columns.pop("freq", None)
        table = read_table(data, Columns(**columns), freq=freq).from_first_observed()
        reach = self.horizon + (windows - 1) * stride
        parts: list[tuple[list[str], Any, Any, Any, Any]] = []
        lasts = [reach - number * stride for number in range(windows)]
        for group in [[left] for left in lasts] if refit else [lasts]:
            shorter = table.without_last(group[0])
            fitted = clone(self).set_params(test_windows=0, baselines=())._fit_table(shorter)
            panel = fitted._panel(table)
            count = len(table.series)
            series = np.tile(np.arange(count), len(group))
            t = panel.lengths[series] - np.repeat(group, count) - 1
            quantiles = fitted.network_.quantiles(panel, Origins(series, t, panel.lengths[series]))
            actual = panel.actual(series, t)
            for index, (number, origin) in enumerate(zip(series.tolist(), t.tolist(), strict=True)):
                own = table.series[number]
                stamps = table.timestamps(own, origin, self.horizon + 1)
                parts.append(
                    (
                        [own.id] * self.horizon,
                        stamps[1:],
                        np.repeat(stamps[:1], self.horizon),
                        actual[index],
                        quantiles[index],
                    )
                )
        ids, times, cutoffs, values, forecasts = zip(*parts, strict=True)
        return fitted._frame(
            data,
            table,
            [name for part in ids for name in part],
            np.concatenate(times),
            np.concatenate(forecasts),
            tuple(sorted(set(self.levels))),
            cutoff=np.concatenate(cutoffs),
            y=np.concatenate(values),
        )

    def checkpoints(self, checkpoint: Path) -> list[Path]:
        """The files that `fit` may have made for a checkpoint."""
        return [
            checkpoint_of(checkpoint, f"{title}-{number}" if number else title)
            for title in ("network", "fnn")
            for number in range(self.ensemble)
        ]

    def save(self, path: Path | str) -> None:
        """Write the model file.

        Raises:
            ResourceError: if the disk does not take it.
        """
        check_fitted(self)
        document = {
            "task": "forecast",
            "wiring": self.network_.wiring.to_dict(),
            "settings": settings(self),
            "columns": dataclasses.asdict(self.columns_),
            "freq": self.freq_,
            "zone": self.zone_,
            "seasons": self.seasons_,
            "levels": self.levels_,
            "calendar": self.calendar_,
            "categories": self.categories_,
            "chosen": self.chosen_,
            "scaler": {
                "mean": self.scaler_.mean.tolist(),
                "deviation": self.scaler_.deviation.tolist(),
            },
            "trained_on": self.trained_on_,
            "trained_until": self.trained_until_,
            "comparison": self.comparison_ and self.comparison_.to_dict(),
            "exhibits": self.exhibits_,
        }
        write_parts(path, document, {"network": self.network_, "fnn": self.fnn_})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a model file that `save` wrote.

        Raises:
            ModelFileError: if it is missing, damaged, or of another task.
        """
        with reading(path, "forecast") as file:
            document = file.document
            self = cls(**document["settings"])
            self.fitted_settings_ = settings(self)
            self.columns_ = Columns(**document["columns"])
            self.freq_ = document["freq"]
            self.zone_ = document.get("zone")
            self.seasons_ = tuple(document["seasons"])
            self.levels_ = tuple(document["levels"])
            self.calendar_ = tuple(document["calendar"])
            self.categories_ = {k: tuple(v) for k, v in document["categories"].items()}
            self.chosen_ = document["chosen"]
            scaler = document["scaler"]
            self.scaler_ = CovariateScaler(
                np.array(scaler["mean"], dtype=float), np.array(scaler["deviation"], dtype=float)
            )
            self.trained_on_ = document["trained_on"]
            self.trained_until_ = document.get("trained_until")
            comparison = document["comparison"]
            self.comparison_ = comparison and Comparison.from_dict(comparison)
            self.exhibits_ = document["exhibits"]
            parts = {
                name: TrainedForecaster.from_document(
                    part,
                    file.part(name),
                    self.levels_,
                )
                for name, part in document["parts"].items()
            }
            self.network_, self.fnn_ = parts["network"], parts.get("fnn")
            self.history_ = self.network_.history
        return self

    def _read(self, data: Any) -> SeriesTable:
        table = read_table(data, self.columns_, freq=self.freq_, categories=self.categories_)
        table = table.from_first_observed()
        table.require_every_step()
        zoned = table.zone is not None and not table.wall
        if zoned != (self.zone_ is not None):
            here, there = ("a", "none") if zoned else ("no", "one")
            raise DataError(
                f"the timestamps have {here} time zone and those the model was trained on had"
                f" {there}, so that their hours may differ: give both alike"
            )
        return table

    def _panel(self, table: SeriesTable) -> Panel:
        return Panel(table, self.seasons_, int(self.horizon), self.calendar_, self.scaler_)

    def _last_origins(self, table: SeriesTable, windows: int) -> tuple[Origins, list[str]]:
        """The last windows, and a note on series that are too short for them."""
        if windows < 1:
            raise UsageError(f"windows is {windows}: it must be at least 1")
        lengths = np.array([len(series.y) for series in table.series], dtype=np.int64)
        needed = windows * self.horizon + 2
        short = np.flatnonzero(lengths < needed)
        if len(short) == len(lengths):
            longest = int(lengths.argmax())
            raise DataError(
                f"series {table.series[longest].id!r} has {lengths[longest]} time steps"
                + (" and is the longest" if len(lengths) > 1 else "")
                + f"; {windows} windows of {self.horizon} need at least {needed}"
            )
        firsts = np.where(lengths < needed, lengths, lengths - windows * self.horizon)
        note = []
        if len(short):
            name = table.series[int(short[0])].id
            others = f" and {len(short) - 1} more series" if len(short) > 1 else ""
            note.append(
                f"left out: series {name!r}{others}, with less than the {needed} time steps that"
                f" {windows} windows of {self.horizon} need"
            )
        return Origins.rolling(firsts, lengths, self.horizon, self.horizon), note

    def _compare(
        self, panel: Panel, origins: Origins, trained_until: dict[str, int] | None
    ) -> Comparison:
        """The network and its rivals on the same windows.

        Args:
            panel: The series.
            origins: The windows.
            trained_until: Last time of each series that the network has learned from; None where
                that is not known.
        """
        trained = {"network": self.network_, "fnn": self.fnn_}
        found = compare(
            panel,
            origins,
            {name: part for name, part in trained.items() if part is not None},
            self.baselines,
            self.levels_,
        )
        notes, seen = found.notes, 0
        if trained_until is None:
            notes += ("the model file does not tell whether training saw these windows",)
        else:
            begins = panel.table.times(origins.series, origins.t + 1)
            ids = [panel.table.series[number].id for number in origins.series.tolist()]
            pairs = zip(ids, begins.tolist(), strict=True)
            seen = sum(begin <= trained_until.get(name, begin - 1) for name, begin in pairs)
        if seen:
            seen_of = (
                f"{seen} of {len(origins)} windows lie at times that the network was trained on"
            )
            notes += (f"{seen_of}: its figures there, and those of fnn, promise too much",)
        return dataclasses.replace(
            found,
            notes=notes,
            remembers=remembers(self.feedback),
            held_out=trained_until is not None and not seen,
        )

    def _frame(
        self,
        data: Any,
        table: SeriesTable,
        ids: list[str],
        times: NDArray[Any],
        quantiles: NDArray[np.float64],
        levels: Sequence[int],
        **more: NDArray[Any],
    ) -> Any:
        """Forecasts as a dataframe of the kind given, quantiles of shape (rows, Q)."""
        name = self.columns_.id or "unique_id"
        stamp = self.columns_.time if "," not in self.columns_.time else "ds"
        columns: dict[str, Any] = {name: ids, stamp: times, **more}
        middle = len(self.levels_)
        columns["forecast"] = quantiles[:, middle]
        for level in levels:
            number = 1 + self.levels_.index(level)
            columns[f"lo-{level:g}"] = quantiles[:, middle - number]
            columns[f"hi-{level:g}"] = quantiles[:, middle + number]
        stamps = [stamp, *(name for name in more if name == "cutoff")]
        return in_zone(frame_like(data, columns), stamps, table.zone, wall=table.wall)
