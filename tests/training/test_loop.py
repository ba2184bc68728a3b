from __future__ import annotations

import dataclasses
import itertools
import math
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from noria.errors import ModelFileError, ResourceError, UsageError
from noria.network import NetworkState
from noria.training.loop import History, TrainingConfig, Update, train
from noria.training.progress import watching
from tests.training.small import (
    CONFIG,
    LONG,
    PIECES,
    RunningMean,
    fresh_network,
    run,
    weights_of,
)


class Stop(Exception):  # noqa: N818 - no error, a way out
    """Leaves a training as an interrupt would."""


def stop_at(step: int) -> Any:
    def watch(update: Update) -> None:
        if update.step == step:
            raise Stop

    return watch


def but_seconds(history: History) -> dict[str, Any]:
    return dataclasses.asdict(history) | {"seconds": None}


@pytest.mark.parametrize("carries", [True, False])
@pytest.mark.parametrize("stop", range(1, CONFIG.steps + 1))
def test_a_resumed_training_is_the_uninterrupted_one(
    carries: bool, stop: int, tmp_path: Path
) -> None:
    whole = fresh_network()
    wanted = train(whole, RunningMean(whole, carries=carries), CONFIG)

    network = fresh_network()
    objective = RunningMean(network, carries=carries)
    kept: Any = {"checkpoint": tmp_path / "checkpoint", "resume": True}
    with pytest.raises(Stop):
        train(network, objective, CONFIG, **kept, on_update=stop_at(stop))
    network = fresh_network(seed=99)  # whatever it starts from
    torch.manual_seed(99)
    steps: list[int] = []
    history = train(
        network,
        RunningMean(network, carries=carries),
        CONFIG,
        **kept,
        on_update=lambda update: steps.append(update.step),
    )
    if stop > CONFIG.checkpoint_every:
        assert weights_of(network) == weights_of(whole)
        assert but_seconds(history) == but_seconds(wanted)
        done = (stop - 1) // CONFIG.checkpoint_every * CONFIG.checkpoint_every
        assert steps == list(range(done + 1, CONFIG.steps + 1))
    else:  # there was no checkpoint yet: it starts anew
        assert len(steps) == CONFIG.steps


def test_stopping_often_changes_nothing(tmp_path: Path) -> None:
    whole = fresh_network()
    config = dataclasses.replace(CONFIG, checkpoint_every=1)
    wanted = train(whole, RunningMean(whole), config)
    for stop in (3, 4, 7, 9):
        network = fresh_network()
        kept: Any = {"checkpoint": tmp_path / "checkpoint", "resume": True}
        with pytest.raises(Stop):
            train(network, RunningMean(network), config, **kept, on_update=stop_at(stop))
    network = fresh_network()
    history = train(network, RunningMean(network), config, **kept)
    assert weights_of(network) == weights_of(whole)
    assert but_seconds(history) == but_seconds(wanted)
    assert history.seconds > 0


def test_a_finished_training_resumes_to_its_end(tmp_path: Path) -> None:
    kept: Any = {"checkpoint": tmp_path / "checkpoint", "resume": True}
    ends = []
    for _ in range(2):
        network = fresh_network()
        history = train(network, RunningMean(network), CONFIG, **kept)
        ends.append((weights_of(network), but_seconds(history)))
    assert ends[0] == ends[1]


def test_without_resume_the_checkpoint_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"rubbish")
    network, alone = fresh_network(), fresh_network()
    train(network, RunningMean(network), CONFIG, checkpoint=tmp_path / "checkpoint")
    train(alone, RunningMean(alone), CONFIG)
    assert weights_of(network) == weights_of(alone)


