"""int8 in the steps of a training: values rounded as a .tflite rounds them, with gradients straight through the rounding.

The forward passes are those of `el_larq.compression`, in float32: `Affine.rounded` for activations and `symmetric` for kernels.
With fewer bits b, integers go from -2**(b-1) to 2**(b-1) - 1.
A tensor is not differentiated with respect to its range: ranges are averages of what was seen.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from el_larq.compression.sign_safe import OFFSET
from el_larq.compression.symmetric import SMALLEST
from el_larq.native_output import quietly


def scale_and_zero(low: Any, high: Any, *, signs: bool, bits: int = 8) -> tuple[Any, Any]:
    """The scale and the zero point, scalars, of a range: `Affine.of_range`, with ``signs`` `of_range_for_signs`."""
    steps, lowest, highest = 2**bits - 1, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    low, high = tf.minimum(low, 0.0), tf.maximum(high, 0.0)
    margin = 0
    if signs:
        step = (high - low) / (steps - 2)
        low, high, margin = tf.minimum(low, -step), tf.maximum(high, step), 1
    scale = (high - low) / steps
    scale = tf.where(scale > 0, scale, 1.0)
    return scale, tf.clip_by_value(tf.round(lowest - low / scale), lowest + margin, highest - margin)


def round_values(values: Any, low: Any, high: Any, *, signs: bool = False, bits: int = 8) -> Any:
    r"""Values as an int8 tensor, or one of fewer bits, with this range holds them, in their shape, float32.

        q = round(x / scale) + zero        y = scale * (clip(q, -128, 127) - zero)        dL/dx = dL/dy * [-128 <= q <= 127]

    Arguments:
        low, high: the range, scalars; it is extended to 0.
        signs: the tensor has the offset of those that a sign is taken of (`el_larq.compression.sign_safe`): OFFSET steps are taken
            from x, and added to y again, so no value from -127 to -2**-10 steps, and none from 0 to 126 steps, changes its sign.
    """
    scale, zero = scale_and_zero(low, high, signs=signs, bits=bits)
    # XLA rounds in one pass over the values instead of a dozen. On a GPU it needs files that not every installation has.
    rounded = _rounded if tf.config.list_logical_devices("GPU") else _compiled
    limit = tf.constant(2.0 ** (bits - 1))
    return rounded(values, scale, zero, OFFSET * scale if signs else tf.zeros_like(scale), limit)


def start_compiler() -> None:
    """Compile for the first time, without what XLA then prints of the machine."""
    with quietly():
        round_values(tf.zeros(1), 0.0, 1.0)


def _rounded(values: Any, scale: Any, zero: Any, offset: Any, limit: Any) -> Any:
    @tf.custom_gradient
    def rounded(x: Any) -> Any:
        steps = (x - offset) / scale
        integers = tf.sign(steps) * tf.floor(tf.abs(steps) + 0.5) + zero  # ties away from zero, as in TFLite
        inside = tf.logical_and(integers >= -limit, integers < limit)
        y = scale * (tf.clip_by_value(integers, -limit, limit - 1) - zero) + offset
        return y, lambda upstream: tf.where(inside, upstream, tf.zeros_like(upstream))

    return rounded(values)


_compiled = tf.function(_rounded, jit_compile=True)


def round_kernel(kernel: Any, axes: Sequence[int], bits: int = 8) -> Any:
    """A kernel as int8, or fewer bits, per channel holds it, in its shape, float32; its gradient is that of the result.

    axes: those of the output channels. Each channel has the scale max |w| / 127 (8 bits), so no weight is clipped. The other
        scale that `symmetric` has for channels of small multiples of one number, which training seldom makes, is not simulated.
    """
    kernel, most = tf.convert_to_tensor(kernel), 2 ** (bits - 1) - 1
    others = [axis for axis in range(kernel.shape.rank) if axis not in axes]

    @tf.custom_gradient
    def rounded(w: Any) -> Any:
        largest = tf.reduce_max(tf.abs(w), axis=others, keepdims=True)
        scale = tf.where(largest > 0, tf.maximum(largest / most, SMALLEST), 1.0)
        return scale * tf.clip_by_value(tf.round(w / scale), -most, most), lambda upstream: upstream

    return rounded(kernel)
