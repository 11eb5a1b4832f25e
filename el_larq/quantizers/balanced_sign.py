"""A kernel quantizer that balances positive and negative weights."""

from math import prod
from typing import Any

import larq
import tensorflow as tf
import tf_keras as keras

CENTERS = ("mean", "median")
SCOPES = ("filter", "tensor")


@keras.utils.register_keras_serializable("el_larq")
class BalancedSign(larq.quantizers.Quantizer):
    """alpha * sign(v - centre(v)): the sign of a kernel around its own centre.

    Forward, over each filter (all axes except the last) or over the whole kernel, of n weights each:

        u = v - centre(v)                centre: the mean or the median
        q(v) = alpha * sign(u)           alpha = mean|u|, sign(0) = +1

    Gradient: alpha is a constant; the sign is straight through where |u| <= 1; centring by the mean is differentiated exactly.

        dL/du = alpha * dL/dq * 1[|u| <= 1]
        dL/dv = dL/du - mean(dL/du)      (I - 11^T / n) dL/du

    The median uses the same gradient. Its own would put the sum of all gradients on the one or two weights in the middle.

    The balance is approximate with the mean, since the distribution need not be symmetric. With the median it is exact for an even
    n (unless weights are equal to the median); for an odd n the middle weight itself becomes +1.

    Arguments:
        center: "mean" or "median".
        per: "filter" or "tensor": the weights that are centred and scaled together. Depthwise kernels are handled by `PerChannel`.

    Raises:
        ValueError: another center or per; or fewer than two weights per filter (or kernel), which centring would make zero.
    """

    precision = 1

    def __init__(self, center: str = "mean", per: str = "filter", **kwargs: Any):
        super().__init__(**kwargs)
        if center not in CENTERS or per not in SCOPES:
            raise ValueError(f"center is one of {CENTERS} and per one of {SCOPES}; got {center!r} and {per!r}")
        self.center = center
        self.per = per

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        shape: Any = inputs.shape
        axes = list(range(len(shape) - 1)) if self.per == "filter" else None
        if prod(shape[:-1] if axes else shape) < 2:
            raise ValueError(
                f"a kernel of shape {tuple(shape)} has one weight a filter, which cannot be balanced; use per='tensor'"
            )
        centred = inputs - tf.reduce_mean(inputs, axes)
        if self.center == "median":
            centred -= tf.stop_gradient(_median(centred, axes is not None))
        alpha = tf.stop_gradient(tf.reduce_mean(tf.abs(centred), axes))
        return alpha * larq.quantizers.ste_sign(centred)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"center": self.center, "per": self.per}


def _median(x: tf.Tensor, by_filter: bool) -> tf.Tensor:
    """Median per filter, (C,), or of all weights, a scalar; for an even number of weights, the mean of the two in the middle."""
    ordered = tf.sort(tf.reshape(x, [-1, x.shape[-1]] if by_filter else [-1]), axis=0)
    count: Any = ordered.shape[0]
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
