"""Keras' private interfaces: everything of tf-keras without a public name that this project uses.

No other module touches them, which tests/test_architecture.py checks, so an upgrade of tf-keras is an upgrade of this file.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tf_keras as keras
from tf_keras.protobuf import saved_metadata_pb2
from tf_keras.src import activations, constraints, initializers, losses, metrics, regularizers
from tf_keras.src.layers import serialization
from tf_keras.src.layers.convolutional.base_conv import Conv
from tf_keras.src.layers.core import tf_op_layer
from tf_keras.src.optimizers.schedules import learning_rate_schedule
from tf_keras.src.saving import serialization_lib

CONVOLUTION = Conv
"""The base class of all convolutions."""

OPERATOR_LAYERS = (tf_op_layer.TFOpLambda, tf_op_layer.SlicingOpLambda)
"""Layers that call what their configuration names."""

BUILTIN_MODULES: tuple[str, ...] = tuple(serialization_lib.BUILTIN_MODULES)
"""Public modules of Keras in which it looks up a class of a .keras file."""


class LayerCall:
    """One call of a layer in a functional model. Tensors are symbolic; a single one, or whatever structure the layer returns.

    is_input: it stands for an input of the model.
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
        """The layers that made the inputs."""
        return [tensor._keras_history.layer for tensor in self.inputs]

    @property
    def outputs(self) -> list[Any]:
        return tf.nest.flatten(self._node.outputs)

    @property
    def input_shapes(self) -> Any:
        """The batch first; a list of shapes where there are several inputs."""
        return self._node.input_shapes

    @property
    def output_shapes(self) -> Any:
        return self._node.output_shapes


def is_functional(model: keras.Model) -> bool:
    """Whether the model shows how its layers call each other. Subclassed ones do not."""
    return bool(getattr(model, "_nodes_by_depth", None))


def layer_calls(model: keras.Model) -> Iterator[LayerCall]:
    """The calls of a functional model's layers, in the order of the graph; a nested model is one layer."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            yield LayerCall(node)


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The model itself, nested models, and every layer of them, each once."""
    yield from model._flatten_layers()


def leaf_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Every layer of a model, those of nested models in their place, each once."""
    return [layer for layer in model._flatten_layers(include_self=False) if not isinstance(layer, keras.Model)]


def returned_tensors(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, Any]]:
    """Each layer with each symbolic tensor that its calls return, calls from elsewhere and nested models included."""
    for layer in all_layers(model):
        for node in layer.inbound_nodes:
            for tensor in tf.nest.flatten(node.outputs):
                yield layer, tensor


def random_state(layer: keras.layers.Layer) -> tf.Variable | None:
    """The state of a layer that draws random numbers, such as Dropout; None for others."""
    generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
    return None if generator is None else generator.state


def is_compiled(model: keras.Model) -> bool:
    return bool(getattr(model, "_is_compiled", False))


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """What `compile` was called with."""
    return dict(model._compile_config.config)


def optimizer_state(optimizer: Any, weights: list[tf.Variable]) -> list[tf.Variable]:
    """The variables of one of Keras' optimizers, new or legacy, for these weights, created now if need be."""
    if isinstance(optimizer, keras.optimizers.legacy.Optimizer):
        optimizer._create_all_weights(weights)
        return list(optimizer.weights)
    optimizer.build(weights)
    return list(optimizer.variables)


def rate_or_schedule(optimizer: Any) -> Any:
    """The learning rate of an optimizer, a schedule where it has one; None where it has neither."""
    rate = getattr(optimizer, "_learning_rate", None)
    return getattr(optimizer, "learning_rate", None) if rate is None else rate


@contextlib.contextmanager
def grouped_convolutions_traced() -> Iterator[None]:
    """Trace grouped convolutions as any other. Keras compiles them, as functions that stay closed when a graph is frozen."""
    compiled = Conv._jit_compiled_convolution_op
    Conv._jit_compiled_convolution_op = Conv.convolution_op
    try:
        yield
    finally:
        Conv._jit_compiled_convolution_op = compiled


def name_tables() -> list[dict[str, Any]]:
    """The tables in which Keras looks a name up where no module is named, or in spite of one."""
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
    """An empty message of the format of keras_metadata.pb, which a SavedModel of Keras layers holds."""
    return saved_metadata_pb2.SavedMetadata()  # pyright: ignore[reportAttributeAccessIssue]
