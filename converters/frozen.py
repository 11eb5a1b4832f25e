"""A model as a frozen TensorFlow graph: the steps after `load` work on it, however the model was built."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.converters.freezing import freeze
from el_larq.keras_internals import grouped_convolutions_traced
from el_larq.native_output import captured_stderr

Images = np.ndarray | Sequence[np.ndarray]
"""A batch (N, ...) for the only input of a model, or one batch for each of several inputs."""

LARGE = 2**14
"""The number of values from which a constant is handed to TensorFlow's functions as an argument."""

_COPIES = ("Identity", "StopGradient", "Snapshot")


class FrozenModel:
    """An inference graph with its weights as constants.

    inputs, outputs: tensors of the graph, (N, ...), in the model's order. operations: all of its nodes.
    input_names, output_names: the unique names that Keras gives them.
    """

    def __init__(self, model: keras.Model):
        inputs, structure = list(model.inputs or ()), model.input
        self._freeze(
            lambda *images: model(_arranged(structure, model, images), training=False),
            [tuple(tensor.shape[1:]) for tensor in inputs],
            [tensor.dtype for tensor in inputs],
            model.name,
            tuple(model.input_names or ("image",)),
            tuple(model.output_names or ()),
        )

    @classmethod
    def from_function(
        cls, function: Callable[..., Any], like: "FrozenModel", types: Sequence[tf.DType] | None = None
    ) -> "FrozenModel":
        """Freeze a function of a batch for each input, with the name, inputs and output names of another model.

        types: those of the inputs if they differ from that model's.
        """
        frozen = cls.__new__(cls)
        types = types or [tensor.dtype for tensor in like.inputs]
        frozen._freeze(function, like.input_shapes, types, like.name, like.input_names, like.output_names)
        return frozen

    def edited(self, change: Callable[[Any], None], types: Sequence[tf.DType] | None = None) -> "FrozenModel":
        """The model after a change of its GraphDef, which keeps the names of its outputs' operations.

        types: those of the inputs if they change; the graph then has placeholders of these types.
        """
        graph = self._function.graph.as_graph_def()
        change(graph)
        sources, outputs = [tensor.name for tensor in self.inputs], [output.name for output in self.outputs]
        return FrozenModel.from_function(
            lambda *images: tf.graph_util.import_graph_def(graph, dict(zip(sources, images, strict=True)), outputs, name=""),
            self,
            types,
        )

    def _freeze(
        self,
        function: Callable[..., Any],
        shapes: Sequence[tuple[int, ...]],
        types: Sequence[tf.DType],
        name: str,
        input_names: tuple[str, ...],
        output_names: tuple[str, ...],
    ) -> None:
        self.name, self.input_names, self.output_names = name, input_names, output_names
        self.input_shapes = [tuple(shape) for shape in shapes]
        specs = [
            tf.TensorSpec([None, *shape], dtype, name="image" if len(shapes) == 1 else input_key(number))
            for number, (shape, dtype) in enumerate(zip(shapes, types, strict=True))
        ]
        # TensorFlow sorts outputs by name; numbered names keep the model's order.
        traced = tf.function(
            lambda *images: {output_key(i): y for i, y in enumerate(tf.nest.flatten(function(*images)))}, input_signature=specs
        )
        with captured_stderr(), grouped_convolutions_traced():  # Grappler prints which devices it did not find
            self._function = freeze(traced.get_concrete_function())
        self._values: dict[str, np.ndarray] = {}

    @property
    def inputs(self) -> list[Any]:
        return list(self._function.inputs)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the only input, or of the first one."""
        return self.input_shapes[0]

    @property
    def outputs(self) -> list[Any]:
        return list(self._function.outputs)

    @property
    def operations(self) -> list[Any]:
        return self._function.graph.get_operations()

    def zeros(self, count: int) -> list[np.ndarray]:
        """A batch of zeros for each input."""
        return [
            np.zeros((count, *shape), tensor.dtype.as_numpy_dtype)
            for shape, tensor in zip(self.input_shapes, self.inputs, strict=True)
        ]

    def fetch(self, tensors: list[Any], fed: Sequence[Any] = ()) -> Callable[..., list[np.ndarray]]:
        """A function from `Images` to the values of the tensors.

        The values of the tensors in ``fed``, (N, ...), are its further arguments: the graph uses these values instead of computing
        them.
        """
        names = {tensor.name for tensor in (*tensors, *fed)}
        needed = {operation.name for tensor in tensors for operation in behind(tensor)}
        # Arguments instead of constants of the function: TensorFlow copies a function, with its constants, several times.
        large = [tensor for tensor in self._large if tensor.op.name in needed and tensor.name not in names]
        pruned = self._function.prune([*self.inputs, *fed, *large], tensors)

        def run(images: Images, *values: np.ndarray) -> list[np.ndarray]:
            batches = [images] if isinstance(images, np.ndarray) else list(images)
            arguments = (*batches, *values, *map(self._value, large))
            with _unoptimized():
                return [value.numpy() for value in pruned(*map(tf.constant, arguments))]

        return run

    @functools.cached_property
    def _large(self) -> list[Any]:
        """The large constants of the graph."""
        constants = [operation.outputs[0] for operation in self.operations if operation.type == "Const"]
        return [tensor for tensor in constants if (tensor.shape.num_elements() or 0) >= LARGE]

    def _value(self, tensor: Any) -> np.ndarray:
        """The value of a constant of the graph. Read once: the steps share it."""
        if tensor.name not in self._values:
            value = tf.make_ndarray(tensor.op.get_attr("value"))
            value.flags.writeable = False
            self._values[tensor.name] = value
        return self._values[tensor.name]

    def constants(self, tensors: list[Any]) -> list[np.ndarray | None]:
        """The values of the tensors that do not depend on the inputs, None for those that do."""
        stored = {tensor.name: find_source(tensor, reshaped=False) for tensor in tensors}
        computed = {t.name: t for t in tensors if stored[t.name].op.type != "Const" and not self.depends(t)}
        values = dict(zip(computed, self.fetch(list(computed.values()))(self.zeros(1)) if computed else [], strict=True))
        return [
            self._value(stored[tensor.name]) if stored[tensor.name].op.type == "Const" else values.get(tensor.name)
            for tensor in tensors
        ]

    def depends(self, tensor: Any) -> bool:
        """Whether a tensor depends on an input."""
        return tensor.op.name in self._dependent

    @functools.cached_property
    def _dependent(self) -> frozenset[str]:
        """Names of the operations that depend on an input."""
        found = {source.op.name for source in self.inputs}
        for operation in self.operations:
            if any(source.op.name in found for source in operation.inputs):
                found.add(operation.name)
        return frozenset(found)

    def save(self, folder: str) -> None:
        """Write a SavedModel with batch size 1, its inputs and outputs named by `input_key` and `output_key`.

        It holds only the function: saving Keras layers would trace each of them again.
        """
        specs = [
            tf.TensorSpec([1, *shape], tensor.dtype, name=tensor.op.name)
            for shape, tensor in zip(self.input_shapes, self.inputs, strict=True)
        ]
        names = [output_key(i) for i in range(len(self.outputs))]
        serve = tf.function(
            lambda *images: dict(zip(names, tf.nest.flatten(self._function(*images)), strict=True)), input_signature=specs
        )
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(tf.Module(), folder, signatures=serve.get_concrete_function(), options=options)


def _arranged(structure: Any, model: keras.Model, images: Sequence[Any]) -> Any:
    """The batches in the structure in which the model takes its inputs: one, a list or a dictionary."""
    if isinstance(structure, dict):
        return dict(zip(model.input_names or (), images, strict=True))
    return list(images) if len(images) > 1 else images[0]


@contextlib.contextmanager
def _unoptimized() -> Iterator[None]:
    """Without the optimizations of TensorFlow 2.21 that fail.

    It fuses normalization with functions for which no fused kernel exists (tanh), and aborts on folding a factor by position into a
    convolution with unknown batch size.
    """
    names = ("remapping", "constant_folding")
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options(dict.fromkeys(names, False))
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: before.get(name, True) for name in names})


def input_key(number: int) -> str:
    """The name of one of several inputs inside TensorFlow and LCE's converter; sorting by it keeps the model's order."""
    return f"input_{number:06}"


def output_key(number: int) -> str:
    """The name of an output inside TensorFlow and LCE's converter; sorting by it keeps the model's order."""
    return f"output_{number:06}"


def find_source(tensor: Any, *, reshaped: bool = True) -> Any:
    """The tensor that this one is a copy of; with ``reshaped``, also through changes of the shape."""
    while True:
        if tensor.op.type in _COPIES or (reshaped and tensor.op.type == "Reshape"):
            tensor = tensor.op.inputs[0]
        elif tensor.op.type == "IdentityN":
            tensor = tensor.op.inputs[tensor.value_index]
        else:
            return tensor


def behind(tensor: Any) -> list[Any]:
    """Every operation that a tensor depends on, including its own."""
    stack, seen = [tensor.op], {}
    while stack:
        operation = stack.pop()
        if operation.name not in seen:
            seen[operation.name] = operation
            stack.extend(source.op for source in operation.inputs)
    return list(seen.values())
