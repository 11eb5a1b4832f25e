"""Learned step sizes (LSQ): the step of a quantized tensor is trained together with the weights.

For values v and a step s, with integers from l to h (0 to 2**b - 1 for values that are never negative, otherwise -2**(b-1) to
2**(b-1) - 1; kernels from -(2**(b-1) - 1), as in a .tflite),

    v' = s * round(clip(v / s, l, h))       dL/dv = dL/dv' * [l < v / s < h]
    dL/ds = g * sum dL/dv' * d              d = round(v / s) - v / s inside, l below, h above
    g = 1 / sqrt(N * h)                     N: the values of one image that have the step, or a kernel's weights that have it

Two things differ from the paper. log s is what is trained, dL/dlog s = s dL/ds: then s remains positive, and a step of Adam, whose
size does not depend on that of the gradient, is a relative change of s. The paper starts from s = 2 mean|v| / sqrt(h), which is far
too coarse for 8 bits; here s starts where the mean square of the error is least, for kernels and over calibration batches.

Source: Esser, McKinstry, Bablani, Appuswamy, Modha: Learned Step Size Quantization, ICLR 2020, arXiv:1902.08153.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.compression.best_steps import best_steps
from el_larq.errors import UsageError

_SAMPLE = 4096
"""Values of a batch that a first step is chosen with."""


class StepsTrained(keras.Model):
    """A network whose training also trains variables that are not weights of it, and so of no file of it: steps."""

    _also: Any = staticmethod(lambda: ())

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        return [*super().trainable_variables, *self._also()]

    def also_train(self, variables: Sequence[tf.Variable]) -> None:
        self._also = lambda: variables  # a function, since Keras would save the variables of an attribute as the model's own


def with_steps(model: keras.Model, steps: Sequence[tf.Variable]) -> keras.Model:
    """The model, with the same layers and weights, whose training also trains ``steps``.

    Raises:
        UsageError: it has a training step or losses of its own, which would be left out.
    """
    own: Any = model
    if not isinstance(model, StepsTrained):
        own = StepsTrained(inputs=model.inputs, outputs=model.outputs, name=model.name)
        what = "a training step of its own" if type(model).train_step is not keras.Model.train_step else ""
        if len(own.losses) != len(model.losses):
            what = "losses that were added to it after it was made (add_loss)"
        if what:
            raise UsageError(f"{model.name} has {what}, which learned steps would leave out; set qat_ranges to averaged")
    own.also_train(steps)
    return own


def round_learned(values: Any, log_step: Any, lowest: Any, highest: Any, count: int) -> Any:
    """Values rounded to integers times exp(log_step), in their shape, float32, with LSQ's gradients (see the module).

    Arguments:
        log_step: a scalar, or a shape that broadcasts to that of the values.
        lowest, highest: of the integers, scalars, float32.
        count: N of the module.
    """
    factor = 1 / tf.sqrt(count * tf.cast(highest, tf.float32))
    # XLA computes all of it in one pass over the values. On a GPU it needs files that not every installation has.
    rounded = _rounded if tf.config.list_logical_devices("GPU") or log_step.shape.rank else _compiled
    return rounded(values, tf.convert_to_tensor(log_step), tf.cast(lowest, tf.float32), tf.cast(highest, tf.float32), factor)


def _rounded(values: Any, log_step: Any, lowest: Any, highest: Any, factor: Any) -> Any:
    axes = [axis for axis in range(values.shape.rank) if not log_step.shape.rank or log_step.shape[axis] == 1]

    @tf.custom_gradient
    def rounded(v: Any, log_s: Any) -> Any:
        step = tf.exp(log_s)
        ratio = v / step
        inside = tf.logical_and(ratio > lowest, ratio < highest)
        integers = tf.round(tf.clip_by_value(ratio, lowest, highest))

        def gradient(upstream: Any) -> tuple[Any, Any]:
            by_step = upstream * (integers - tf.where(inside, ratio, tf.zeros_like(ratio)))
            summed = tf.reduce_sum(by_step, axes, keepdims=bool(log_step.shape.rank))
            return tf.where(inside, upstream, tf.zeros_like(upstream)), factor * step * summed

        return step * integers, gradient

    return rounded(values, log_step)


_compiled = tf.function(_rounded, jit_compile=True)


class LearnedKernel:
    """The rounding of a kernel with one learned step per output channel.

    axes: those of the output channels.
    """

    def __init__(self, kernel: tf.Variable, axes: Sequence[int], bits: int):
        sizes = tuple(kernel.numpy().shape)
        shape = [size if axis in axes else 1 for axis, size in enumerate(sizes)]
        self._highest, self._kernel = 2 ** (bits - 1) - 1, kernel
        self._others = tuple(axis for axis in range(len(sizes)) if axis not in axes)
        self._count = math.prod(sizes) // math.prod(shape)
        self._log_step = tf.Variable(tf.zeros(shape))
        self.trained = self.variables = [self._log_step]

    def start(self) -> None:
        """Set the steps to those with the least error."""
        steps = best_steps(self._kernel.numpy(), self._others, -self._highest, self._highest)
        self._log_step.assign(np.log(steps))

    def round(self, kernel: Any) -> Any:
        return round_learned(tf.convert_to_tensor(kernel), self._log_step, -self._highest, self._highest, self._count)


class LearnedStep:
    """The rounding of a tensor with one learned step. Its values are taken for never negative if those of calibration are not."""

    signs = False

    def __init__(self, bits: int):
        self._levels = 2.0**bits
        self._log_step = tf.Variable(tf.zeros([]))
        self._lowest = tf.Variable(tf.zeros([]), trainable=False)
        self.trained, self.variables = [self._log_step], [self._log_step, self._lowest]
        self._seen: list[np.ndarray] = []
        self._least = 0.0

    def start(self) -> None:
        self._seen, self._least = [], 0.0

    def calibrate(self, values: Any) -> None:
        """Take in a part of a batch's values."""
        flat = np.ravel(values)
        self._least = min(self._least, float(flat.min()))  # of all, since a sample may lack rare negative values
        self._seen.append(flat[np.random.default_rng(0).integers(0, flat.size, _SAMPLE)] if flat.size > _SAMPLE else flat)

    def finish(self) -> None:
        """Set the step to the one with the least error for the values that were taken in."""
        values = np.concatenate(self._seen)
        self._lowest.assign(-self._levels / 2 if self._least < 0 else 0.0)
        lowest = int(self._lowest.numpy())
        self._log_step.assign(np.log(best_steps(values, (0,), lowest, int(lowest + self._levels - 1))).reshape(()))
        self._seen = []

    def see(self, values: Any, rate: float) -> None:
        """A step follows gradients, not values."""

    def round(self, values: Any) -> Any:
        count = math.prod(values.shape[1:])
        return round_learned(values, self._log_step, self._lowest, self._lowest + self._levels - 1, count)
