"""A model as a frozen TensorFlow graph: the steps after `load` work on it, however the Keras model was built."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from el_larq.keras_internals import grouped_convolutions_traced
from el_larq.native_output import captured_stderr


class FrozenModel:
    """An inference graph with one input (N, ...) and its weights as constants.

    input, outputs: tensors of the graph, the outputs in the model's order. operations: all of its nodes.
    output_names: the unique names that Keras gives the outputs.
    """

    def __init__(self, model: keras.Model):
        self._freeze(lambda image: model(image, training=False), model.inputs[0], model.name, tuple(model.output_names or ()))

    @classmethod
    def from_function(cls, function: Callable[[Any], Any], like: "FrozenModel") -> "FrozenModel":
        """Freeze a function of an image batch, with the name, input and output names of another model."""
        frozen = cls.__new__(cls)
        frozen._freeze(function, like.input, like.name, like.output_names)
        return frozen

    def _freeze(self, function: Callable[[Any], Any], image: Any, name: str, output_names: tuple[str, ...]) -> None:
        self.name, self.output_names = name, output_names
        self.input_shape: tuple[int, ...] = tuple(image.shape[1:])
        self._spec = tf.TensorSpec([None, *self.input_shape], image.dtype, name="image")
        # TensorFlow sorts outputs by name; numbered names keep the model's order.
        traced = tf.function(
            lambda image: {output_key(i): y for i, y in enumerate(tf.nest.flatten(function(image)))},
            input_signature=[self._spec],
        )
        with captured_stderr(), grouped_convolutions_traced():  # Grappler prints which devices it did not find
            self._function = convert_variables_to_constants_v2(traced.get_concrete_function())

    @property
    def input(self) -> Any:
        return self._function.inputs[0]

    @property
    def outputs(self) -> list[Any]:
        return list(self._function.outputs)

    @property
    def operations(self) -> list[Any]:
        return self._function.graph.get_operations()

    def fetch(self, tensors: list[Any], fed: Sequence[Any] = ()) -> Callable[..., list[np.ndarray]]:
        """A function from images (N, ...) to the values of the tensors.

        The values of the tensors in ``fed``, (N, ...), are its further arguments: the graph uses these values instead of computing
        them.
        """
        pruned = self._function.prune([self.input, *fed], tensors)

        def run(*values: np.ndarray) -> list[np.ndarray]:
            with _without_constant_folding() if fed else contextlib.nullcontext():
                return [value.numpy() for value in pruned(*map(tf.constant, values))]

        return run

    def constants(self, tensors: list[Any]) -> list[np.ndarray | None]:
        """The values of the tensors that do not depend on the input, None for those that do."""
        known = [not self.depends(tensor) for tensor in tensors]
        fetched = [tensor for tensor, is_known in zip(tensors, known, strict=True) if is_known]
        # The input is passed because in a graph from a SavedModel constants may wait for it without depending on its value.
        zeros = tf.zeros([1, *self.input_shape], self._spec.dtype)
        values = iter(self._function.prune(self.input, fetched)(zeros) if fetched else [])
        return [next(values).numpy() if is_known else None for is_known in known]

    def depends(self, tensor: Any) -> bool:
        """Whether a tensor depends on the input."""
        return any(operation is self.input.op for operation in behind(tensor))

    def save(self, folder: str) -> None:
        """Write a SavedModel with batch size 1 and outputs named by `output_key`.

        It holds only the function: saving Keras layers would trace each of them again.
        """
        shape = tf.TensorSpec([1, *self.input_shape], self._spec.dtype, name="image")
        names = [output_key(i) for i in range(len(self.outputs))]
        serve = tf.function(
            lambda image: dict(zip(names, tf.nest.flatten(self._function(image)), strict=True)), input_signature=[shape]
        )
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(tf.Module(), folder, signatures=serve.get_concrete_function(), options=options)


@contextlib.contextmanager
def _without_constant_folding() -> Iterator[None]:
    """Disable constant folding.

    TensorFlow 2.21 aborts on folding a factor by position into a convolution of fed values with unknown batch size.
    """
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"constant_folding": False})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"constant_folding": before.get("constant_folding", True)})


def output_key(number: int) -> str:
    """The name of an output inside TensorFlow and LCE's converter; sorting by it keeps the model's order."""
    return f"output_{number:06}"


def behind(tensor: Any) -> list[Any]:
    """Every operation that a tensor depends on, including its own."""
    stack, seen = [tensor.op], {}
    while stack:
        operation = stack.pop()
        if operation.name not in seen:
            seen[operation.name] = operation
            stack.extend(source.op for source in operation.inputs)
    return list(seen.values())
