"""The same recurrences in JAX: lax.scan under jit, the first input product ahead of the loop."""

from collections.abc import Callable
from typing import Any

import numpy as np
from grid import CELLS

Weights = list[dict[str, Any]]


def layer_weights(layer: Any) -> Weights:
    """Of torch.nn's LSTM, GRU or RNN, as a stack of one."""
    get = {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}
    return [
        {
            "W": get["weight_ih_l0"],
            "R": {0: get["weight_hh_l0"]},
            "b_ih": get["bias_ih_l0"],
            "b_hh": get["bias_hh_l0"],
        }
    ]


def stack_weights(network: Any) -> Weights:
    """Of a noria.Network without an output layer."""
    return [
        {
            "W": layer.weight_ih.detach().numpy(),
            "R": {int(k): weight.detach().numpy() for k, weight in layer.recurrences().items()},
            "b_ih": layer.bias_ih.detach().numpy(),
            "b_hh": layer.bias_hh.detach().numpy(),
        }
        for layer in network.layers
    ]


def _step(cell: str, a: Any, b: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """The new state from W x + b_ih, R h + b_hh and the state before."""
    import jax.numpy as jnp
    from jax.nn import sigmoid

    if cell == "lstm":
        i, f, g, o = jnp.split(a + b, 4, axis=-1)
        c = sigmoid(f) * state[1] + sigmoid(i) * jnp.tanh(g)
        return sigmoid(o) * jnp.tanh(c), c
    if cell == "gru":
        (a_r, a_z, a_n), (b_r, b_z, b_n) = jnp.split(a, 3, axis=-1), jnp.split(b, 3, axis=-1)
        z = sigmoid(a_z + b_z)
        n = jnp.tanh(a_n + sigmoid(a_r + b_r) * b_n)
        return ((1 - z) * n + z * state[0],)
    return (jnp.tanh(a + b),)


def _run(cell: str, weights: Weights, x: Any) -> Any:
    """x (B, T, I) to the last layer's h, (B, T, H)."""
    import jax
    import jax.numpy as jnp

    def step(states: list[Any], first: Any) -> Any:
        before, after = [state[0] for state in states], []
        for layer, state in zip(weights, states, strict=True):
            a = first if not after else after[-1][0] @ layer["W"].T + layer["b_ih"]
            b = sum(before[k] @ R.T for k, R in layer["R"].items()) + layer["b_hh"]
            after.append(_step(cell, a, b, state))
        return after, after[-1][0]

    hidden = weights[0]["b_ih"].shape[0] // CELLS[cell]
    states = [(jnp.zeros((len(x), hidden)),) * (2 if cell == "lstm" else 1) for _ in weights]
    first = x.swapaxes(0, 1) @ weights[0]["W"].T + weights[0]["b_ih"]
    return jax.lax.scan(step, states, first)[1].swapaxes(0, 1)


def forward(cell: str, weights: Weights, x: np.ndarray) -> Callable[[], Any]:
    """Inference; returns y."""
    import jax

    run = jax.jit(lambda weights, x: _run(cell, weights, x))
    given = jax.device_put((weights, x))
    return lambda: jax.block_until_ready(run(*given))


def training(
    cell: str, weights: Weights, x: np.ndarray, grad: np.ndarray
) -> Callable[[], tuple[Any, Any, Weights]]:
    """A training step; returns y and the gradients of x and the weights."""
    import jax

    @jax.jit
    def run(weights: Weights, x: Any, grad: Any) -> tuple[Any, Any, Weights]:
        y, back = jax.vjp(lambda weights, x: _run(cell, weights, x), weights, x)
        d_weights, d_x = back(grad)
        return y, d_x, d_weights

    given = jax.device_put((weights, x, grad))
    return lambda: jax.block_until_ready(run(*given))
