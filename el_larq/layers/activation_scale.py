"""XNOR-Net's scale of the activations."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.layers.align import same_padding


@keras.utils.register_keras_serializable("el_larq")
class ActivationScale(keras.layers.Layer):
    r"""Multiplies a binary convolution's output by K, the mean magnitude of the inputs of each output position.

    Called on two tensors, ``ActivationScale(3)([x, z])``: x (N, H, W, C_in), the convolution's input before binarization, and its
    output z (N, H', W', C_out).

        A = mean over the channels of |x|                                       (N, H, W, 1)
        K = A convolved with a box filter of kernel_size**2 values 1 / kernel_size**2, with padding "same" and the
            convolution's strides
        y = K * z

    A is padded with zeros, which count in the mean. With groups, A is the mean over the channels of each group, and K has one
    channel per group, which multiplies the outputs of that group. A depthwise convolution has as many groups as channels, and K is
    the box filter of |x| itself.

    Gradients: dL/dz = K * dL/dy. The gradient of K, the sum of z * dL/dy over the channels that K multiplies, is propagated through
    the box filter and the mean to x, with the slope sign(x) of |x| (0 at 0).

    Arguments:
        kernel_size, strides, groups: those of the convolution.

    Raises:
        ValueError: height, width or channels of x or z are not static, or the channels are not a multiple of groups.

    Reference: Rastegari, Ordonez, Redmon, Farhadi, "XNOR-Net", ECCV 2016, arXiv 1603.05279.
    """

    def __init__(self, kernel_size: int, strides: int = 1, groups: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.kernel_size, self.strides, self.groups = kernel_size, strides, groups

    def build(self, input_shape: Any) -> None:
        x, z = (tuple(shape) for shape in input_shape)
        if None in (*x[1:], *z[1:]):
            raise ValueError(f"{self.name}: sizes must be static; got {x} and {z}")
        if x[-1] % self.groups or z[-1] % self.groups:
            raise ValueError(f"{self.name}: {x[-1]} channels to {z[-1]} cannot be divided into {self.groups} groups")
        self._channels, self._outputs = x[-1], z[-1]
        self._padding = [same_padding(size, self.kernel_size, self.strides) for size in x[1:3]]
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        x, z = inputs
        scale = self._channel_means(tf.abs(x))
        # Pooling instead of a convolution, which would store the same box kernel in every layer.
        if any(before or after for before, after in self._padding):
            scale = tf.pad(scale, [(0, 0), *self._padding, (0, 0)])
        if self.kernel_size > 1 or self.strides > 1:
            scale = tf.nn.avg_pool2d(scale, self.kernel_size, self.strides, "VALID")
        if 1 < self.groups < self._outputs:
            scale = tf.repeat(scale, self._outputs // self.groups, axis=-1)
        return z * scale

    def _channel_means(self, magnitudes: Any) -> Any:
        if self.groups == self._channels:
            return magnitudes
        if self.groups == 1:
            return tf.reduce_mean(magnitudes, axis=-1, keepdims=True)
        parts = tf.split(magnitudes, self.groups, axis=-1)
        return tf.concat([tf.reduce_mean(part, axis=-1, keepdims=True) for part in parts], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[1]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"kernel_size": self.kernel_size, "strides": self.strides, "groups": self.groups}
