"""A model as a frozen TensorFlow graph: the steps after `load` work on it, however the model was built."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.converters.freezing import define_functions, freeze, is_large
from el_larq.converters.graph_def import full_name, keep_needed
from el_larq.keras_internals import grouped_convolutions_traced
from el_larq.native_output import captured_stderr

Images = np.ndarray | Sequence[np.ndarray]
"""A batch (N, ...) for the only input of a model, or one batch for each of several inputs."""


_COPIES = ("Identity", "StopGradient", "Snapshot")


class FrozenModel:
    """An inference graph with its weights as constants. Large ones are placeholders whose values the graph captures.

    inputs, outputs: tensors of the graph, (N, ...), in the model's order. operations: all of its nodes.
    input_names, output_names: the unique names that Keras gives them. variables: the constants that were variables when frozen.
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
        graph = self._graph.as_graph_def()
        change(graph)
        sources, outputs = [tensor.name for tensor in self.inputs], [output.name for output in self.outputs]
        nodes = {node.name: node for node in graph.node}

        def run(*images: Any) -> Any:
            given = dict(zip(sources, images, strict=True))
            for name, value in self._weights.items():
                given[f"{name}:0"] = captured(tf.cast(value, nodes[name].attr["dtype"].type), name)
            return tf.graph_util.import_graph_def(graph, given, outputs, name="")

        return FrozenModel.from_function(run, self, types)

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
            concrete: Any = traced.get_concrete_function()
            self._graph = freeze(concrete)
        self.variables = frozenset(inner.op.name for value, inner in concrete.graph.captures if value.dtype == tf.resource)
        self._values: dict[str, np.ndarray] = {}
        self._fetched: dict[tuple[tuple[str, ...], tuple[str, ...]], Callable[..., list[np.ndarray]]] = {}

    @property
    def inputs(self) -> list[Any]:
        return list(self._graph.inputs)[: len(self.input_shapes)]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the only input, or of the first one."""
        return self.input_shapes[0]

    @property
    def outputs(self) -> list[Any]:
        return list(self._graph.outputs)

    @property
    def operations(self) -> list[Any]:
        return self._graph.get_operations()

    def zeros(self, count: int) -> list[np.ndarray]:
        """A batch of zeros for each input."""
        return [
            np.zeros((count, *shape), tensor.dtype.as_numpy_dtype)
            for shape, tensor in zip(self.input_shapes, self.inputs, strict=True)
        ]

    def fetch(self, tensors: list[Any], fed: Sequence[Any] = ()) -> Callable[..., list[np.ndarray]]:
        """A function from `Images` to the values of the tensors.

        The values of the tensors in ``fed``, (N, ...), are its further arguments: the graph uses these values instead of computing
        them. Functions are kept: verification asks for the same ones for each file that it compares with the model.
        """
        key = tuple(tensor.name for tensor in fed), tuple(tensor.name for tensor in tensors)
        if key not in self._fetched:
            self._fetched[key] = self._fetch(tensors, fed)
        return self._fetched[key]

    def _fetch(self, tensors: list[Any], fed: Sequence[Any]) -> Callable[..., list[np.ndarray]]:
        pruned = self._subgraph([*self.inputs, *fed], tensors)

        def run(images: Images, *values: np.ndarray) -> list[np.ndarray]:
            batches = [images] if isinstance(images, np.ndarray) else list(images)
            with _unoptimized():
                return [value.numpy() for value in pruned(*map(tf.constant, (*batches, *values)))]

        return run

    def _subgraph(self, fed: Sequence[Any], tensors: Sequence[Any]) -> Callable[..., list[Any]]:
        """A function from the values of ``fed`` to those of ``tensors``, which contains no other operations.

        ConcreteFunction.prune does the same; it takes ten times as long, as it copies operations one by one in Python.
        """
        graph, names = self._graph.as_graph_def(), [tensor.name for tensor in fed]
        computed = [tensor.name for tensor in tensors if tensor.name not in names]
        keep_needed(graph, computed, names)
        define_functions(graph)
        read = {full_name(source) for node in graph.node for source in node.input}
        nodes = {node.name for node in graph.node}

        def run(*values: Any) -> list[Any]:
            given = dict(zip(names, values, strict=True))
            weights = {f"{name}:0": captured(value, name) for name, value in self._weights.items() if name in nodes}
            used = {name: value for name, value in (given | weights).items() if name in read}
            found = dict(zip(computed, tf.graph_util.import_graph_def(graph, used, computed, name=""), strict=True))
            return [(given | found)[tensor.name] for tensor in tensors]

        function = tf.function(run, [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in fed], autograph=False)
        return function.get_concrete_function()

    @functools.cached_property
    def _weights(self) -> dict[str, Any]:
        """The values of the large constants, by the names of their placeholders."""
        return {inner.op.name: value for value, inner in self._graph.captures}

    @property
    def weight_bytes(self) -> int:
        """The size of the large constants."""
        return sum(value.shape.num_elements() * value.dtype.size for value in self._weights.values())

    def _value(self, tensor: Any) -> np.ndarray | None:
        """The value of a constant of the graph, None for other tensors. Read once: the steps share it."""
        if tensor.name not in self._values and self._is_constant(tensor):
            value = np.asarray(static_value(tensor))
            value.flags.writeable = False
            self._values[tensor.name] = value
        return self._values.get(tensor.name)

    def as_tensor(self, value: np.ndarray) -> Any:
        """An array as a tensor, float64 as float32. A large constant of the graph is not copied."""
        name = next((name for name, array in self._values.items() if array is value), "")
        weight = self._weights.get(name.split(":")[0])
        return tf.constant(value, tf.float32 if value.dtype == np.float64 else None) if weight is None else weight

    def _is_constant(self, tensor: Any) -> bool:
        return tensor.op.type == "Const" or tensor.op.name in self._weights

    def constants(self, tensors: list[Any]) -> list[np.ndarray | None]:
        """The values of the tensors that do not depend on the inputs, None for those that do."""
        stored = {tensor.name: find_source(tensor, reshaped=False) for tensor in tensors}
        computed = {t.name: t for t in tensors if not self._is_constant(stored[t.name]) and not self.depends(t)}
        values = dict(zip(computed, self._fetch(list(computed.values()), ())(self.zeros(1)) if computed else [], strict=True))
        return [values[tensor.name] if tensor.name in values else self._value(stored[tensor.name]) for tensor in tensors]

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

        It contains only the function: saving Keras layers would trace each of them again.
        """
        specs = [
            tf.TensorSpec([1, *shape], tensor.dtype, name=tensor.op.name)
            for shape, tensor in zip(self.input_shapes, self.inputs, strict=True)
        ]
        names = [output_key(i) for i in range(len(self.outputs))]
        # Variables instead of constants: LCE's converter takes half the memory and the time to read them.
        module, graph = _Variables(self._weights.values()), self._graph.as_graph_def()
        arguments = [*(tensor.name for tensor in self.inputs), *(f"{name}:0" for name in self._weights)]
        outputs = [output.name for output in self.outputs]
        define_functions(graph)

        def serve(*images: Any) -> dict[str, Any]:
            given = dict(zip(arguments, (*images, *map(tf.convert_to_tensor, module.all)), strict=True))
            return dict(zip(names, tf.graph_util.import_graph_def(graph, given, outputs, name=""), strict=True))

        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, folder, signatures=tf.function(serve, specs).get_concrete_function(), options=options)


