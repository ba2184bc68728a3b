"""A torch.nn layer as an ONNX Runtime session, scanning or stepping."""

from collections.abc import Callable
from typing import Any

import numpy as np

# torch: i f g o, r z n      ONNX: i o f c, z r h
ORDER = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2], "rnn": [0]}


def session(cell: str, layer: Any, threads: int, steps: int | None) -> Any:
    """An inference session of x (T, B, I) and the states (1, B, H), to y (T, 1, B, H) and states.

    Args:
        cell: "lstm", "gru" or "rnn".
        layer: torch.nn.LSTM, GRU or RNN, of one layer.
        threads: How many ONNX Runtime may use.
        steps: T, or None for any.
    """
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    inputs, hidden = layer.input_size, layer.hidden_size

    def weight(name: str) -> np.ndarray:
        array = layer.get_parameter(f"{name}_l0").detach().numpy()
        blocks = np.split(array, len(ORDER[cell]))
        return np.concatenate([blocks[gate] for gate in ORDER[cell]])

    constants = {
        "W": weight("weight_ih")[None],
        "R": weight("weight_hh")[None],
        "B": np.concatenate([weight("bias_ih"), weight("bias_hh")])[None],
    }
    states = ["h", "c"] if cell == "lstm" else ["h"]
    attributes = {"linear_before_reset": 1} if cell == "gru" else {}
    node = helper.make_node(
        cell.upper(),
        ["x", "W", "R", "B", "", *states],
        ["y", *(f"{state}_n" for state in states)],
        hidden_size=hidden,
        **attributes,
    )

    def value(name: str, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [node],
        cell,
        [value("x", steps or "T", "B", inputs), *(value(s, 1, "B", hidden) for s in states)],
        [
            value("y", steps or "T", 1, "B", hidden),
            *(value(f"{s}_n", 1, "B", hidden) for s in states),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def scan(cell: str, layer: Any, x: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
    """A whole sequence, x (B, T, I), from zeros; returns y (T, 1, B, H)."""
    run = session(cell, layer, threads, x.shape[1])
    zeros = np.zeros((1, len(x), layer.hidden_size), "float32")
    feed = {"x": np.ascontiguousarray(x.swapaxes(0, 1)), "h": zeros}
    if cell == "lstm":
        feed["c"] = zeros
    return lambda: run.run(["y"], feed)[0]


def step(layer: Any, x: np.ndarray) -> Callable[[], np.ndarray]:
    """One step of an LSTM a call, which goes on from the last; x (1, I); returns h (1, 1, H)."""
    run = session("lstm", layer, 1, 1)
    feed = {"x": x[None]}
    feed["h"] = feed["c"] = np.zeros((1, 1, layer.hidden_size), "float32")

    def once() -> np.ndarray:
        feed["h"], feed["c"] = run.run(["h_n", "c_n"], feed)
        return feed["h"]

    return once
