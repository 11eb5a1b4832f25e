"""The Elastic-Link."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.layers.align import align_channels, align_space, infer_stride


def gamma_start(c_in: int, c_out: int) -> float:
    """Default initial value of gamma: 1, or C_out / C_in where channels are squeezed, which makes the sum a mean."""
    return min(1.0, c_out / c_in)


@keras.utils.register_keras_serializable("el_larq")
class ElasticLink(keras.layers.Layer):
    r"""Adds the real-valued input of a binary convolution, aligned and weighted, to that convolution's output.

    Called on two tensors, ``ElasticLink()([x, z])``: ``x`` of shape (N, H, W, C_in), before binarization, and ``z`` of
    shape (N, H', W', C_out), the convolution's output (before or after its normalization, as the caller chooses).

        y = z + gamma * align(x)

    with ``align`` as defined in `el_larq.layers.align`. Gradients: dL/dz = dL/dy; dL/dx = gamma * align^T(dL/dy), which does
    not pass through the sign; dL/dgamma = sum(dL/dy * align(x)), over all axes, or over all but the last with
    ``per_channel``.

    Arguments:
        per_channel: one gamma per output channel (C_out values) instead of one for the link. The source describes one
            learnable parameter; a vector is an option of this project.
        gamma_initializer: initializer of gamma. None starts at min(1, C_out / C_in), which makes a squeeze a mean, so that its
            variance does not grow with the number of groups. The source does not give the initial value.
        strides: the convolution's strides, an integer or a pair. None infers them from the static shapes.

    gamma takes no weight decay (``el_larq.training`` excludes it).

    Raises:
        ValueError: the shapes cannot be aligned, strides are below 1, or strides are not given and H or W is not static.

    Reference: Hu, Wu, Tan, Lu, Zeng, Wu, "Elastic-Link for Binarized Neural Networks", AAAI 2022, arXiv 2112.10149.
    """

    def __init__(
        self,
        per_channel: bool = False,
        gamma_initializer: Any = None,
        strides: int | tuple[int, int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.per_channel = per_channel
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.strides = (strides, strides) if isinstance(strides, int) else None if strides is None else (strides[0], strides[1])
        if self.strides is not None and min(self.strides) < 1:
            raise ValueError(f"strides must be at least 1; got {self.strides}")

    def build(self, input_shape: Any) -> None:
        if not isinstance(input_shape, (list, tuple)) or len(input_shape) != 2:
            raise ValueError(f"{self.name}: call an ElasticLink on two tensors, [x, z]; got input shape {input_shape}")
        x, z = (tuple(shape) for shape in input_shape)
        if len(x) != 4 or len(z) != 4 or x[-1] is None or z[-1] is None:
            raise ValueError(f"{self.name}: x and z must be (N, H, W, C) with known channels; got {x} and {z}")
        self._strides = self._resolve_strides(x, z)
        self.channels = z[-1]
        self.gamma = self.add_weight(
            name="gamma",
            shape=(self.channels,) if self.per_channel else (),
            initializer=self.gamma_initializer or keras.initializers.Constant(gamma_start(x[-1], z[-1])),  # pyright: ignore[reportArgumentType]
        )
        super().build(input_shape)

    def _resolve_strides(self, x: tuple, z: tuple) -> tuple[int, int]:
        if self.strides is None:
            if None in (*x[1:3], *z[1:3]):
                raise ValueError(
                    f"{self.name}: the stride cannot be inferred from {x} and {z}, whose sizes are not static; pass strides="
                )
            try:
                return infer_stride(x[1], z[1]), infer_stride(x[2], z[2])
            except ValueError as error:
                raise ValueError(f"{self.name}: cannot align {x} to {z}: {error}") from None
        for axis, stride in zip((1, 2), self.strides, strict=True):
            if None not in (x[axis], z[axis]) and -(-x[axis] // stride) != z[axis]:
                raise ValueError(f"{self.name}: strides {self.strides} do not take {x} to {z}")
        return self.strides

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        x, z = inputs
        x = align_space(x, self._strides)
        # Where possible, gamma multiplies the tensor with fewer channels: before an expand with a scalar gamma, after a squeeze.
        if self.per_channel or x.shape[-1] >= self.channels:
            return z + self.gamma * align_channels(x, self.channels)
        return z + align_channels(self.gamma * x, self.channels)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[1]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "per_channel": self.per_channel,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "strides": self.strides,
        }
