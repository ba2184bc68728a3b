"""The model file: what goes in comes out, and damage is always named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load, save, save_file

from noria.cells import LSTM
from noria.errors import ModelFileError, ResourceError
from noria.runtime import read_model, write_model
from noria.wiring import Wiring

WIRING = Wiring.build(1, [LSTM(1)], output_size=1)
DOCUMENT: dict[str, Any] = {"task": "forecast", "wiring": WIRING.to_dict(), "scale": 0.1, "é": None}


def model(folder: Path, **changes: Any) -> Path:
    path = folder / "model.noria"
    write_model(path, DOCUMENT | changes, {"a": np.float32([1.5, -2.0]), "b": np.int64([[3]])})
    return path


@given(
    st.dictionaries(
        st.text(max_size=5),
        arrays.arrays(
            st.sampled_from(["float32", "float64", "int64", "uint8", "bool"]),
            arrays.array_shapes(min_dims=0, min_side=0, max_side=4),
        ),
        max_size=3,
    )
)
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.noria"
    write_model(path, DOCUMENT, weights)
    read = read_model(path)
    assert read.document == {"format": "noria", "version": 1, **json.loads(json.dumps(DOCUMENT))}
    assert read.task == "forecast"
    assert read.wiring == WIRING
    assert read.weights.keys() == weights.keys()
    for name, array in weights.items():
        found = read.weights[name]
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()


def test_weights_of_any_strides(tmp_path: Path) -> None:
    weight = np.arange(12.0).reshape(3, 4).T[::2]
    write_model(tmp_path / "m", DOCUMENT, {"w": weight})
    assert np.array_equal(read_model(tmp_path / "m").weights["w"], weight)


def test_the_hash_names_the_model(tmp_path: Path) -> None:
    first = read_model(model(tmp_path)).sha256
    assert read_model(str(model(tmp_path))).sha256 == first
    assert read_model(model(tmp_path, scale=0.2)).sha256 != first
    write_model(tmp_path / "m", DOCUMENT, {"a": np.float32([1.5, 2.0]), "b": np.int64([[3]])})
    assert read_model(tmp_path / "m").sha256 != first


def test_no_pickle(tmp_path: Path) -> None:
    content = model(tmp_path).read_bytes()
    assert set(load(content)) == {"a", "b"}
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    assert json.loads(header["__metadata__"]["noria"])["task"] == "forecast"


def refuse(path: Path, message: str | None = None) -> None:
    with pytest.raises(ModelFileError, match=message) as error:
        read_model(path)
    assert str(path) in str(error.value)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = model(tmp_path)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        refuse(path, "damaged")
    path.write_bytes(content + b"\0")
    refuse(path, "damaged")


def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = model(tmp_path)
    whole = read_model(path)
    content = path.read_bytes()
    for place in range(len(content)):
        for flip in (0x01, 0x20):
            damaged = bytearray(content)
            damaged[place] ^= flip
            path.write_bytes(damaged)
            try:
                read = read_model(path)
            except ModelFileError as error:
                assert str(path) in str(error)  # noqa: PT017 - the other branch is fine too
            else:  # where a flip changes nothing that is read, such as the header's padding
                assert read.sha256 == whole.sha256, f"byte {place} ^ {flip}"
                assert read.document == whole.document
                assert read.weights.keys() == whole.weights.keys()


@given(st.binary(max_size=64))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.noria"
    path.write_bytes(content)
    refuse(path, "damaged")


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    path = tmp_path / "m"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    refuse(path, "damaged")
    path.write_bytes((2**63).to_bytes(8, "little") + header)
    refuse(path, "damaged")


def test_a_foreign_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "m"
    for metadata in (None, {"format": "pt"}):
        save_file({"a": np.zeros(3)}, path, metadata)
        refuse(path, "is a safetensors file, but no model of Noria's")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not one of Noria's"),
        ("{", "damaged"),
        ("[" * 100_000, "damaged"),
        ('{"format": "other"}', "not one of Noria's"),
        ('{"format": "noria", "version": 2}', "has version 2 of the model format"),
        ('{"format": "noria"}', "has version None"),
        ('{"format": "noria", "version": 1}', "does not match its hash"),
    ],
)
def test_another_document(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m"
    save_file({"a": np.zeros(3)}, path, {"noria": text, "sha256": "0"})
    refuse(path, message)


@pytest.mark.parametrize("wiring", [{}, None, [], {**WIRING.to_dict(), "layers": []}])
def test_a_document_without_a_wiring(tmp_path: Path, wiring: Any) -> None:
    refuse(model(tmp_path, wiring=wiring), "damaged: not a wiring")


@pytest.mark.parametrize("key", ["task", "wiring"])
def test_a_document_that_lacks_something(tmp_path: Path, key: str) -> None:
    document = {k: v for k, v in DOCUMENT.items() if k != key}
    write_model(tmp_path / "m", document, {})
    refuse(tmp_path / "m", key)


def test_no_file(tmp_path: Path) -> None:
    refuse(tmp_path / "model.noria", "there is no such model file")
    refuse(tmp_path, "is a folder; name a model file")
    (tmp_path / "empty").touch()
    refuse(tmp_path / "empty", "damaged")


def test_a_dtype_that_numpy_does_not_have(tmp_path: Path) -> None:
    path = model(tmp_path)
    content = path.read_bytes().replace(b'"F32"', b'"U16"').replace(b'"I64"', b'"C64"')
    path.write_bytes(content)
    refuse(path)
    metadata = {"noria": "{}", "sha256": "0"}
    path.write_bytes(save({"a": np.zeros(3, "float16")}, metadata).replace(b'"F16"', b'"BF16"'))
    refuse(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be written"):
        model(tmp_path / "missing")
