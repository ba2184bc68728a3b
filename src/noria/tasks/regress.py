"""Regression: a number for a whole series, such as the wear of a tool after a run.

Features: each channel in units of its own deviation. Network: as of the classifier, with one
output. Loss: Huber's, in units of the numbers' deviation. Members: a few networks, each validated
on a fold of the training cases that it does not learn from; their mean is the answer. Rivals: a
feed-forward network of as many weights on series of one length, the mean, the nearest neighbour,
ridge regression on summary statistics.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from noria.errors import DataError
from noria.features.cases import CaseColumns
from noria.features.frames import frame_like
from noria.features.labelled import LabelledSequences
from noria.features.series import LARGEST
from noria.feedback import Feedback, remembers
from noria.modules.classify import ClassifyPlan
from noria.tasks.estimator import check_baselines, check_fitted, reading, settings, write_parts
from noria.tasks.whole_series import (
    about_cases,
    case_columns,
    check_network,
    deal_folds,
    fit_scaler,
    network_plan,
    read_sequences,
    recipe_settings,
    scale_sequences,
    scaler_from_dict,
    scaler_to_dict,
    window_of,
)
from noria.training.classifying import ClassifyRecipe, feed_forward_plan
from noria.training.members import member_checkpoints
from noria.training.regressing import TrainedRegressor, train_regressor
from noria.training.regression_baselines import PlainRegressors
from noria.training.regression_scores import (
    REGRESS_BASELINES,
    RegressionComparison,
    RegressionModels,
)

__all__ = ["SequenceRegressor"]

Floats = NDArray[np.float64]

_STRATA = 5


class SequenceRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Gives whole series a number with recurrent networks.

    Args:
        cell: "lstm", "gru", "rnn_tanh", "rnn_relu" or another of `noria.cells`, as "slstm".
        hidden_size: Neurons of a layer, in each direction.
        num_layers: Layers.
        feedback: Which neurons feed which; see `noria.wiring.Wiring.build`.
        bidirectional: Run in both directions of time; for layers that feed only themselves.
        convolutions: Convolutions below the recurrent layers; None takes 3, or 2 where half of the
            cases have fewer than 64 steps.
        channels: Width of the convolutions.
        kernel_size: Steps that one convolution sees, odd; None takes 7, or 3 where half of the
            cases have fewer than 64 steps.
        pooling: "last" state, "mean_max" over the steps, or "attention".
        dropout: Probability of dropping a neuron's output on its way up.
        recurrent_dropout: Probability of dropping it on its way back.
        augmentation: How far training cases are cut, stretched, scaled and made noisy; 0 for not.
        members: Networks whose mean is the answer; each leaves another fold out, 5 or more.
        batch_size: Cases in a batch; None takes 16, and up to 64 where there are thousands.
        steps: Training steps of a member at the most; None takes 15 rounds through the data, or
            400 if that is more.
        learning_rate: Top of the schedule.
        weight_decay: Of AdamW.
        patience: Validations, 25 in all, without a better one before a member stops and its best
            weights are kept; None takes 10, or where one has fewer than 100 cases to be
            validated on trains all to the end and keeps their last weights.
        baselines: What to compare with: "fnn", "mean", "nearest_neighbour",
            "ridge_regression".
        checkpoint_every: Training steps between two checkpoints.
        seed: Of everything random.

    Attributes:
        n_features_in_: I, number of channels.
        network_: The trained members.
        fnn_: The feed-forward rivals, or None.
        comparison_: The table on the test cases, or else by cross-validation.
        columns_: Which column was what; for tables.

    >>> SequenceRegressor(cell="gru").get_params()["cell"]
    'gru'
    """

    def __init__(
        self,
        *,
        cell: str = "lstm",
        hidden_size: int = 64,
        num_layers: int = 1,
        feedback: Feedback = "direct+lateral",
        bidirectional: bool = True,
        convolutions: int | None = None,
        channels: int = 64,
        kernel_size: int | None = None,
        pooling: str = "mean_max",
        dropout: float = 0.3,
        recurrent_dropout: float = 0.0,
        augmentation: float = 0.1,
        members: int = 5,
        batch_size: int | None = None,
        steps: int | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        patience: int | None = None,
        baselines: Sequence[str] = REGRESS_BASELINES,
        checkpoint_every: int = 200,
        seed: int = 0,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.feedback = feedback
        self.bidirectional = bidirectional
        self.convolutions = convolutions
        self.channels = channels
        self.kernel_size = kernel_size
        self.pooling = pooling
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.augmentation = augmentation
        self.members = members
        self.batch_size = batch_size
        self.steps = steps
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.baselines = baselines
        self.checkpoint_every = checkpoint_every
        self.seed = seed

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = tags.input_tags.allow_nan = True
        return tags

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        groups: Any = None,
        test: Any = None,
        label: str = "label",
        group: str | None = None,
        id: str = "unique_id",  # noqa: A002
        time: str = "ds",
        value: Sequence[str] = ("value",),
        checkpoint: Path | None = None,
        resume: bool = False,
        log_dir: Path | None = None,
        progress: bool = False,
    ) -> Self:
        """Train on series with a number each, and compare with the rivals.

        Args:
            X: An array (N, T, I) or (N, T), a list of arrays (T_i, I), the path of a .ts, CSV or
                Parquet file, or a dataframe with a row for each case and time step.
            y: Numbers, shape (N,); None where X has them.
            groups: Who or what each case comes from, shape (N,): cases of one group, as the
                windows of one recording or the recordings of one person, are never on both sides
                of a validation. None where every case is of its own.
            test: Cases to compare on, none of which is trained on: as X, or a pair (X, y). None
                compares by cross-validation.
            label: A table's column of the numbers, constant in a case.
            group: Its column of groups, likewise, if it has one.
            id: Its column that tells the cases apart.
            time: Its column of timestamps or step numbers.
            value: Its columns that are the channels.
            checkpoint: Where to keep the states of the trainings, a file each whose name begins
                like this; None for none. They are left for the caller to delete.
            resume: Go on from the checkpoints, if there are any.
            log_dir: Folder for TensorBoard's event files.
            progress: Draw a bar on standard error where that is a terminal.

        Returns:
            This regressor, fitted.

        Raises:
            DataError: if the data is not what it should be.
            UsageError: if the arguments cannot be meant.
        """
        check_network(self)
        check_baselines(self.baselines, REGRESS_BASELINES)
        self.columns_ = case_columns(
            X, test, id=id, time=time, value=tuple(value), label=label, group=group
        )
        cases = read_sequences(X, y, self.columns_, groups, labelled=True)
        actual = _numbers(cases)
        self.scaler_ = fit_scaler(cases)
        self.channels_ = cases.channels
        held_apart = None if test is None else self._read_test(test)
        ranks = actual.argsort(kind="stable").argsort(kind="stable")
        folds = deal_folds(cases, ranks * _STRATA // len(ranks), self.members, self.seed)
        self.centre_, self.spread_ = float(actual.mean()), float(actual.std()) or 1.0
        numbers = ((actual - self.centre_) / self.spread_).astype(np.float32)
        sequences = [self.scaler_.scale(sequence) for sequence in cases.sequences]
        window = window_of(cases)
        recipe = ClassifyRecipe.of(recipe_settings(self, folds), "dropout", "recurrent_dropout")
        self.trained_on_ = about_cases(cases)
        common: dict[str, Any] = {
            "trained_on": self.trained_on_["data_sha256"],
            "checkpoint": checkpoint,
            "resume": resume,
            "log_dir": log_dir,
            "progress": progress,
        }
        plan = network_plan(self, cases, self.scaler_.size, 1)
        self.network_ = train_regressor(
            plan, sequences, numbers, folds, recipe, title="network", **common
        )
        self.fnn_ = None
        if "fnn" in self.baselines:
            size = self.network_.modules[0].parameter_count
            rival = feed_forward_plan(window * self.scaler_.size, 1, self.num_layers, size)
            self.fnn_ = train_regressor(
                rival, sequences, numbers, folds, recipe, title="fnn", window=window, **common
            )
        self.plain_ = PlainRegressors.fit(self.baselines, sequences, actual, window)
        models = self._models()
        self.comparison_ = (
            models.compare_out_of_fold(sequences, actual, folds)
            if held_apart is None
            else models.compare(*held_apart)
        )
        return self

    @property
    def n_features_in_(self) -> int:
        """I, number of channels."""
        check_fitted(self)
        return len(self.channels_)

    def predict(self, X: Any) -> Floats:
        """The number of each case, shape (N,).

        Args:
            X: As in `fit`; numbers in it are not looked at.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        cases = read_sequences(X, None, self.columns_, labelled=False)
        return self._models().numbers(self._scaled(cases))

    def predict_frame(self, data: Any) -> Any:
        """The number of each case, as a dataframe of the kind given.

        Args:
            data: As in `fit`; numbers in it are not looked at.

        Returns:
            Columns: the id (`case` where the data is no table) and `prediction`.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        cases = read_sequences(data, None, self.columns_, labelled=False)
        is_table = not cases.name.endswith(".ts") and cases.name != "X"
        columns = {
            self.columns_.id if is_table else "case": list(cases.ids),
            "prediction": self._models().numbers(self._scaled(cases)),
        }
        return frame_like(data, columns)

    def evaluate(self, X: Any, y: Any = None) -> RegressionComparison:
        """Compare with the rivals on cases with numbers; nothing is trained.

        Args:
            X: As in `fit`.
            y: Numbers, shape (N,); None where X has them.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        return self._models().compare(*self._read_test(X if y is None else (X, y)))

    def checkpoints(self, checkpoint: Path) -> list[Path]:
        """The files that `fit` may have made for a checkpoint."""
        return member_checkpoints(checkpoint, self.members)

    def save(self, path: Path | str) -> None:
        """Write the model file.

        Raises:
            ResourceError: if the disk does not take it.
        """
        check_fitted(self)
        document = {
            "task": "regress",
            "wiring": self.network_.plan.wiring.to_dict(),
            "settings": settings(self),
            "columns": dataclasses.asdict(self.columns_),
            "channels": list(self.channels_),
            "numbers": {"centre": self.centre_, "spread": self.spread_},
            "scaler": scaler_to_dict(self.scaler_),
            "window": self.plain_.window,
            "trained_on": self.trained_on_,
            "comparison": self.comparison_.to_dict(),
        }
        plain = {f"plain.{name}": array for name, array in self.plain_.arrays.items()}
        write_parts(path, document, {"network": self.network_, "fnn": self.fnn_}, plain)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a model file that `save` wrote.

        Raises:
            ModelFileError: if it is missing, damaged, or of another task.
        """
        with reading(path, "regress") as file:
            document = file.document
            self = cls(**document["settings"])
            columns = document["columns"]
            self.columns_ = CaseColumns(**{**columns, "value": tuple(columns["value"])})
            self.channels_ = tuple(document["channels"])
            self.centre_ = float(document["numbers"]["centre"])
            self.spread_ = float(document["numbers"]["spread"])
            self.scaler_ = scaler_from_dict(document["scaler"])
            self.trained_on_ = document["trained_on"]
            self.comparison_ = RegressionComparison.from_dict(document["comparison"])
            parts = {
                name: TrainedRegressor.from_document(
                    ClassifyPlan.from_dict(part["plan"]),
                    part,
                    file.part(name),
                    window=part["window"],
                )
                for name, part in document["parts"].items()
            }
            self.network_, self.fnn_ = parts["network"], parts.get("fnn")
            self.plain_ = PlainRegressors(document["window"], file.part("plain"))
        return self

    def _models(self) -> RegressionModels:
        return RegressionModels(
            self.network_,
            self.fnn_,
            self.plain_,
            self.centre_,
            self.spread_,
            remembers(self.feedback),
        )

    def _scaled(self, cases: LabelledSequences) -> list[NDArray[np.float32]]:
        return scale_sequences(cases, self.scaler_, len(self.channels_))

    def _read_test(self, test: Any) -> tuple[list[NDArray[np.float32]], Floats]:
        """Cases to compare on: scaled, and their numbers."""
        X, y = test if isinstance(test, tuple) else (test, None)
        # who the cases come from matters to a training alone
        columns = dataclasses.replace(self.columns_, group=None)
        cases = read_sequences(X, y, columns, labelled=True)
        return self._scaled(cases), _numbers(cases)


def _numbers(cases: LabelledSequences) -> Floats:
    """The numbers that stand as labels, shape (N,).

    Raises:
        DataError: naming the first that is none.
    """
    numbers = np.empty(len(cases))
    labels = np.asarray(cases.labels).tolist()
    for row, (case, label) in enumerate(zip(cases.ids, labels, strict=True)):
        try:
            numbers[row] = float(label)
        except (TypeError, ValueError):
            numbers[row] = np.nan
        if not np.isfinite(numbers[row]):
            raise DataError(f"{cases.name}, case {case}: {label!r} is no finite number to regress")
        if abs(numbers[row]) > LARGEST:
            raise DataError(
                f"{cases.name}, case {case}: {label!r} is too large a number, above {LARGEST:g}"
            )
    return numbers
