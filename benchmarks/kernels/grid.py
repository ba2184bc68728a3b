"""The shapes (B, T, I, H) that are timed, and the operations that each takes."""

Shape = tuple[int, int, int, int]

GRID: list[Shape] = [
    (1, 100, 32, 32),
    (1, 100, 128, 128),
    (1, 100, 512, 512),
    (16, 100, 64, 64),
    (32, 100, 128, 128),
    (64, 100, 256, 256),
    (32, 100, 512, 512),
    (256, 28, 28, 128),
]
STACK_GRID = [shape for shape in GRID if shape[3] <= 256]
STEP_SIZES = [32, 64, 128, 256, 512]  # I = H
CELLS = {"lstm": 4, "gru": 3, "rnn": 1}  # gates


def layer_operations(cell: str, shape: Shape) -> int:
    """Multiplications and additions of a layer's products, forward."""
    batch, steps, inputs, hidden = shape
    return 2 * batch * steps * CELLS[cell] * hidden * (inputs + hidden)


def stack_operations(feedback: str, layers: int, shape: Shape) -> int:
    """The same of LSTM layers of equal size that feed each other."""
    batch, steps, inputs, hidden = shape
    blocks = layers * layers if feedback == "full" else layers * (layers - 1) // 2
    return 2 * batch * steps * 4 * hidden * (inputs + (layers - 1 + blocks) * hidden)
