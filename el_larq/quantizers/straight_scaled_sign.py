"""TBN's kernel quantizer."""

from typing import Any

import larq
import tensorflow as tf
import tf_keras as keras

SCOPES = ("filter", "tensor")


@keras.utils.register_keras_serializable("el_larq")
class StraightScaledSign(larq.quantizers.Quantizer):
    """q(W) = alpha * sign(W) with alpha = mean|W| per filter (over all axes except the last), and sign(0) = +1.

    Gradient: dL/dW = dL/dq, unscaled and unclipped, as if q were the identity.

    Arguments:
        per: "filter" (TBN), or "tensor": one alpha for the whole kernel (DoReFa-Net).

    References: Wan, Shen, Liu, Zhu, Qin, Shao, Shen, "TBN", ECCV 2018; Zhou, Wu, Ni, Zhou, Wen, Zou, "DoReFa-Net",
    arXiv 1606.06160.
    """

    precision = 1

    def __init__(self, per: str = "filter", **kwargs: Any):
        super().__init__(**kwargs)
        if per not in SCOPES:
            raise ValueError(f"per must be one of {', '.join(SCOPES)}; got {per!r}")
        self.per = per

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        shape: Any = inputs.shape
        return _scaled_sign(inputs, list(range(len(shape) - 1)) if self.per == "filter" else None)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"per": self.per}


def _scaled_sign(kernel: tf.Tensor, axes: list[int] | None) -> tf.Tensor:
    @tf.custom_gradient
    def forward(kernel: Any) -> Any:
        return tf.reduce_mean(tf.abs(kernel), axes) * larq.math.sign(kernel), lambda g: g

    return forward(kernel)
