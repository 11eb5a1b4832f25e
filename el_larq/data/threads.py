"""NumPy functions on the elements of a tf.data.Dataset."""

from typing import Any


def in_threads(
    elements: Any,
    batch: Any,
    shape: tuple[int, ...],
    batch_size: int | None,
    dtype: str = "uint8",
    *,
    label_shape: tuple[int, ...] = (),
    label_dtype: str = "int64",
) -> Any:
    """Map a NumPy function over elements, in parallel and in order; it returns images (n, *shape) and labels (n, *label_shape)."""
    import tensorflow as tf

    def make(*element: Any) -> tuple[Any, Any]:
        # Its result depends only on its arguments. With deterministic operations, stateful functions would run sequentially.
        pixels, labels = tf.numpy_function(batch, element, (tf.as_dtype(dtype), tf.as_dtype(label_dtype)), stateful=False)
        pixels.set_shape((batch_size, *shape))
        labels.set_shape((batch_size, *label_shape))
        return pixels, labels

    return elements.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