class _Variables(tf.Module):
    def __init__(self, values: Iterable[Any]):
        super().__init__()
        self.all = [tf.Variable(value, trainable=False) for value in values]


def captured(value: Any, name: str) -> Any:
    """The tensor of the graph being traced whose value is this one; named if it is large."""
    return tf.compat.v1.get_default_graph().capture(value, name=name) if is_large(value) else value


def is_constant(tensor: Any) -> bool:
    """Whether a tensor is a constant of its graph, large or small."""
    return tensor.op.type == "Const" or _weight(tensor) is not None


def static_value(tensor: Any) -> Any:
    """The value of a constant as an array, None for tensors that are not constant. A large one shares its memory with the model."""
    weight = _weight(tensor)
    if weight is None:
        return tf.get_static_value(tensor)
    return weight.numpy() if weight.dtype == tf.bfloat16 else np.asarray(memoryview(weight))


def _weight(tensor: Any) -> Any | None:
    if tensor.op.type != "Placeholder":
        return None
    return next((value for value, inner in tensor.graph.captures if inner.op.name == tensor.op.name), None)


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


def dependencies_of(tensor: Any) -> list[Any]:
    """Every operation that a tensor depends on, including its own."""
    stack, seen = [tensor.op], {}
    while stack:
        operation = stack.pop()
        if operation.name not in seen:
            seen[operation.name] = operation
            stack.extend(source.op for source in operation.inputs)
    return list(seen.values())
