from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save_file
from torch import Tensor

from noria.errors import ModelFileError, ResourceError
from noria.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

CHECKPOINT = Checkpoint(
    "fingerprint",
    {"step": 3, "losses": [0.1, 1e-300], "history": {"best_step": 2}},
    {
        "model.a": torch.tensor([[1.5, -2.0]]),
        "model.b.c": torch.tensor(3.0),
        "best.a": torch.zeros(1, 2, dtype=torch.float64),
        "state.0.0": torch.full((2, 1), 0.1, dtype=torch.bfloat16),
    },
)


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "checkpoint", CHECKPOINT)
    return tmp_path / "checkpoint"


def test_what_goes_in_comes_out(path: Path) -> None:
    read = read_checkpoint(path, "fingerprint")
    assert (read.fingerprint, read.progress) == (CHECKPOINT.fingerprint, CHECKPOINT.progress)
    assert_equal(read.tensors, CHECKPOINT.tensors)


@given(st.lists(st.floats(allow_nan=False), max_size=5), st.text(max_size=5))
def test_numbers_keep_their_bits(
    tmp_path_factory: pytest.TempPathFactory, losses: list[float], fingerprint: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "checkpoint"
    write_checkpoint(path, Checkpoint(fingerprint, {"losses": losses}, {}))
    read = read_checkpoint(path, fingerprint).progress["losses"]
    assert [x.hex() for x in read] == [x.hex() for x in losses]


def test_tensors_of_any_strides(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4).T, "b": torch.randn(6)[::2], "c": torch.randn(2, 0)}
    write_checkpoint(tmp_path / "c", Checkpoint("", {}, tensors))
    assert_equal(read_checkpoint(tmp_path / "c", "").tensors, tensors)


def test_under_takes_the_prefix_off() -> None:
    assert_equal(
        CHECKPOINT.under("model"),
        {"a": CHECKPOINT.tensors["model.a"], "b.c": CHECKPOINT.tensors["model.b.c"]},
    )
    assert CHECKPOINT.under("mod") == {}


def test_no_pickle(path: Path) -> None:
    assert_equal(load(path.read_bytes()), CHECKPOINT.tensors)


def test_another_fingerprint(path: Path) -> None:
    with pytest.raises(ModelFileError, match="was written for other data or settings"):
        read_checkpoint(path, "another")


def refuse(path: Path) -> None:
    with pytest.raises(ModelFileError) as error:
        read_checkpoint(path, "fingerprint")
    assert str(path) in str(error.value)


def test_every_truncation_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        refuse(path)


def test_every_flipped_byte_is_refused(path: Path) -> None:
    content = path.read_bytes()
    padding = content.find(b"}}") + 2  # spaces after the header say nothing
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x01
        path.write_bytes(damaged)
        try:
            read = read_checkpoint(path, "fingerprint")
        except ModelFileError as error:
            assert str(path) in str(error)  # noqa: PT017 - the other branch is fine too
        else:
            assert place >= padding
            assert read.progress == CHECKPOINT.progress
            assert_equal(read.tensors, CHECKPOINT.tensors)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {"format": "noria-checkpoint-1"},
        {"format": "noria-checkpoint-1", "run": "{", "sha256": "0"},
    ],
)
def test_a_foreign_safetensors_file(tmp_path: Path, metadata: Any) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "c", metadata)
    refuse(tmp_path / "c")


def test_no_file(tmp_path: Path) -> None:
    refuse(tmp_path)
    refuse(tmp_path / "missing")
    (tmp_path / "empty").touch()
    refuse(tmp_path / "empty")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be written"):
        write_checkpoint(tmp_path / "missing" / "c", CHECKPOINT)


def test_the_progress_is_json(path: Path) -> None:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["run"])["progress"] == CHECKPOINT.progress