def test_the_steps_are_those_of_a_loop_by_hand() -> None:
    network, other = fresh_network(), fresh_network()
    for net in (network, other):
        net.dropout = net.recurrent_dropout = 0.0
    config = dataclasses.replace(CONFIG, clip_norm=0.1, weight_decay=0.1, validate_every=100)
    train(network, RunningMean(network), config)

    objective = RunningMean(other)
    optimizer = torch.optim.AdamW(other.parameters(), weight_decay=0.1)
    state: NetworkState | None = None
    for step in range(config.steps):
        optimizer.param_groups[0]["lr"] = config.learning_rate_at(step)
        if step % PIECES == 0:
            state = None
        elif state is not None:  # back-propagation is cut here
            state = tuple(tuple(part.data.clone() for part in layer) for layer in state)
        loss, state = objective.loss(objective.batch(step)[0], state)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.cat([p.grad.flatten() for p in other.parameters()]).norm()  # type: ignore[union-attr]
        for parameter in other.parameters():
            assert parameter.grad is not None
            parameter.grad *= min(1.0, 0.1 / norm.item())
        optimizer.step()
    for (name, one), two in zip(network.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6, msg=name)


def test_the_state_is_carried_and_cut_off_from_its_gradients() -> None:
    network = fresh_network()
    objective = RunningMean(network)
    train(network, objective, CONFIG)
    for step, given in enumerate(objective.given):
        if step % PIECES == 0:
            assert given is None
            continue
        assert given is not None
        for layer, before in zip(given, objective.ended[step - 1], strict=True):
            for part, ended in zip(layer, before, strict=True):
                assert ended.requires_grad
                assert not part.requires_grad
                assert torch.equal(part, ended)


def test_the_seed_draws_the_dropout() -> None:
    ends = []
    for seed in (3, 3, 4):
        network = fresh_network()
        train(network, RunningMean(network), dataclasses.replace(CONFIG, seed=seed))
        ends.append(weights_of(network))
    assert ends[0] == ends[1] != ends[2]


class Scripted:
    """A weight that only grows, with validation losses as told."""

    def __init__(self, model: nn.Linear, validations: list[float]) -> None:
        self.model = model
        self.validations = iter(validations)
        self.seen: list[float] = []

    def batch(self, step: int) -> tuple[None, bool]:
        return None, False

    def loss(self, batch: None, state: NetworkState | None) -> tuple[Tensor, None]:
        assert self.model.training
        return -self.model.weight.sum(), None

    def validate(self) -> float:
        assert not self.model.training
        assert not torch.is_grad_enabled()
        self.seen.append(self.model.weight.item())
        return next(self.validations)


@pytest.mark.parametrize(
    ("validations", "best", "validated", "early"),
    [
        ([5.0, 4.0, 3.0, 2.0, 1.0], 4, 5, False),
        ([5.0, 1.0, 2.0, 2.0, 0.0], 1, 4, True),
        ([5.0, 1.0, 2.0, 0.5, 3.0], 3, 5, False),
        ([1.0, 1.0, 1.0], 0, 3, True),  # as good is not better
    ],
)
def test_early_stopping_keeps_the_best_weights(
    validations: list[float], best: int, validated: int, early: bool
) -> None:
    model = nn.Linear(1, 1, bias=False)
    objective = Scripted(model, validations)
    history = train(model, objective, TrainingConfig(steps=10, validate_every=2, patience=2))
    assert len(set(objective.seen)) == validated
    assert model.weight.item() == objective.seen[best]
    assert not model.training
    assert history.best_step == 2 * (best + 1)
    assert history.step == [2 * (n + 1) for n in range(validated)]
    assert history.validation == validations[:validated]
    assert history.stopped_early == early


def test_without_patience_the_last_weights_are_kept() -> None:
    model = nn.Linear(1, 1, bias=False)
    objective = Scripted(model, [1.0, 2.0, 3.0, 4.0])
    history = train(model, objective, TrainingConfig(steps=4, validate_every=1, patience=None))
    assert model.weight.item() == objective.seen[-1]
    assert len(set(objective.seen)) == 4
    assert (history.best_step, history.stopped_early) == (4, False)


