"""Loads a SavedModel without Keras layers: the function of its serving signature becomes a Keras model with one layer.

Any program that writes a serving signature qualifies, such as Keras 3's ``model.export()`` or ``tf.saved_model.save``.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.errors import ElLarqError, summarize
from el_larq.native_output import without_warnings

_DEFAULT = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


class GraphLayer(keras.layers.Layer):
    """Calls a graph that was loaded from a file: ``inputs`` -> [outputs], each (N, ...).

    Arguments:
        function: the concrete function of the signature.
        input_names, output_names: its keyword arguments, and the keys of its results, in the model's order.
        variables: those that it uses.
        keep: whatever has to live as long as the layer, since a function does not keep its variables.
        scaling: the name of a layer in the graph that scales images, if that is known.
    """

    def __init__(
        self,
        function: Any,
        input_names: list[str],
        output_names: list[str],
        variables: list[tf.Variable],
        keep: object,
        scaling: str | None = None,
    ):
        super().__init__(name="graph", trainable=False)
        self.scaling = scaling
        self.graph_variables = variables

        def run(inputs: list[Any]) -> list[Any]:
            assert keep is not None
            results = function(**dict(zip(input_names, inputs, strict=True)))
            return [results[name] for name in output_names]

        self._run = run

    def call(self, inputs: Any) -> Any:
        results = self._run(tf.nest.flatten(inputs))
        return results[0] if len(results) == 1 else results


def load_saved_function(
    folder: Path,
    source: str,
    *,
    names: tuple[list[str], list[str]] | None = None,
    title: str | None = None,
    scaling: str | None = None,
) -> keras.Model:
    """The model of a SavedModel's serving signature.

    Arguments:
        folder: the SavedModel, already checked.
        source: what errors call it.
        names: of inputs and outputs, in order, if that is known; TensorFlow sorts both by name. Others than the signature's are
            ignored.
        title: the model's name; None takes the folder's.
        scaling: see `GraphLayer`.

    Raises:
        ElLarqError: it cannot be loaded, has no signature or several, or its inputs have no known rank or a fixed batch size.
    """
    try:
        with without_warnings():
            loaded: Any = tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises many kinds of error for a damaged file
        raise ElLarqError(f"{source}: cannot be loaded: {summarize(error)}") from error
    function = _signature(loaded, source)
    specs = function.structured_input_signature[1]
    by_name = sorted(specs), sorted(function.structured_outputs)
    input_names, output_names = names if names and tuple(map(sorted, names)) == by_name else by_name
    for name in input_names:
        _check_input(specs[name], name, source)
    inputs = [keras.Input(tuple(specs[name].shape[1:]), dtype=specs[name].dtype, name=name) for name in input_names]
    variables = list({id(variable): variable for variable in function.variables}.values())
    layer = GraphLayer(function, input_names, output_names, variables, loaded, scaling)
    outputs = layer(inputs if len(inputs) > 1 else inputs[0])
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=title or _valid_name(folder.name))
    model.output_names = list(output_names)  # pyright: ignore[reportAttributeAccessIssue]
    return model


def _signature(loaded: Any, source: str) -> Any:
    signatures = dict(getattr(loaded, "signatures", {}))
    if _DEFAULT in signatures:
        return signatures[_DEFAULT]
    if len(signatures) != 1:
        found = f"has the signatures {', '.join(map(repr, sorted(signatures)))}" if signatures else "has no serving signature"
        raise ElLarqError(
            f"{source}: {found}; export the model with one named {_DEFAULT!r}, as Keras' model.export() and "
            "tf.saved_model.save(..., signatures=function) do"
        )
    return next(iter(signatures.values()))


def _check_input(spec: tf.TensorSpec, name: str, source: str) -> None:
    if spec.shape.rank is None or spec.shape.rank < 1:
        raise ElLarqError(f"{source}: its input {name!r} has no known number of dimensions; export it with a fixed shape")
    if spec.shape[0] is not None:
        raise ElLarqError(
            f"{source}: its input {name!r} has a fixed batch size of {spec.shape[0]}; export it with a batch size of None"
        )


def _valid_name(text: str) -> str:
    """A folder's name as the name of a model, which TensorFlow restricts."""
    name = "".join(character if character.isascii() and character.isalnum() else "_" for character in text).strip("_")
    return name or "model"


def graph_layer(model: keras.Model) -> GraphLayer | None:
    """The layer that contains the whole model if it was loaded from a graph; None if it consists of Keras layers."""
    return next((layer for layer in model.layers if isinstance(layer, GraphLayer)), None)
