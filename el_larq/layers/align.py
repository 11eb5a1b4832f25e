"""Aligns a feature map with the shape of a convolution's output, as an Elastic-Link does.

With x of shape (N, H, W, C_in), x_j its j-th channel, and y the output of shape (N, H', W', C_out):

    space     average pooling by the stride: window = stride, padding "same" (positions outside x do not count)
    channels  C_in = C_out   y_c = x_c
              C_in > C_out   squeeze: y_c = sum_j x_{j * C_out + c}, over the groups of C_out consecutive channels;
                             missing channels of the last group count as zero
              C_in < C_out   expand: y_c = x_{c mod C_in}

Squeeze and expand are adjoint to each other, so the gradient of each is the forward pass of the other:

    dL/dx_i = dL/dy_{i mod C_out}  (squeeze),     dL/dx_i = sum over the copies of i of dL/dy  (expand).

Source: the authors' description of squeeze (non-overlapping groups, summed) and expand (channels copied). How strides and
channel counts that do not divide evenly are handled is this project's choice.
"""

from typing import Any

import tensorflow as tf


def infer_stride(before: int, after: int) -> int:
    """The smallest stride s with ceil(before / s) = after, the output size of a convolution with padding "same".

    Raises:
        ValueError: no stride maps one size to the other.
    """
    for stride in range(1, before + 1):
        if -(-before // stride) == after:
            return stride
    raise ValueError(f"no stride maps a size of {before} to {after}")


def same_padding(size: Any, reach: int, stride: int) -> tuple[Any, Any]:
    """The amounts before and after by which padding "same" extends one axis.

    Arguments:
        size: of the axis, in pixels; an integer tensor if it is known only when the graph runs.
        reach: of the kernel, in pixels, dilation included.
    """
    total = (-(-size // stride) - 1) * stride + reach - size
    total = tf.maximum(total, 0) if tf.is_tensor(total) else max(total, 0)
    return total // 2, total - total // 2


def align_space(x: tf.Tensor, strides: tuple[int, int]) -> tf.Tensor:
    """Average pooling of (N, H, W, C) by the stride, to (N, ceil(H / s), ceil(W / s), C)."""
    if tuple(strides) == (1, 1):
        return x
    return tf.nn.avg_pool2d(x, ksize=strides, strides=strides, padding="SAME")


def align_channels(x: tf.Tensor, channels: int) -> tf.Tensor:
    """Squeeze or expand the last axis of (N, H, W, C_in) to (N, H, W, channels)."""
    c_in: Any = x.shape[-1]
    if c_in == channels:
        return x
    # Split instead of slices, whose gradient takes ten times as long (benchmarks/align_ops.py).
    if c_in > channels:
        groups = -(-c_in // channels)
        missing = groups * channels - c_in
        if missing:
            x = tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, missing]])
        return tf.add_n(tf.split(x, groups, axis=-1))
    copies = -(-channels // c_in)
    x = tf.tile(x, [1, 1, 1, copies])
    return x if copies * c_in == channels else x[:, :, :, :channels]
