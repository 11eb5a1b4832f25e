"""Ternary activations as the mean of the signs of two tensors."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

# The mean of |x| for a normal distribution with mean 0 and variance 1.
_NORMAL_MAGNITUDE = (2 / 3.141592653589793) ** 0.5


@keras.utils.register_keras_serializable("el_larq")
class TernarySplit(keras.layers.Layer):
    r"""Maps x to the pair (x - D, x + D). The mean of their signs is x ternarized at the threshold D:

        T(x) = (sign(x - D) + sign(x + D)) / 2  =  +1 where x >= D,  -1 where x < -D,  0 between        D = delta * mean|x|

    In training, mean|x| is taken over all values of the batch, on all replicas; at inference it is a moving average of these,
    stored as a weight. The gradient treats D as a constant and is that of T as a whole,

        dL/dx = (dL/d(x - D) + dL/d(x + D)) * 1[|x| <= 1]

    so the two signs that follow must pass their gradients unclipped: `larq.quantizers.SteSign(clip_value=None)`.

    Arguments:
        delta: the threshold as a fraction of mean|x|, positive.
        momentum: momentum of the moving average, as in batch normalization. The average starts at sqrt(2 / pi), which is mean|x|
            of a normal distribution of variance 1, since batch normalization precedes this layer.

    Input (N, ...), output a list of two tensors of that shape.
    """

    def __init__(self, delta: float, momentum: float = 0.9, **kwargs: Any):
        super().__init__(**kwargs)
        if not delta > 0:
            raise ValueError(f"delta must be positive; got {delta}")
        self.delta = delta
        self.momentum = momentum

    def build(self, input_shape: Any) -> None:
        self.moving_magnitude = self.add_weight(
            name="moving_magnitude",
            shape=(),
            initializer=keras.initializers.Constant(_NORMAL_MAGNITUDE),  # pyright: ignore[reportArgumentType]
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: Any = None) -> list[tf.Tensor]:
        magnitude = tf.convert_to_tensor(self.moving_magnitude)
        if training and self.trainable:
            magnitude = _over_replicas(tf.reduce_mean(tf.abs(inputs)))
            self.moving_magnitude.assign_add((1 - self.momentum) * (magnitude - self.moving_magnitude))
        return list(_split(inputs, tf.stop_gradient(self.delta * magnitude)))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"delta": self.delta, "momentum": self.momentum}


def _over_replicas(mean: tf.Tensor) -> tf.Tensor:
    """The mean over the replicas of a distributed training, whose shares of a batch are equal."""
    replica = tf.distribute.get_replica_context()
    return mean if replica is None or replica.num_replicas_in_sync == 1 else replica.all_reduce("MEAN", mean)


def _split(x: tf.Tensor, threshold: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    @tf.custom_gradient
    def forward(x: Any) -> Any:
        def backward(lower: Any, upper: Any) -> Any:
            return tf.where(tf.abs(x) <= 1, lower + upper, tf.zeros_like(x))

        return (x - threshold, x + threshold), backward

    return forward(x)
