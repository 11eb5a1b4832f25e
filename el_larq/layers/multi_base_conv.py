"""Convolutions as sums of binary convolutions: several bases of the kernel, several shifts of the input."""

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.layers.align import same_padding
from el_larq.quantizers.binary_bases import BinaryBases, HalfSign


class _MultiBase(keras.layers.Layer):
    """Base of the two layers below; comes before a Keras convolution in their list of base classes.

    products, kernels: number of binary convolutions per call, and of binary kernels, as read by `el_larq.counting.counts`.
    """

    padding: str
    strides: tuple[int, int]
    kernel_size: tuple[int, int]
    dilation_rate: tuple[int, int]

    def __init__(self, *args: Any, bases: int = 1, shifts: int = 1, pad_values: float = 0.0, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if shifts < 1:
            raise ValueError(f"shifts must be at least 1; got {shifts}")
        self.bases, self.shifts, self.pad_values = bases, shifts, pad_values
        self.products, self.kernels = bases * shifts, bases
        self.kernel_quantizer = BinaryBases(bases)
        self.input_quantizer = HalfSign()

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        # Thresholds 1/2 - v evenly spaced between -1 and 1: a single one at zero, three at -1/2, 0 and 1/2.
        starts = 1.5 - 2 * np.arange(1, self.shifts + 1) / (self.shifts + 1)
        constant: Any = keras.initializers.Constant
        self.shift = self.add_weight(name="shift", shape=(self.shifts,), initializer=constant(starts.tolist()))
        self.beta = self.add_weight(name="beta", shape=(self.shifts,), initializer=constant(1 / self.shifts))

    def binary_kernels(self) -> list[tf.Tensor]:
        """The M kernels alpha_m * B_m."""
        return tf.unstack(self.kernel_quantizer(self._latent()))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        kernels = self.binary_kernels()
        total: Any = None
        for n in range(self.shifts):
            signs = self._pad(self.input_quantizer(inputs + self.shift[n]))
            for kernel in kernels:
                # beta multiplies each product, where a factor of any sign folds at no cost, not the kernel or the sum.
                product = self.beta[n] * self._convolve(signs, kernel)
                # Not add_n: conversion moves shifts and scales only through sums of two tensors.
                total = product if total is None else total + product
        return total

    def _latent(self) -> tf.Tensor:
        raise NotImplementedError

    def _convolve(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def _pad(self, x: tf.Tensor) -> tf.Tensor:
        """Pad with pad_values, with the sizes of padding "same"."""
        if self.padding != "same":
            return x
        shape: Any = x.shape if None not in x.shape[1:3] else tf.shape(x)
        reach = [(size - 1) * rate + 1 for size, rate in zip(self.kernel_size, self.dilation_rate, strict=True)]
        sides = [same_padding(shape[axis + 1], reach[axis], self.strides[axis]) for axis in (0, 1)]
        return tf.pad(x, [[0, 0], *sides, [0, 0]], constant_values=self.pad_values)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"bases": self.bases, "shifts": self.shifts, "pad_values": self.pad_values}


@keras.utils.register_keras_serializable("el_larq")
class MultiBaseConv2D(_MultiBase, keras.layers.Conv2D):
    r"""ABC-Net's convolution: a real-valued convolution approximated by M x N binary ones, with one latent kernel.

        A_n = h(x + v_n)                                n = 1 .. N, `HalfSign`: the sign of x + v_n - 1/2
        y = sum_n beta_n sum_m conv(A_n, alpha_m B_m)   m = 1 .. M, `BinaryBases`

    v (N,) and beta (N,) are trained. Gradients follow from the chain rule, with those of the two quantizers:

        dL/dx = sum_n g_n * 1[0 <= x + v_n <= 1]        g_n = dL/dA_n
        dL/dv_n = sum of g_n * 1[0 <= x + v_n <= 1]     over images, pixels and channels
        dL/dbeta_n = sum of dL/dy * sum_m conv(A_n, alpha_m B_m)

    The thresholds 1/2 - v_n start evenly spaced between -1 and 1, beta at 1 / N.

    Arguments: those of Keras' Conv2D (channels last, no bias), and
        bases, shifts: M and N.
        pad_values: the value with which padding "same" pads the signs.
    """

    def _latent(self) -> tf.Tensor:
        return self.kernel

    def _convolve(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, kernel, self.strides, "VALID", dilations=self.dilation_rate)


@keras.utils.register_keras_serializable("el_larq")
class MultiBaseDepthwiseConv2D(_MultiBase, keras.layers.DepthwiseConv2D):
    """`MultiBaseConv2D` with one kernel per channel. The bases and their alpha are those of the whole kernel here too."""

    def _latent(self) -> tf.Tensor:
        return self.depthwise_kernel

    def _convolve(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.depthwise_conv2d(x, kernel, [1, *self.strides, 1], "VALID", dilations=self.dilation_rate)