class Rising(Scripted):
    """Training losses as told too."""

    def __init__(self, model: nn.Linear, losses: list[float]) -> None:
        super().__init__(model, losses)
        self.losses = iter(losses)

    def loss(self, batch: None, state: NetworkState | None) -> tuple[Tensor, None]:
        return 0 * self.model.weight.sum() + next(self.losses), None


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ([3.0, 2.0, 1.0, 2.0, 2.0, 2.5, 3.0], 5),
        ([3.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0], None),
        ([-1.0, -5.0, -1.0, -1.0], 4),
        ([0.693, 0.690, 0.692, 0.692, 0.693], None),
        ([3.0, 2.0, 1.0, 1.2, 1.3, 1.4], None),
    ],
)
def test_a_training_that_diverges_is_told_of_once(losses: list[float], told: int | None) -> None:
    model = nn.Linear(1, 1, bias=False)
    config = TrainingConfig(steps=len(losses), validate_every=1, patience=9)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        train(model, Rising(model, losses), config)
    texts = [str(one.message) for one in found if issubclass(one.category, RuntimeWarning)]
    assert len(texts) == (told is not None)
    if told is not None:
        assert f"diverges: at step {told} its loss is" in texts[0]
        assert "lower learning_rate" in texts[0]


def test_overfitting_is_not_divergence() -> None:
    model = nn.Linear(1, 1, bias=False)
    objective = Scripted(model, [3.0, 1.0, 2.0, 3.0, 4.0])
    train(model, objective, TrainingConfig(steps=5, validate_every=1, patience=9))


def test_a_resumed_training_has_no_more_patience_than_one_run(tmp_path: Path) -> None:
    config = TrainingConfig(steps=20, validate_every=2, checkpoint_every=2, patience=3)
    kept: Any = {"checkpoint": tmp_path / "checkpoint", "resume": True}
    validations = [5.0, 1.0, *[2.0] * 8]
    model = nn.Linear(1, 1, bias=False)
    with pytest.raises(Stop):
        train(model, Scripted(model, validations), config, **kept, on_update=stop_at(7))
    history = train(model, Scripted(model, validations[3:]), config, **kept)
    assert history.validation == validations[:5]
    assert (history.best_step, history.stopped_early) == (4, True)


def test_training_losses_are_means_since_the_last_validation() -> None:
    network = fresh_network()
    updates: list[Update] = []
    config = dataclasses.replace(CONFIG, validate_every=4)
    history = train(network, RunningMean(network), config, on_update=updates.append)
    assert history.step == [4, 8, 10]  # and after the last step
    losses = [update.loss for update in updates]
    wanted = [sum(part) / len(part) for part in (losses[:4], losses[4:8], losses[8:])]
    assert history.training == pytest.approx(wanted)
    assert [u.step for u in updates if u.validated] == [4, 8, 10]
    assert math.isnan(updates[0].validation)
    assert updates[5].validation == history.validation[0]
    assert [u.learning_rate for u in updates] == [config.learning_rate_at(n) for n in range(10)]


