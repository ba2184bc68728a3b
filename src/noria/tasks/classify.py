"""Classification: which class a whole series belongs to, and how sure that is.

Features: each channel in units of its own deviation. Network: convolutions for short patterns, any
recurrent wiring above them, pooled over time. Loss: cross entropy. Members: a few networks, each
validated on a fold of the training cases that it does not learn from; their mean probability is the
answer. Rivals: a feed-forward network of as many weights on series of one length, the nearest
neighbour, logistic regression on summary statistics.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from noria.errors import DataError, UsageError
from noria.features.cases import CaseColumns
from noria.features.frames import frame_like
from noria.features.labelled import LabelledSequences, class_finder
from noria.feedback import Feedback, remembers
from noria.modules.classify import ClassifyPlan
from noria.runtime import plain_value
from noria.tasks.estimator import (
    check_baselines,
    check_class_weight,
    check_fitted,
    check_shares,
    reading,
    settings,
    write_parts,
)
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
from noria.training.class_baselines import PlainBaselines
from noria.training.class_rivals import CLASS_BASELINES, KNOWN_CLASS_BASELINES, ClassModels
from noria.training.class_scores import ClassComparison
from noria.training.classifying import (
    ClassifyRecipe,
    TrainedClassifier,
    feed_forward_plan,
    train_classifier,
)
from noria.training.members import member_checkpoints
from noria.training.sequences import class_weights

__all__ = ["SequenceClassifier"]


class SequenceClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classes whole series with recurrent networks.

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
        label_smoothing: Share of the target's probability that all classes get alike.
        class_weight: "balanced" makes rare classes count as much as common ones, a dict says how
            much a case of each class counts, 1 for those it leaves out; None counts cases.
        members: Networks whose mean is the answer; each leaves another fold out, 5 or more.
        batch_size: Cases in a batch; None takes 16, and up to 64 where there are thousands.
        steps: Training steps of a member at the most; None takes 15 rounds through the data, or
            400 if that is more.
        learning_rate: Top of the schedule.
        weight_decay: Of AdamW.
        patience: Validations, 25 in all, without a better one before a member stops and its best
            weights are kept; None takes 10, or where one has fewer than 100 cases to be
            validated on trains all to the end and keeps their last weights.
        baselines: What to compare with: "fnn", "nearest_neighbour", "logistic_regression", and on
            request "minirocket", which is left out where sktime and numba are not installed.
        checkpoint_every: Training steps between two checkpoints.
        seed: Of everything random.

    Attributes:
        classes_: The classes, sorted, shape (C,).
        n_features_in_: I, number of channels.
        network_: The trained members.
        fnn_: The feed-forward rivals, or None.
        comparison_: The table on the test cases, or else by cross-validation.
        columns_: Which column was what; for tables.

    >>> SequenceClassifier(cell="gru").get_params()["cell"]
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
        label_smoothing: float = 0.0,
        class_weight: str | Mapping[Any, float] | None = None,
        members: int = 5,
        batch_size: int | None = None,
        steps: int | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        patience: int | None = None,
        baselines: Sequence[str] = CLASS_BASELINES,
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
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
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
        """Train on labelled series, and compare with the rivals.

        Args:
            X: An array (N, T, I) or (N, T), a list of arrays (T_i, I), the path of a .ts, CSV or
                Parquet file, or a dataframe with a row for each case and time step.
            y: Labels, shape (N,); None where X has them.
            groups: Who or what each case comes from, shape (N,): cases of one group, as the
                windows of one recording or the recordings of one person, are never on both sides
                of a validation. None where every case is of its own.
            test: Cases to compare on, none of which is trained on: as X, or a pair (X, y). None
                compares by cross-validation.
            label: A table's column of labels, constant in a case.
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
            This classifier, fitted.

        Raises:
            DataError: if the data is not what it should be.
            UsageError: if the arguments cannot be meant.
        """
        self._check_arguments()
        self.columns_ = case_columns(
            X, test, id=id, time=time, value=tuple(value), label=label, group=group
        )
        cases = read_sequences(X, y, self.columns_, groups, labelled=True)
        assert cases.labels is not None
        if cases.targets:
            raise DataError(
                f"{cases.name}: the cases have numbers to predict, not classes: fit regress,"
                " SequenceRegressor, takes them"
            )
        self.classes_, labels = np.unique(cases.labels, return_inverse=True)
        self._check_labels(cases)
        self.scaler_ = fit_scaler(cases)
        self.channels_ = cases.channels
        held_apart = None if test is None else self._read_test(test)
        folds = deal_folds(cases, labels, self.members, self.seed)
        sequences = [self.scaler_.scale(sequence) for sequence in cases.sequences]
        window = window_of(cases)
        recipe = ClassifyRecipe.of(recipe_settings(self, folds), "dropout", "recurrent_dropout")
        self.trained_on_ = about_cases(cases, classes=len(self.classes_))
        common: dict[str, Any] = {
            "class_weights": self._class_weights(labels),
            "trained_on": self.trained_on_["data_sha256"],
            "checkpoint": checkpoint,
            "resume": resume,
            "log_dir": log_dir,
            "progress": progress,
        }
        plan = network_plan(self, cases, self.scaler_.size, len(self.classes_))
        self.network_ = train_classifier(
            plan, sequences, labels, folds, recipe, title="network", **common
        )
        self.fnn_ = None
        if "fnn" in self.baselines:
            size = self.network_.modules[0].parameter_count
            inputs = window * self.scaler_.size
            self.fnn_ = train_classifier(
                feed_forward_plan(inputs, len(self.classes_), self.num_layers, size),
                sequences,
                labels,
                folds,
                recipe,
                title="fnn",
                window=window,
                **common,
            )
        self.plain_ = PlainBaselines.fit(
            self.baselines, sequences, labels, window, len(self.classes_)
        )
        models = self._models()
        self.comparison_ = (
            models.compare_out_of_fold(sequences, labels, folds, self._class_names())
            if held_apart is None
            else models.compare(*held_apart, self._class_names())
        )
        return self

    @property
    def n_features_in_(self) -> int:
        """I, number of channels."""
        check_fitted(self)
        return len(self.channels_)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each case, shape (N,).

        Args:
            X: As in `fit`; labels in it are not looked at.

        Raises:
            DataError: if the data is not what it should be.
        """
        likeliest = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[likeliest])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each of `classes_`, shape (N, C).

        Args:
            X: As in `fit`; labels in it are not looked at.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        cases = read_sequences(X, None, self.columns_, labelled=False)
        return self.network_.probabilities(self._scaled(cases))

    def predict_frame(self, data: Any) -> Any:
        """Class and probabilities of each case, as a dataframe of the kind given.

        Args:
            data: As in `fit`; labels in it are not looked at.

        Returns:
            Columns: the id (`case` where the data is no table), `prediction`, and `p_` with the
            name of each class.

        Raises:
            DataError: if the data is not what it should be.
        """
        check_fitted(self)
        cases = read_sequences(data, None, self.columns_, labelled=False)
        probabilities = self.network_.probabilities(self._scaled(cases))
        names = self._class_names()
        is_table = not cases.name.endswith(".ts") and cases.name != "X"
        columns: dict[str, Any] = {
            self.columns_.id if is_table else "case": list(cases.ids),
            "prediction": [names[index] for index in probabilities.argmax(axis=1)],
        }
        columns |= {f"p_{name}": probabilities[:, i] for i, name in enumerate(names)}
        return frame_like(data, columns)

    def evaluate(self, X: Any, y: Any = None) -> ClassComparison:
        """Compare with the rivals on labelled cases; nothing is trained.

        Args:
            X: As in `fit`.
            y: Labels, shape (N,); None where X has them.

        Raises:
            DataError: if the data is not what it should be, or has a label that was not trained.
        """
        check_fitted(self)
        sequences, labels = self._read_test(X if y is None else (X, y))
        return self._models().compare(sequences, labels, self._class_names())

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
            "task": "classify",
            "wiring": self.network_.plan.wiring.to_dict(),
            "settings": settings(self) | {"class_weight": self._written_weight()},
            "columns": dataclasses.asdict(self.columns_),
            "channels": list(self.channels_),
            "classes": self.classes_.tolist(),
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
        with reading(path, "classify") as file:
            document = file.document
            self = cls(**document["settings"])
            columns = document["columns"]
            self.columns_ = CaseColumns(**{**columns, "value": tuple(columns["value"])})
            self.channels_ = tuple(document["channels"])
            self.classes_ = np.array(document["classes"])
            if isinstance(self.class_weight, list):
                self.class_weight = dict(self.class_weight)
            self.scaler_ = scaler_from_dict(document["scaler"])
            self.trained_on_ = document["trained_on"]
            self.comparison_ = ClassComparison.from_dict(document["comparison"])
            parts = {
                name: TrainedClassifier.from_document(
                    ClassifyPlan.from_dict(part["plan"]),
                    part,
                    file.part(name),
                    window=part["window"],
                )
                for name, part in document["parts"].items()
            }
            self.network_, self.fnn_ = parts["network"], parts.get("fnn")
            self.plain_ = PlainBaselines(document["window"], len(self.classes_), file.part("plain"))
        return self

    def _check_arguments(self) -> None:
        check_network(self)
        check_baselines(self.baselines, KNOWN_CLASS_BASELINES)
        check_shares(self, "label_smoothing")
        if isinstance(self.class_weight, Mapping):
            for label, weight in self.class_weight.items():
                if not 0 < weight < float("inf"):
                    raise UsageError(f"class_weight is {weight} for {label!r}: it must be above 0")
        else:
            check_class_weight(self.class_weight)

    def _check_labels(self, cases: LabelledSequences) -> None:
        labels = self.classes_
        if labels.dtype.kind == "f" and not np.array_equal(labels, np.round(labels)):
            odd = labels[labels != np.round(labels)][0]
            raise DataError(
                f"{cases.name}: Unknown label type: continuous, such as {odd}; a classifier takes"
                " classes, SequenceRegressor takes numbers"
            )
        if len(labels) < 2:
            raise DataError(f"{cases.name}: all cases are of one class, {self._class_names()[0]!r}")

    def _class_weights(self, labels: NDArray[np.int64]) -> NDArray[np.float64] | None:
        if not isinstance(self.class_weight, Mapping):
            return None if self.class_weight is None else class_weights(labels)
        classes = self.classes_.tolist()
        unknown = [label for label in self.class_weight if label not in classes]
        if unknown:
            raise UsageError(
                f"class_weight names {unknown[0]!r}; the classes are"
                f" {', '.join(self._class_names())}"
            )
        return np.array([float(self.class_weight.get(label, 1)) for label in classes])

    def _written_weight(self) -> Any:
        """The class weight as a plain JSON value, whose keys would all be texts in a dict."""
        if not isinstance(self.class_weight, Mapping):
            return self.class_weight
        return plain_value([list(pair) for pair in self.class_weight.items()])

    def _class_names(self) -> list[str]:
        return [str(name) for name in self.classes_.tolist()]

    def _models(self) -> ClassModels:
        return ClassModels(self.network_, self.fnn_, self.plain_, remembers(self.feedback))

    def _scaled(self, cases: LabelledSequences) -> list[NDArray[np.float32]]:
        return scale_sequences(cases, self.scaler_, len(self.channels_))

    def _read_test(self, test: Any) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
        """Cases to compare on: scaled, and the numbers of their classes."""
        X, y = test if isinstance(test, tuple) else (test, None)
        # who the cases come from matters to a training alone
        columns = dataclasses.replace(self.columns_, group=None)
        cases = read_sequences(X, y, columns, labelled=True)
        find = class_finder(self.classes_.tolist())
        labels = np.asarray(cases.labels).tolist()
        numbers = []
        for case, label in zip(cases.ids, labels, strict=True):
            number = find(label)
            if number is None:
                raise DataError(
                    f"{cases.name}, case {case}: the label {str(label)!r} was not trained;"
                    f" the classes are {', '.join(self._class_names())}"
                )
            numbers.append(number)
        return self._scaled(cases), np.array(numbers)
