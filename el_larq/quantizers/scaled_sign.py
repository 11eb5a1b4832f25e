"""XNOR-Net's kernel quantizer."""

from typing import Any

import larq
import tensorflow as tf
import tf_keras as keras

GRADIENTS = ("derived", "released", "detached")


@keras.utils.register_keras_serializable("el_larq")
class ScaledSign(larq.quantizers.Quantizer):
    r"""q(W) = alpha * sign(W) with alpha = mean|W| per filter (over all axes except the last), and sign(0) = +1.

    With n weights in a filter, g = dL/dq, and c_i = 1 where |W_i| <= 1, else 0, the gradient of the i-th weight of a filter is

        derived    (1 / n) * s_i * sum_j g_j * sign(W_j) + alpha * c_i * g_i        s_i: the slope of |W_i|, its sign, 0 at 0
        released   (alpha * c_i + 1 / n) * (1 - 1 / C_in) * g_i
        detached   alpha * c_i * g_i

    "derived" is the derivative of q with c as the slope of the sign. "released" is the form in XNOR-Net's code, which keeps
    only the i-th term of the sum, and has a factor that depends on the input channels C_in because the code subtracts their mean
    from the kernel; the factor is omitted where there is one input channel, as in depthwise kernels, since it would be zero.
    "detached" treats alpha as a constant, as Larq's "magnitude_aware_sign" does.

    With a ``clip_value`` c, W is first clipped to [-c, c]; what is beyond has no gradient. Larq Zoo's XNOR-Net clips to [-1, 1]. A
    constraint of the kernel to that range makes it redundant.

    Reference: Rastegari, Ordonez, Redmon, Farhadi, "XNOR-Net", ECCV 2016, arXiv 1603.05279.
    """

    precision = 1

    def __init__(self, gradient: str = "derived", clip_value: float | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if gradient not in GRADIENTS:
            raise ValueError(f"gradient must be one of {', '.join(GRADIENTS)}; got {gradient!r}")
        self.gradient = gradient
        self.clip_value = clip_value

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.clip_value is not None:
            inputs = tf.clip_by_value(inputs, -self.clip_value, self.clip_value)
        return _scaled_sign(inputs, self.gradient)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"gradient": self.gradient, "clip_value": self.clip_value}


def _scaled_sign(kernel: tf.Tensor, form: str) -> tf.Tensor:
    shape: Any = kernel.shape
    axes = list(range(len(shape) - 1))
    count = float(shape[:-1].num_elements())
    channels = float(shape[-2])

    @tf.custom_gradient
    def forward(kernel: Any) -> Any:
        alpha = tf.reduce_mean(tf.abs(kernel), axes)
        signs = larq.math.sign(kernel)

        def backward(g: Any) -> Any:
            within = tf.cast(tf.abs(kernel) <= 1, g.dtype)
            if form == "released":
                return g * (alpha * within + 1 / count) * (1 - 1 / channels if channels > 1 else 1.0)
            through_sign = alpha * within * g
            if form == "detached":
                return through_sign
            return tf.sign(kernel) * tf.reduce_sum(g * signs, axes) / count + through_sign

        return alpha * signs, backward

    return forward(kernel)
