"""What binary kernels do in training: how often their weights flip, and how many latent weights get no gradient.

Kernels of frozen layers are not counted.

flips: the fraction of all binary weights whose sign one step changes, averaged over at most `SAMPLED` evenly spaced steps of an
    epoch. If it stays high, the learning rate is too high for the signs to settle; near 0, they have settled.
starved: the fraction of all latent weights whose gradient the quantizer blocks at the end of the epoch, whatever the loss is. They
    lie outside the range that the straight-through estimator passes. With a kernel constraint (`weight_clip`), it is 0.
positive, entropy: the share of binary weights that are +1, and the mean entropy of a weight in its filter, in bits, at the end of
    the epoch (`el_larq.counting.balance`). Filters whose entropy falls towards 0 have almost one sign only.
"""

from dataclasses import asdict
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.counting.balance import balance
from el_larq.counting.kernels import one_bit_kernels

SAMPLED = 16


class KernelMetrics:
    """Counts the flips of a model's binary kernels. Call `before_step` and `after_step` around each training step.

    sampled: [sum of the flip rates, number of steps] of the current epoch so far: the state that a resume needs.
    """

    def __init__(self, model: keras.Model, steps_per_epoch: int):
        self.sampled = [0.0, 0]
        self._every = -(-steps_per_epoch // SAMPLED)
        self._before: Any = None
        self._kernels = [kernel for kernel in one_bit_kernels(model) if kernel.layer.trainable]

    def _signs(self) -> tf.Tensor:
        return tf.concat([tf.reshape(kernel.quantizer(kernel.latent + 0.0) > 0, [-1]) for kernel in self._kernels], 0)

    def _starved(self) -> tf.Tensor:
        blocked, total = tf.constant(0.0), 0
        for kernel in self._kernels:
            value = tf.identity(kernel.latent)
            with tf.GradientTape() as tape:
                tape.watch(value)
                result = kernel.quantizer(value)
            # From a random upstream gradient, a quantizer that mixes weights (a mean, a scale) makes 0 only where it blocks.
            upstream = tf.random.stateless_normal(tf.shape(result), (0, 1), dtype=result.dtype)
            gradient = tape.gradient(result, value, [upstream], unconnected_gradients=tf.UnconnectedGradients.ZERO)
            blocked += tf.reduce_sum(tf.cast(gradient == 0, tf.float32))
            total += int(kernel.latent.shape.num_elements() or 0)
        return blocked / total

    def begin_epoch(self) -> None:
        self.sampled = [0.0, 0]

    def before_step(self, step: int) -> None:
        """``step``: the number of completed steps."""
        if self._kernels and step % self._every == 0:
            self._before = self._signs()

    def after_step(self) -> None:
        if self._before is not None:
            rate = float(tf.reduce_mean(tf.cast(self._signs() != self._before, tf.float32)))
            self.sampled = [self.sampled[0] + rate, self.sampled[1] + 1]
            self._before = None

    def epoch(self) -> dict[str, float]:
        """The figures of the epoch that ends now; empty for a model that trains no binary kernels."""
        if not self._kernels:
            return {}
        total, count = self.sampled
        flips = {"flips": total / count} if count else {}
        signs = balance(filters for kernel in self._kernels for filters in kernel.filters())
        return flips | {"starved": float(self._starved())} | (asdict(signs) if signs is not None else {})
