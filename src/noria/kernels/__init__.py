"""The door to the native core: numpy arrays in, numpy arrays out, no torch.

`explain` says whether a configuration runs here, and why not; `scan` runs a sequence,
`scan_backward` its gradients, `linear` an output layer; `pack` and `scan_packed` make single steps
cheap. `scan_stack` and its kin do the same for layers that feed each other. A `Stepper` holds the
states of streams and advances them step by step; `draw` draws what comes next, and the stepper
writes on with it. The forward pass gives the same bits whole or in chunks, alone or in a batch, on
any number of threads.
"""

from __future__ import annotations

from noria.kernels.drawing import Draw, draw
from noria.kernels.packed import Packed, pack, scan_packed
from noria.kernels.scan import Gradients, Saved, Scan, explain, linear, scan, scan_backward
from noria.kernels.stack import (
    LayerGradients,
    PackedStack,
    SavedStack,
    StackGradients,
    StackLayer,
    StackScan,
    pack_stack,
    scan_stack,
    scan_stack_backward,
    scan_stack_packed,
)
from noria.kernels.stepper import Stepper
from noria.kernels.threads import get_num_threads, instruction_set, set_num_threads

__all__ = [
    "Draw",
    "Gradients",
    "LayerGradients",
    "Packed",
    "PackedStack",
    "Saved",
    "SavedStack",
    "Scan",
    "StackGradients",
    "StackLayer",
    "StackScan",
    "Stepper",
    "draw",
    "explain",
    "get_num_threads",
    "instruction_set",
    "linear",
    "pack",
    "pack_stack",
    "scan",
    "scan_backward",
    "scan_packed",
    "scan_stack",
    "scan_stack_backward",
    "scan_stack_packed",
    "set_num_threads",
]
