"""ABC-Net's binarizers: a kernel as a sum of binary kernels, and the sign of an activation at one half."""

from typing import Any

import larq
import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("el_larq")
class BinaryBases(larq.quantizers.Quantizer):
    r"""Maps a kernel W of n weights to the M binary kernels alpha_m * B_m whose sum approximates it, as one tensor (M, *W.shape).

        B_m = sign(W - mean(W) + u_m * std(W))      u_m = -1 + 2 (m - 1) / (M - 1), sign(0) = +1
        alpha = argmin ||W - sum_m alpha_m B_m||^2  = pinv(B^T B) B^T W, with B of shape (n, M)

    There is one mean and one standard deviation per kernel, and one alpha_m per basis. For M = 1, where u is undefined, B = sign(W)
    and so alpha = mean|W|, the best single basis.

    Gradient: alpha, mean and std are constants, and the signs are straight through, unclipped.

        dL/dW = sum_m alpha_m * dL/d(alpha_m B_m)

    alpha is a function of W alone, so it is a constant in a frozen graph.

    Reference: Lin, Zhao, Pan, "Towards Accurate Binary Convolutional Neural Network", NeurIPS 2017, arXiv 1711.11294.
    """

    precision = 1

    def __init__(self, bases: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        if bases < 1:
            raise ValueError(f"bases must be at least 1; got {bases}")
        self.bases = bases

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        thresholds = self._thresholds(tf.stop_gradient(inputs))
        signs = [larq.quantizers.ste_sign(inputs - threshold, clip_value=None) for threshold in thresholds]
        columns = tf.stop_gradient(tf.stack([tf.reshape(sign, [-1]) for sign in signs]))
        latent = tf.reshape(tf.stop_gradient(inputs), [-1, 1])
        count = tf.cast(tf.size(inputs), inputs.dtype)
        gram = tf.matmul(columns, columns, transpose_b=True) / count
        alpha = tf.linalg.matmul(tf.linalg.pinv(gram), tf.matmul(columns, latent) / count)[:, 0]
        return tf.stack([alpha[m] * sign for m, sign in enumerate(signs)])

    def _thresholds(self, kernel: tf.Tensor) -> list[Any]:
        if self.bases == 1:
            return [0.0]
        mean, std = tf.reduce_mean(kernel), tf.math.reduce_std(kernel)
        return [mean - (-1 + 2 * m / (self.bases - 1)) * std for m in range(self.bases)]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"bases": self.bases}


@keras.utils.register_keras_serializable("el_larq")
class HalfSign(larq.quantizers.Quantizer):
    """h(x) = 1 where clip(x, 0, 1) >= 1/2, else -1; gradient straight through where 0 <= x <= 1."""

    precision = 1

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return _half_sign(inputs)


@tf.custom_gradient
def _half_sign(x: Any) -> Any:
    return larq.math.sign(x - 0.5), lambda g: tf.where((x >= 0) & (x <= 1), g, tf.zeros_like(g))
