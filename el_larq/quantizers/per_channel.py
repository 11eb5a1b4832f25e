"""A kernel quantizer for depthwise kernels."""

from typing import Any

import larq
import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("el_larq")
class PerChannel(larq.quantizers.Quantizer):
    """Applies a kernel quantizer to a depthwise kernel (H, W, C, 1) as if each channel were a filter: q'(W) = q(W^T)^T.

    Quantizers compute statistics over all axes except the last (alpha = mean|W| per filter). The filters of a depthwise kernel are
    its channels, on the second-to-last axis: the kernel is transposed to (H, W, 1, C), quantized, and transposed back. The gradient
    is that of q.

    Arguments:
        quantizer: a Larq quantizer, its name or configuration.
    """

    precision = 1

    def __init__(self, quantizer: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.quantizer: Any = larq.quantizers.get_kernel_quantizer(quantizer)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        axes = [0, 1, 3, 2]
        return tf.transpose(self.quantizer(tf.transpose(inputs, axes)), axes)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"quantizer": larq.quantizers.serialize(self.quantizer)}
