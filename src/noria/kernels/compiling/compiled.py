"""Cells of one's own as machine code, compiled at first use and kept on disk.

What is kept is an object file and how many vectors a step keeps, under a hash of all that made
them: the equations, the versions of the libraries and of this code, the instruction set. The code
is for an instruction set, not for one processor, so its bits are those of any machine that has it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import stat
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noria.equations import Equations
from noria.kernels.threads import instruction_set

if TYPE_CHECKING:
    from noria.kernels._native import OwnCell

__all__ = ["compiled", "missing_library"]

_VECTOR_BYTES = {"avx512": 64, "avx2": 32, "baseline": 16}
_X86 = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "baseline": "x86-64"}
_ELEMENT_BYTES = {"float32": 4, "float64": 8}
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child has no thread that could let go of it
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
_engines: list[object] = []  # code must outlive whoever may run it


def missing_library(*, save: bool = True) -> str | None:
    """The library that compiling needs and that is not installed.

    Args:
        save: Whether derivatives are needed, which take sympy.
    """
    wanted = ("llvmlite", "sympy") if save else ("llvmlite",)
    return next((name for name in wanted if importlib.util.find_spec(name) is None), None)


def compiled(meaning: Equations, dtype: str, *, save: bool) -> OwnCell:
    """The native code of a cell.

    Args:
        meaning: Its equations.
        dtype: "float32" or "float64".
        save: Whether its step keeps what the way back needs, and the way back is there too.
    """
    with _lock:
        return _compiled(meaning, dtype, save)


@functools.cache
def _compiled(meaning: Equations, dtype: str, save: bool) -> OwnCell:
    path = _cache_folder()
    if path is not None:
        path /= f"{_key(meaning, dtype, save)}.cell"
    code = None if path is None else _read(path)
    if code is None:
        code = _compile(meaning, dtype, save)
        if path is not None:
            _write(path, code)
    forward, backward = _load(code)
    return (
        len(meaning.gates),
        len(meaning.states),
        len(meaning.parameters),
        code.kept,
        list(meaning.slot_gates),
        forward,
        backward,
    )


@dataclasses.dataclass(frozen=True)
class _Code:
    kept: int
    machine: bytes


def _compile(meaning: Equations, dtype: str, save: bool) -> _Code:
    from llvmlite import binding

    from noria.kernels.compiling.functions import kept_size, write_module

    derivatives = None
    if save:
        from noria.kernels.compiling.derive import derive

        derivatives = derive(meaning)
    isa = instruction_set()
    width = _VECTOR_BYTES[isa] // _ELEMENT_BYTES[dtype]
    text = write_module(
        meaning, derivatives, dtype, width, fuses=isa != "baseline" or not _on_x86()
    )
    machine = _machine()
    module = binding.parse_assembly(text)
    module.verify()
    passes = binding.create_pass_builder(
        machine, binding.create_pipeline_tuning_options(speed_level=2)
    )
    passes.getModulePassManager().run(module, passes)
    return _Code(kept_size(meaning, derivatives), machine.emit_object(module))


def _load(code: _Code) -> tuple[int, int]:
    """The addresses of the way forward and of the way back, 0 where it is not there."""
    from llvmlite import binding

    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code.machine))
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address("forward"), engine.get_function_address("backward")


def _on_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def _machine() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    cpu = _X86[instruction_set()] if _on_x86() else ""
    return binding.Target.from_default_triple().create_target_machine(
        cpu=cpu, features="", opt=2, jit=True
    )


def _cache_folder() -> Path | None:
    """Where code is kept; None where no folder of the user's own can be had."""
    chosen = os.environ.get("NORIA_CACHE_DIR")
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(chosen) if chosen else Path(base, "noria")
        folder /= "cells"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, RuntimeError):
        return None
    # it will be run: nobody else may have put it there
    if hasattr(os, "getuid") and (
        found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        return None
    return folder


def _key(meaning: Equations, dtype: str, save: bool) -> str:
    versions = [importlib.metadata.version(name) for name in ("llvmlite", "sympy")[: 1 + save]]
    about = [dataclasses.astuple(meaning), dtype, save, instruction_set(), platform.machine()]
    text = json.dumps([about, versions, platform.system(), _source_hash()])
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _source_hash() -> str:
    """Of the modules that decide what is compiled."""
    here = Path(__file__)
    digest = hashlib.sha256()
    for path in (*sorted(here.parent.glob("*.py")), here.parents[2] / "equations.py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> _Code | None:
    """What was kept; None where there is nothing or it is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    checksum, content = data[:32], data[32:]
    if len(content) < 2 or hashlib.sha256(content).digest() != checksum:
        return None
    return _Code(int.from_bytes(content[:2], "little"), content[2:])


def _write(path: Path, code: _Code) -> None:
    """Keep code: the whole file or none; where the disk does not take it, it is compiled again."""
    content = code.kept.to_bytes(2, "little") + code.machine
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            whole = Path(file.name)
            try:
                file.write(hashlib.sha256(content).digest() + content)
                file.flush()
                whole.replace(path)
            except OSError:
                whole.unlink()
    except OSError:
        return
