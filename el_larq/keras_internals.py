"""Keras' private interfaces: everything in tf-keras without a public name that this project uses.

No other module uses them, which tests/test_architecture.py checks, so that an upgrade of tf-keras affects only this file.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras
from tf_keras.protobuf import saved_metadata_pb2
from tf_keras.src import activations, constraints, initializers, losses, metrics, regularizers
from tf_keras.src.layers import serialization
from tf_keras.src.layers.convolutional.base_conv import Conv
from tf_keras.src.layers.core import tf_op_layer
from tf_keras.src.optimizers.schedules import learning_rate_schedule
from tf_keras.src.saving import saving_lib, serialization_lib
from tf_keras.src.utils import generic_utils

CONVOLUTION = Conv
"""The base class of all convolutions."""

OPERATOR_LAYERS = (tf_op_layer.TFOpLambda, tf_op_layer.SlicingOpLambda)
"""Layers that call a function given by name in their configuration."""

BUILTIN_MODULES: tuple[str, ...] = tuple(serialization_lib.BUILTIN_MODULES)
"""Public Keras modules in which Keras looks up the classes of a .keras file."""


class LayerCall:
    """One call of a layer in a functional model. All tensors are symbolic.

    is_input: the call represents an input of the model.
    """

    def __init__(self, node: Any):
        self._node = node

    @property
    def layer(self) -> Any:
        return self._node.layer

    @property
    def is_input(self) -> bool:
        return self._node.is_input

    @property
    def inputs(self) -> list[Any]:
        return self._node.keras_inputs

    @property
    def sources(self) -> list[Any]:
        """The layers that produced the inputs."""
        return [tensor._keras_history.layer for tensor in self.inputs]

    @property
    def outputs(self) -> list[Any]:
        return tf.nest.flatten(self._node.outputs)

    @property
    def input_shapes(self) -> Any:
        """Input shapes, including the batch dimension; a list of shapes if there are several inputs."""
        return self._node.input_shapes

    @property
    def output_shapes(self) -> Any:
        return self._node.output_shapes


def is_functional(model: keras.Model) -> bool:
    """Whether the model has a graph of its layers' calls. Subclassed models do not."""
    return bool(getattr(model, "_nodes_by_depth", None))


def layer_calls(model: keras.Model) -> Iterator[LayerCall]:
    """The layer calls of a functional model, in graph order; a nested model counts as one layer."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            yield LayerCall(node)


def all_layers(model: keras.Model | keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """The model or layer itself, nested models, and all their layers, each once, outer ones before their own."""
    yield from model._flatten_layers()


def leaf_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Every layer of a model, each once; nested models are replaced by their layers."""
    return [layer for layer in model._flatten_layers(include_self=False) if not isinstance(layer, keras.Model)]


def returned_tensors(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, Any]]:
    """Each layer with each symbolic tensor that its calls return, including nested models and calls outside this model."""
    for layer in all_layers(model):
        for node in layer.inbound_nodes:
            for tensor in tf.nest.flatten(node.outputs):
                yield layer, tensor


def random_state(layer: keras.layers.Layer) -> tf.Variable | None:
    """The random generator state of a layer that draws random numbers, such as Dropout; None for other layers."""
    generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
    return None if generator is None else generator.state


def is_compiled(model: keras.Model) -> bool:
    return bool(getattr(model, "_is_compiled", False))


def loss_function(model: keras.Model) -> Any:
    """The loss of a compiled model, called with labels, predictions, weights of samples and ``regularization_losses``."""
    return model.compiled_loss


def build_metrics(model: keras.Model, labels: tf.Tensor, predictions: tf.Tensor) -> None:
    """Create the variables of a compiled model's loss and metrics, which Keras does not do before the first step."""
    if not model.compiled_loss.built:
        model.compiled_loss.build(predictions)
    if not model.compiled_metrics.built:
        model.compiled_metrics.build(predictions, labels)


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """The arguments that `compile` was called with."""
    return dict(model._compile_config.config)


def optimizer_state(optimizer: Any, weights: list[tf.Variable]) -> list[tf.Variable]:
    """The variables of a Keras optimizer, new or legacy, for these weights, created now if necessary."""
    if isinstance(optimizer, keras.optimizers.legacy.Optimizer):
        optimizer._create_all_weights(weights)
        return list(optimizer.weights)
    optimizer.build(weights)
    return list(optimizer.variables)


def rate_or_schedule(optimizer: Any) -> Any:
    """An optimizer's learning rate, or its schedule if it has one; None if it has neither."""
    rate = getattr(optimizer, "_learning_rate", None)
    return getattr(optimizer, "learning_rate", None) if rate is None else rate


def loss_scale_state(optimizer: Any) -> list[tf.Variable]:
    """The scale of the loss and the number of steps since it changed; empty if the optimizer has no dynamic scale."""
    if not getattr(optimizer, "dynamic", False) or optimizer.dynamic_counter is None:
        return []
    return [optimizer._loss_scale.current_loss_scale, optimizer.dynamic_counter]


def cast_inputs(layer: keras.layers.Layer) -> None:
    """Let the layer of an operator cast all its inputs of 16 bits to float32; others do so themselves, with their first one."""
    operator: Any = layer.call

    def call(*inputs: Any, **options: Any) -> Any:
        inputs, options = tf.nest.map_structure(_in_float32, (inputs, options))
        return operator(*inputs, **options)

    layer.call = call


def _in_float32(value: Any) -> Any:
    is_half = tf.is_tensor(value) and value.dtype in (tf.float16, tf.bfloat16)
    return tf.cast(value, tf.float32) if is_half else value