def test_the_schedule_rises_and_falls() -> None:
    config = TrainingConfig(steps=100, learning_rate=0.5)
    rates = [config.learning_rate_at(step) for step in range(100)]
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert rates[5] == pytest.approx(0.5)
    assert all(a > b for a, b in itertools.pairwise(rates[5:]))
    assert config.learning_rate_at(5 + 95 // 2) == pytest.approx(0.505 * 0.5, rel=0.02)
    assert rates[-1] == pytest.approx(0.005, rel=0.05)


@pytest.mark.parametrize("steps", [1, 2, 19])
def test_the_schedule_of_few_steps(steps: int) -> None:
    config = TrainingConfig(steps=steps, learning_rate=0.5)
    assert config.learning_rate_at(0) == 0.5
    assert all(0 < config.learning_rate_at(step) <= 0.5 for step in range(steps))


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"validate_every": 0},
        {"patience": 0},
        {"checkpoint_every": -1},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"clip_norm": -1.0},
        {"seed": -1},
    ],
)
def test_a_config_that_cannot_be_meant(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        TrainingConfig(**changes)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number(bad: float, tmp_path: Path) -> None:
    network = fresh_network()
    objective = RunningMean(network)
    data = objective._data
    objective._data = lambda step: (data(step)[0], data(step)[1] * (bad if step == 6 else 1))  # type: ignore[method-assign]
    with pytest.raises(UsageError, match=r"the loss is (nan|inf) at step 7: lower learning_rate"):
        train(network, objective, CONFIG)
    assert all(p.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_validation_loss_that_is_no_number(bad: float) -> None:
    model = nn.Linear(1, 1, bias=False)
    with pytest.raises(UsageError, match=r"the validation loss is (nan|inf) at step 4"):
        train(model, Scripted(model, [1.0, bad]), TrainingConfig(steps=9, validate_every=2))


def test_a_checkpoint_of_other_data_or_settings(tmp_path: Path) -> None:
    kept: Any = {"checkpoint": tmp_path / "checkpoint", "resume": True}
    network = fresh_network()
    train(network, RunningMean(network), CONFIG, fingerprint="a", **kept)
    before = weights_of(network)
    with pytest.raises(ModelFileError, match="other data or settings"):
        train(network, RunningMean(network), CONFIG, fingerprint="b", **kept)
    assert weights_of(network) == before
    model = nn.Linear(1, 1)
    with pytest.raises(ModelFileError, match="model with other weights"):
        train(model, Scripted(model, []), CONFIG, fingerprint="a", **kept)  # type: ignore[arg-type]


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"rubbish")
    network = fresh_network()
    kept: Any = {"checkpoint": tmp_path / "checkpoint", "resume": True}
    with pytest.raises(ModelFileError, match="is damaged"):
        train(network, RunningMean(network), CONFIG, **kept)


def test_a_checkpoint_that_cannot_be_written(tmp_path: Path) -> None:
    network = fresh_network()
    with pytest.raises(ResourceError, match="cannot be written"):
        train(network, RunningMean(network), CONFIG, checkpoint=tmp_path / "missing" / "file")


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.long)])
def test_killed_at_any_moment(kills: int, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run(tmp_path / "whole", LONG)
    torch.set_num_threads(threads)

    draw = random.Random(kills)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.training.small", str(tmp_path / "killed")]
    reached = 0
    for _ in range(kills):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            first = int(process.stdout.readline())
            assert first >= reached  # it goes on where the one before was killed
            for _ in range(draw.randrange(LONG.steps // kills - 5)):
                reached = int(process.stdout.readline())
            time.sleep(draw.uniform(0, 0.005))
            process.kill()
            assert process.wait() == -signal.SIGKILL
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    wanted = (tmp_path / "whole" / "weights").read_bytes()
    assert (tmp_path / "killed" / "weights").read_bytes() == wanted


def test_events_for_tensorboard(tmp_path: Path) -> None:
    network = fresh_network()
    with watching("small", log_dir=tmp_path, bar=False) as on_update:
        history = train(network, RunningMean(network), CONFIG, on_update=on_update)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss/training", "loss/validation", "learning_rate"}
    assert [e.step for e in events.Scalars("loss/training")] == list(range(1, 11))
    validation = events.Scalars("loss/validation")
    assert [e.step for e in validation] == history.step
    assert [e.value for e in validation] == pytest.approx(history.validation)
    rates = [e.value for e in events.Scalars("learning_rate")]
    assert rates == pytest.approx([CONFIG.learning_rate_at(step) for step in range(10)])


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_on_a_terminal_only(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    network = fresh_network()
    with watching("small") as on_update:
        train(network, RunningMean(network), CONFIG, on_update=on_update)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("10/10" in err) == terminal
