"""Scripts that run in a process of their own, on an instruction set of their own."""

from __future__ import annotations

import os
import subprocess
import sys


def run_on(wanted: str, script: str) -> str:
    """What a script prints; it sees "avx512", say, or the best below that the machine has."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"NORIA_ISA": wanted},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def fused_digests(script: str) -> dict[str, str]:
    """By instruction set the digest that a script prints behind its name, on AVX2 and AVX-512."""
    return dict(run_on(wanted, script).split() for wanted in ("avx2", "avx512"))
