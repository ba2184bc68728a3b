"""A file is the old one or the new one, whatever happens."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noria.errors import ResourceError
from noria.runtime.files import content_hash, replace_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"old")
    return tmp_path / "file"


def test_makes_and_replaces(path: Path) -> None:
    replace_file(path, b"new")
    replace_file(path.with_name("other"), b"")
    assert path.read_bytes() == b"new"
    assert sorted(p.name for p in path.parent.iterdir()) == ["file", "other"]


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_in_the_middle_leaves_the_old_file_and_no_litter(
    path: Path, call: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(call, fail)
    expected = ResourceError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as raised:
        replace_file(path, b"new")
    monkeypatch.undo()
    if isinstance(error, OSError):
        assert str(raised.value) == f"{path} cannot be written: No space left on device"
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_the_new_content_is_on_the_disk_before_it_takes_the_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("sync"), fsync(handle)))
    monkeypatch.setattr(Path, "replace", lambda *a: (order.append("replace"), replace(*a)))
    replace_file(path, b"new")
    assert order == ["sync", "replace", "sync"]  # the last one is the folder's


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_permissions_follow_the_umask(path: Path, umask: int) -> None:
    replace_file(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert os.umask(umask) == umask


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "file", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(ResourceError, match="cannot be written"):
            replace_file(path, b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_many_writers_leave_one_whole_file(path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    writers = [threading.Thread(target=replace_file, args=(path, c)) for c in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_bytes() in contents
    assert list(path.parent.iterdir()) == [path]


ARRAYS = {"a": np.zeros((2, 3)), "b": np.zeros(1)}


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("text.", ARRAYS),
        ("text", {"a": ARRAYS["a"]}),
        ("text", {"a": ARRAYS["a"], "c": ARRAYS["b"]}),
        ("text", {"a": ARRAYS["a"].T, "b": ARRAYS["b"]}),
        ("text", {"a": ARRAYS["a"].astype("int64"), "b": ARRAYS["b"]}),
        ("text", {"a": ARRAYS["a"], "b": np.array([1e-300])}),
        ("text", {"a": ARRAYS["a"], "b": np.array([-0.0])}),
    ],
)
def test_any_difference_changes_the_hash(text: str, other: dict[str, Any]) -> None:
    assert content_hash(text, other) != content_hash("text", ARRAYS)


def test_the_order_of_the_arrays_does_not_change_the_hash() -> None:
    backwards = dict(reversed(ARRAYS.items()))
    assert content_hash("text", backwards) == content_hash("text", ARRAYS)
