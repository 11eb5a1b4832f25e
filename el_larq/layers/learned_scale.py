"""XNOR-Net++'s scale of the outputs."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

SHAPES = ("c", "chw", "c_hw", "c_h_w")


@keras.utils.register_keras_serializable("el_larq")
class LearnedScale(keras.layers.Layer):
    r"""Multiplies (N, H, W, C) by a learned Gamma, the same for every image: y = Gamma * z.

        shape      Gamma[h, w, c]                   learned values
        "c"        alpha[c]                         C
        "chw"      Gamma[h, w, c] itself            C * H * W
        "c_hw"     alpha[c] * beta[h, w]            C + H * W
        "c_h_w"    alpha[c] * beta[h] * delta[w]    C + H + W

    The first factor starts at ``start``, the others at one; they take no weight decay. Gradients: dL/dz = Gamma * dL/dy. With G
    = dL/dGamma = sum over images of z * dL/dy, the gradient of a factor is G times the other factors, summed over the axes that
    the factor does not have.

    Arguments:
        shape: one of the four.
        start: the value that Gamma has everywhere at first.

    Raises:
        ValueError: another shape, or H or W is not static and the shape depends on them.

    Reference: Bulat, Tzimiropoulos, "XNOR-Net++: Improved Binary Neural Networks", BMVC 2019, arXiv 1909.13863.
    """

    def __init__(self, shape: str = "c_h_w", start: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        if shape not in SHAPES:
            raise ValueError(f"shape must be one of {', '.join(SHAPES)}; got {shape!r}")
        self.shape, self.start = shape, start

    def build(self, input_shape: Any) -> None:
        _, height, width, channels = input_shape
        if self.shape != "c" and None in (height, width):
            raise ValueError(f"{self.name}: a learned scale of shape {self.shape!r} needs a fixed size; got {tuple(input_shape)}")
        self._positions = (height, width)
        start: Any = keras.initializers.Constant(self.start)  # pyright: ignore[reportArgumentType]
        if self.shape == "chw":
            self.scale = self.add_weight(name="scale", shape=(height, width, channels), initializer=start)
        else:
            self.scale_c = self.add_weight(name="scale_c", shape=(channels,), initializer=start)
        if self.shape == "c_hw":
            self.scale_hw = self.add_weight(name="scale_hw", shape=(height, width), initializer="ones")
        elif self.shape == "c_h_w":
            self.scale_h = self.add_weight(name="scale_h", shape=(height,), initializer="ones")
            self.scale_w = self.add_weight(name="scale_w", shape=(width,), initializer="ones")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.shape == "chw":
            return self._by_position(inputs, self.scale)
        # The scale per channel comes first, since it folds into the preceding convolution.
        y: Any = inputs * self.scale_c
        if self.shape == "c_hw":
            return self._by_position(y, self.scale_hw)
        return y if self.shape == "c" else self._by_position(y, self.scale_h[:, None] * self.scale_w)

    def _by_position(self, x: tf.Tensor, scale: Any) -> tf.Tensor:
        # On a view of shape (positions, channels): directly after a binary convolution, LCE's converter would mistake a factor of
        # more than one dimension for a per-channel one, and write a file that does not load.
        height, width = self._positions
        channels = x.shape[-1]
        if height * width == 1:
            return x * tf.broadcast_to(tf.reshape(scale, [-1]), [channels])
        view = tf.reshape(x, [-1, height * width, channels])
        return tf.reshape(view * tf.reshape(scale, [height * width, -1]), [-1, height, width, channels])

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"shape": self.shape, "start": self.start}
