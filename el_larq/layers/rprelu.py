"""ReActNet's activation."""

from typing import Any

import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("el_larq")
class RPReLU(keras.layers.Layer):
    """A PReLU with a learned turning point: y = f(x + b) + c, where f(t) = t for t > 0 and a * t elsewhere.

    a, b and c are learned, one of each per channel; x and y are (N, H, W, C). With t = x + b and g = dL/dy, and sums over all
    axes except the last:

        dL/dx = g * (1 where t > 0, a where t < 0, 0 at t = 0)      dL/da = sum(g * min(t, 0))
        dL/db = sum(dL/dx)                                          dL/dc = sum(g)

    Arguments:
        slope: initial value of a. The default, 0.25, is PyTorch's, with which the authors trained; b and c start at zero.

    None of the three takes weight decay.

    Reference: Liu, Shen, Savvides, Cheng, "ReActNet", ECCV 2020, arXiv 2003.03488.
    """

    def __init__(self, slope: float = 0.25, **kwargs: Any):
        super().__init__(**kwargs)
        self.start = slope

    def build(self, input_shape: Any) -> None:
        shape = (input_shape[-1],)
        self.shift_in = self.add_weight(name="shift_in", shape=shape, initializer="zeros")
        start: Any = keras.initializers.Constant(self.start)  # pyright: ignore[reportArgumentType]
        self.slope = self.add_weight(name="slope", shape=shape, initializer=start)
        self.shift_out = self.add_weight(name="shift_out", shape=shape, initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        t = inputs + self.shift_in
        # The form of Keras' PReLU, with a slope of one dimension less than the input: LCE's converter turns it into a single PRELU.
        slope = tf.reshape(self.slope, [1] * (len(inputs.shape) - 2) + [-1])
        return tf.nn.relu(t) + -slope * tf.nn.relu(-t) + self.shift_out

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"slope": self.start}
