"""The gated link."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.layers.align import align_space, infer_stride

SMALLEST_GATE = 0.01


@keras.utils.register_keras_serializable("el_larq")
class AtLeast(keras.constraints.Constraint):
    """Constrains w to max(w, minimum)."""

    def __init__(self, minimum: float):
        self.minimum = minimum

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        return tf.maximum(w, tf.cast(self.minimum, w.dtype))

    def get_config(self) -> dict[str, Any]:
        return {"minimum": self.minimum}


@keras.utils.register_keras_serializable("el_larq")
class GatedLink(keras.layers.Layer):
    r"""Adds the real-valued input of a binary convolution, weighted by one gate per channel, to that convolution's output.

    Called on two tensors, ``GatedLink()([x, z])``: ``x`` of shape (N, H, W, C), before binarization, and ``z`` of shape
    (N, H', W', C), the convolution's output. With g of shape (C,), and pool the average pooling by the stride (window = stride,
    padding "same"):

        y = z + g * pool(x)

    Gradients: dL/dz = dL/dy; dL/dx = pool^T(g * dL/dy); dL/dg_c = sum over N, H', W' of dL/dy_c * pool(x)_c.

    Arguments:
        gate_initializer: initializer of g, or its initial value. 1 is the identity link, 0 is no link.
        positive: keep g at `SMALLEST_GATE` or above after each step. A binary convolution depends only on the sign of its input, so
            conversion can move positive gates elsewhere; other gates stay multiplications, with the same result.
        strides: the convolution's strides, an integer or a pair. None infers them from the static shapes.

    g takes no weight decay (``el_larq.training`` excludes it).

    Raises:
        ValueError: x and z differ in channels or cannot be aligned, or strides are not given and H or W is not static.

    Reference: Shen, Liu, Gong, Han, "Balanced Binary Neural Networks with Gated Residual", ICASSP 2020, arXiv 1909.12117.
    """

    def __init__(
        self,
        gate_initializer: Any = 1.0,
        positive: bool = True,
        strides: int | tuple[int, int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if isinstance(gate_initializer, (int, float)):
            gate_initializer = keras.initializers.Constant(gate_initializer)  # pyright: ignore[reportArgumentType]
        self.gate_initializer = keras.initializers.get(gate_initializer)
        self.positive = positive
        self.strides = (strides, strides) if isinstance(strides, int) else None if strides is None else (strides[0], strides[1])

    def build(self, input_shape: Any) -> None:
        if not isinstance(input_shape, (list, tuple)) or len(input_shape) != 2:
            raise ValueError(f"{self.name}: call a GatedLink on two tensors, [x, z]; got input shape {input_shape}")
        x, z = (tuple(shape) for shape in input_shape)
        if len(x) != 4 or len(z) != 4 or x[-1] is None or x[-1] != z[-1]:
            raise ValueError(f"{self.name}: x and z must be (N, H, W, C) with the same, known channels; got {x} and {z}")
        if self.strides is None and None in (*x[1:3], *z[1:3]):
            raise ValueError(f"{self.name}: the stride cannot be inferred from {x} and {z}; pass strides=")
        self._strides = self.strides or (infer_stride(x[1], z[1]), infer_stride(x[2], z[2]))
        for axis, stride in zip((1, 2), self._strides, strict=True):
            if None not in (x[axis], z[axis]) and -(-x[axis] // stride) != z[axis]:
                raise ValueError(f"{self.name}: strides {self._strides} do not take {x} to {z}")
        self.gate = self.add_weight(
            name="gate",
            shape=(x[-1],),
            initializer=self.gate_initializer,  # pyright: ignore[reportArgumentType]
            constraint=AtLeast(SMALLEST_GATE) if self.positive else None,
        )
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        x, z = inputs
        return z + self.gate * align_space(x, self._strides)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[1]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "gate_initializer": keras.initializers.serialize(self.gate_initializer),
            "positive": self.positive,
            "strides": self.strides,
        }
