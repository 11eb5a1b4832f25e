"""Quantization with ranges that are averages of what was seen: of a tensor, and of a kernel, whose range is that of its weights."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from el_larq.training.fake_quantization import round_kernel, round_values


class AveragedKernel:
    """The rounding of a kernel per output channel, with the largest weight of each as its range.

    axes: those of the output channels.
    """

    def __init__(self, kernel: tf.Variable, axes: Sequence[int], bits: int):
        del kernel
        self._axes, self._bits = axes, bits
        self.trained = self.variables = []

    def start(self) -> None:
        """The range follows from the weights."""

    def round(self, kernel: Any) -> Any:
        return round_kernel(kernel, self._axes, self._bits)


class AveragedRange:
    """The rounding of a tensor: its range, and whether it has the offset of signs."""

    def __init__(self, bits: int = 8, signs: bool = False):
        self.signs, self._bits = signs, bits
        self.low = tf.Variable(tf.zeros([]), trainable=False)
        self.high = tf.Variable(tf.zeros([]), trainable=False)
        self.trained, self.variables = [], [self.low, self.high]
        self._seen = 0

    def start(self) -> None:
        self._seen = 0

    def calibrate(self, values: Any) -> None:
        """Average in a range with the same weight as each one before, of all batches and calls."""
        self._seen += 1
        self.see(values, 1 / self._seen)

    def finish(self) -> None:
        """The range is the average already."""

    def see(self, values: Any, rate: float) -> None:
        """Average in the range of a batch: the means of its images' extremes."""
        axes = list(range(1, values.shape.rank))
        self.low.assign_add(rate * (tf.reduce_mean(tf.reduce_min(values, axes)) - self.low))
        self.high.assign_add(rate * (tf.reduce_mean(tf.reduce_max(values, axes)) - self.high))

    def round(self, values: Any) -> Any:
        return round_values(values, self.low, self.high, signs=self.signs, bits=self._bits)
