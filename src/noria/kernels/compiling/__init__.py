"""Cells of one's own as native code: derivatives by sympy, machine code by LLVM."""

from __future__ import annotations

from noria.kernels.compiling.compiled import compiled, missing_library

__all__ = ["compiled", "missing_library"]