def quantize_uncast(kernel: Any, dtype: str) -> None:
    """Let a kernel of a Larq layer in half precision be quantized in float32, and cast afterwards instead of before."""
    latent, quantizer = kernel.latent_variable, kernel.quantizer
    variable = latent._variable
    # The latent kernel keeps the type that operators ask for, which is that of the quantized kernel.
    latent.value, latent.read_value = variable.value, variable.read_value
    latent._dense_var_to_tensor = lambda dtype=None, name=None, as_ref=False: tf.convert_to_tensor(variable, name=name)
    kernel.quantizer = lambda value: tf.cast(quantizer(value), dtype)


@contextlib.contextmanager
def grouped_convolutions_traced() -> Iterator[None]:
    """Trace grouped convolutions like all others. Keras jit-compiles them as functions that freezing a graph does not inline."""
    compiled = Conv._jit_compiled_convolution_op
    Conv._jit_compiled_convolution_op = Conv.convolution_op
    try:
        yield
    finally:
        Conv._jit_compiled_convolution_op = compiled


@contextlib.contextmanager
def synchronized_normalization(model: keras.Model, replicas: int) -> Iterator[None]:
    """Let batch normalizations use the statistics of the images of all replicas, which have equally many.

    TensorFlow's fused kernel updates the moving variance with Bessel's correction, n / (n - 1) for n values per channel. Keras' own
    synchronization does not; here it does, so that one replica and several give the same.
    """
    norms: list[Any] = [layer for layer in leaf_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    before = [(layer.synchronized, layer.fused) for layer in norms]
    for layer in norms:
        if layer.fused:
            _correct_variance(layer, replicas)
        layer.synchronized, layer.fused = True, False
    try:
        yield
    finally:
        for layer, (synchronized, fused) in zip(norms, before, strict=True):
            layer.synchronized, layer.fused = synchronized, fused
            if fused:
                del layer._moments, layer._assign_moving_average


def _correct_variance(layer: Any, replicas: int) -> None:
    """Replace methods of a layer by ones with Bessel's correction; the class has them still."""
    moments, assign = layer._moments, layer._assign_moving_average
    correction: list[Any] = []

    def counted(inputs: Any, *arguments: Any, **options: Any) -> Any:
        mean, variance = moments(inputs, *arguments, **options)
        count = replicas * tf.cast(tf.size(inputs) / tf.size(mean), variance.dtype)
        correction[:] = [count / tf.maximum(count - 1, 1)]
        return mean, variance

    def corrected(variable: Any, value: Any, *arguments: Any) -> Any:
        return assign(variable, value * correction[0] if variable is layer.moving_variance else value, *arguments)

    layer._moments, layer._assign_moving_average = counted, corrected


def name_tables() -> list[dict[str, Any]]:
    """The tables in which Keras looks up names that come without a module, or even with one."""
    serialization.populate_deserializable_objects()
    initializers.populate_deserializable_objects()
    modules = (constraints, regularizers, losses, metrics, learning_rate_schedule, keras.optimizers, keras.optimizers.legacy)
    return [
        serialization.LOCAL.ALL_OBJECTS,
        initializers.LOCAL.ALL_OBJECTS,
        dict(vars(activations)),
        dict(vars(keras.activations)),
        {"Policy": keras.mixed_precision.Policy},
        *(dict(vars(module)) for module in modules),
    ]


def saved_metadata() -> Any:
    """An empty protobuf message for keras_metadata.pb, the file in SavedModels of Keras layers."""
    return saved_metadata_pb2.SavedMetadata()  # pyright: ignore[reportAttributeAccessIssue]


def from_archive_config(config: dict[str, Any], safe: bool) -> Any:
    """The object that the configuration in a .keras archive describes, with initial weights."""
    with serialization_lib.ObjectSharingScope():
        return serialization_lib.deserialize_keras_object(config, safe_mode=safe)


def load_older_state(model: Any, weights: Mapping[str, Any], repeats: bool) -> None:
    """Set the variables of a model from the weights in a .keras archive of Keras 2.12 to 2.14.

    An archive stores the variables of a layer under the attributes through which Keras reaches it first. These versions visit
    attributes in alphabetical order, Keras 2.15 in the opposite order.

    Arguments:
        repeats: as up to 2.13, a layer that occurs twice in a list is numbered twice.

    Raises:
        ValueError: the archive has no variables for a layer.
    """
    skipped = saving_lib.ATTR_SKIPLIST - {"_layer_checkpoint_dependencies"}
    visited: set[int] = set()

    def load(item: Any, path: str) -> None:
        if id(item) in visited:
            return
        visited.add(id(item))
        if hasattr(item, "load_own_variables"):
            item.load_own_variables(weights.get(f"{path}/vars", {}))
        for name in dir(item):
            if name.startswith("__") or name in skipped:
                continue
            try:
                child = getattr(item, name)
            except Exception:  # as Keras does: properties that a model does not support
                continue
            if saving_lib._is_keras_trackable(child):
                load(child, f"{path}/{name}")
            elif isinstance(child, (list, dict, tuple, set)):
                load_all(child.values() if isinstance(child, dict) else child, f"{path}/{name}")

    def load_all(items: Iterable[Any], path: str) -> None:
        counts = Counter[str]()
        for item in items:
            if not saving_lib._is_keras_trackable(item) or (id(item) in visited and not repeats):
                continue
            kind = generic_utils.to_snake_case(type(item).__name__)
            load(item, f"{path}/{kind}_{counts[kind]}" if counts[kind] else f"{path}/{kind}")
            counts[kind] += 1

    load(model, "")
