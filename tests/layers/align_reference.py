"""`align` as its definition reads, in plain loops: slow, obvious, and nothing in common with the code it checks."""

import numpy as np


def pool(x: np.ndarray, strides: tuple[int, int]) -> np.ndarray:
    """Mean over windows of the stride's size, "same" padding at the start and end; cells outside x do not count."""
    n, height, width, channels = x.shape
    spans = [_windows(height, strides[0]), _windows(width, strides[1])]
    y = np.zeros((n, len(spans[0]), len(spans[1]), channels), x.dtype)
    for row, rows in enumerate(spans[0]):
        for column, columns in enumerate(spans[1]):
            cells = [x[:, i, j, :] for i in rows for j in columns]
            y[:, row, column, :] = sum(cells) / len(cells)
    return y


def _windows(size: int, stride: int) -> list[list[int]]:
    count = (size + stride - 1) // stride
    first = -((count * stride - size) // 2)
    return [[i for i in range(first + k * stride, first + (k + 1) * stride) if 0 <= i < size] for k in range(count)]


def squeeze_or_expand(x: np.ndarray, channels: int) -> np.ndarray:
    y = np.zeros((*x.shape[:-1], channels), x.dtype)
    c_in = x.shape[-1]
    if c_in >= channels:
        for j in range(c_in):
            y[..., j % channels] += x[..., j]
    else:
        for c in range(channels):
            y[..., c] = x[..., c % c_in]
    return y


def align(x: np.ndarray, channels: int, strides: tuple[int, int] = (1, 1)) -> np.ndarray:
    return squeeze_or_expand(pool(x, strides), channels)


def align_transposed(y: np.ndarray, shape: tuple[int, ...], strides: tuple[int, int] = (1, 1)) -> np.ndarray:
    """The transpose of `align` applied to y: column by column of the matrix that `align` is, for x of ``shape``."""
    size = int(np.prod(shape[1:]))
    basis = np.eye(size, dtype=y.dtype).reshape(size, *shape[1:])
    matrix = align(basis, y.shape[-1], strides).reshape(size, -1)
    return (y.reshape(len(y), -1) @ matrix.T).reshape(shape)
