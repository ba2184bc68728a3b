from typing import Any

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[Any]
_Lengths = NDArray[np.int64] | None

OwnCell = tuple[
    int,  # gates
    int,  # states
    int,  # parameters
    int,  # kept
    list[int],  # gate_of
    int,  # address of the way forward
    int,  # address of the way back
]
_Layer = tuple[
    int,  # cell
    OwnCell | None,
    bool,  # carries_state
    int,  # hidden
    _Array,  # weight_ih
    _Array,  # bias_ih
    _Array | None,  # bias_hh
    _Array | None,  # parameters
    _Array | None,  # weight_norm
    list[tuple[int, _Array]],  # source and weight_hh
    _Array | None,  # recurrent_mask
    _Array | None,  # input_mask
]
_LayerGradients = tuple[_Array, _Array, _Array, _Array, _Array, list[_Array], list[_Array]]
_Draw = tuple[float, int, float, float]  # temperature, top_k, top_p, repetition_penalty

def thread_count() -> int: ...
def set_thread_count(count: int) -> None: ...
def instruction_set() -> str: ...
def scan_float32(
    cell: int,
    recurrence: int,
    reverse: bool,
    x: _Array,
    weight_ih: _Array,
    weight_hh: _Array | None,
    bias_ih: _Array,
    bias_hh: _Array,
    state: list[_Array],
    lengths: _Lengths,
    mask: _Array | None,
    save: bool,
) -> tuple[_Array, _Array, _Array, _Array]: ...
def scan_backward_float32(
    cell: int,
    recurrence: int,
    reverse: bool,
    x: _Array,
    weight_ih: _Array,
    weight_hh: _Array | None,
    bias_ih: _Array,
    bias_hh: _Array,
    state: list[_Array],
    lengths: _Lengths,
    mask: _Array | None,
    y: _Array,
    saved: _Array,
    grad_y: _Array,
    grad_state: list[_Array],
) -> tuple[_Array, _Array, _Array, _Array, _Array, _Array, _Array]: ...
def pack_float32(
    cell: int,
    recurrence: int,
    hidden: int,
    weight_ih: _Array,
    weight_hh: _Array | None,
    bias_ih: _Array,
    bias_hh: _Array,
    int8: bool,
) -> _Array: ...
def scan_packed_float32(
    cell: int,
    recurrence: int,
    reverse: bool,
    x: _Array,
    packed: _Array,
    int8: bool,
    h: _Array,
    c: _Array | None,
    lengths: _Lengths,
) -> tuple[_Array, _Array, _Array, _Array]: ...
def scan_stack_float32(
    layers: list[_Layer],
    x: _Array,
    state: list[list[_Array]],
    lengths: _Lengths,
    reverse: bool,
    save: bool,
) -> tuple[list[_Array], list[list[_Array]], _Array]: ...
def pack_stack_float32(layers: list[_Layer], int8: bool) -> _Array: ...
def scan_stack_packed_float32(
    layers: list[_Layer],
    packed: _Array,
    int8: bool,
    x: _Array,
    state: list[list[_Array]],
    lengths: _Lengths,
) -> tuple[list[_Array], list[list[_Array]], _Array]: ...
def scan_stack_backward_float32(
    layers: list[_Layer],
    x: _Array,
    state: list[list[_Array]],
    lengths: _Lengths,
    reverse: bool,
    ys: list[_Array],
    saved: _Array,
    grad_y: _Array,
    grad_state: list[list[_Array]],
) -> tuple[_Array, list[_LayerGradients]]: ...
def linear_float32(x: _Array, weight: _Array, bias: _Array | None) -> _Array: ...
def sigmoid_float32(x: _Array) -> _Array: ...
def tanh_float32(x: _Array) -> _Array: ...
def draw_float32(how: _Draw, logits: _Array, uniforms: _Array, recent: _Array | None) -> _Array: ...

class Stepper_float32:  # noqa: N801
    def __init__(self, layers: list[_Layer], packed: _Array, int8: bool, batch: int) -> None: ...
    def step(self, x: _Array, out: _Array | None = None) -> _Array: ...
    def step_index(self, index: _Array, out: _Array | None = None) -> _Array: ...
    def write(
        self,
        how: _Draw,
        logits: _Array,
        barred: _Array,
        uniforms: _Array,
        recent: _Array,
        written: int,
    ) -> _Array: ...
    def state(self) -> list[list[_Array]]: ...
    def set_state(self, state: list[list[_Array]]) -> None: ...

scan_float64 = scan_float32
scan_backward_float64 = scan_backward_float32
pack_float64 = pack_float32
scan_packed_float64 = scan_packed_float32
scan_stack_float64 = scan_stack_float32
pack_stack_float64 = pack_stack_float32
scan_stack_packed_float64 = scan_stack_packed_float32
scan_stack_backward_float64 = scan_stack_backward_float32
linear_float64 = linear_float32
sigmoid_float64 = sigmoid_float32
tanh_float64 = tanh_float32
draw_float64 = draw_float32
Stepper_float64 = Stepper_float32
