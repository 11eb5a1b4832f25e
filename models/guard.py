"""What a Keras configuration may name: what Keras, Larq and this project hold, and what imported code has registered.

Keras builds whatever a file names: a `Lambda` runs marshalled code, also in safe mode where the file is an .h5; a ``module`` is
imported; any function of a Keras module can be called with any arguments. So every name is looked up here first, exactly where
Keras will look it up, and nothing is built before all of them are known to be layers, initializers and the like. Classes of
other modules count once Python code has registered them (``keras.utils.register_keras_serializable``), which no file can do.
"""

import builtins
import functools
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import larq
import tf_keras as keras
from tensorflow.python.util import tf_export
from tf_keras.src import activations, constraints, initializers, losses, metrics, regularizers
from tf_keras.src.layers import serialization
from tf_keras.src.optimizers.schedules import learning_rate_schedule

import el_larq.layers  # noqa: F401  (registers this project's)
from el_larq.errors import ElLarqError
from el_larq.models.call_order import check_calls
from el_larq.models.tensorflow_symbols import is_harmless

TRUST = "or load it with --trust, which lets the file run code with your rights"

MAX_DEPTH = 200
MAX_NAME = 200

REFUSED = {
    "Lambda": "is code",
    "__lambda__": "is code",
    "TensorFlowOpLayer": "is any operator of TensorFlow",
    "ClassMethod": "calls any method of TensorFlow",
    "InstanceMethod": "calls any method",
    "InstanceProperty": "reads any attribute",
    "__typespec__": "names any class",
    "CompositeTensor": "names any class",
    "StringLookup": "may read files that it names",
    "IntegerLookup": "may read files that it names",
    "TextVectorization": "may read files that it names",
    "DenseFeatures": "may read files that it names",
    "SequenceFeatures": "may read files that it names",
}
"""Names that no file may use, and why."""

_OPERATORS = ("TFOpLambda", "SlicingOpLambda")
_DATA = ("TensorShape", "TypeSpec", "__tuple__", "__ellipsis__", "__bytes__", "__numpy__", "__tensor__")
"""What configurations write in place of values that JSON has not."""

_BASES = (
    keras.layers.Layer,
    keras.layers.InputSpec,
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.legacy.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.mixed_precision.Policy,
)
_FUNCTION_MODULES = ("activations", "constraints", "initializers", "losses", "metrics", "regularizers", "backend")
_TRUSTED = ("tf_keras", "larq", "el_larq")
_MACHINERY = ("get", "serialize", "deserialize", "get_kernel_quantizer", "get_builtin_layer", "deserialize_from_json")

_IDENTIFIERS = ("activation", "initializer", "regularizer", "constraint", "quantizer", "loss", "optimizer")
"""Endings of the fields in which a string names a function or a class."""


def check_config(config: Any, source: str, *, traced: bool = False) -> None:
    """Refuse a configuration that names anything but known layers and their parts.

    Arguments:
        config: what JSON holds: the model, or a list of what a SavedModel says of its layers.
        traced: the file also holds each layer's graph (a SavedModel), so that layers of unknown classes come from there.

    Raises:
        ElLarqError: one line naming ``source``, what is refused, and the remedy.
    """
    try:
        for node in _objects(config, source):
            if isinstance(node.get("class_name"), str):
                _check_object(node, source, traced)
            for key, value in node.items():
                if isinstance(value, str) and isinstance(key, str) and key.endswith(_IDENTIFIERS):
                    _check_string(value, source)
        check_calls(list(_objects(config, source)), source)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ElLarqError(f"{source}: its configuration is no model's; save the model again") from error


def _remedy(what: str) -> str:
    return f"{what}, {TRUST}"


def _objects(config: Any, source: str) -> Iterator[dict[Any, Any]]:
    """Every JSON object in the configuration, at whatever depth."""
    stack = [(config, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise ElLarqError(f"{source}: its configuration is nested more than {MAX_DEPTH} deep; save the model again")
        if isinstance(node, dict):
            yield node
            stack.extend((value, depth + 1) for value in node.values())
        elif isinstance(node, list):
            stack.extend((value, depth + 1) for value in node)


def _check_object(node: dict[Any, Any], source: str, traced: bool) -> None:
    name, registered, module = node["class_name"], node.get("registered_name"), node.get("module")
    for told in (name, registered, module):
        if isinstance(told, str) and len(told) > MAX_NAME:
            raise ElLarqError(f"{source}: names {told[:40]!r}... of {len(told):,} characters; save the model again")
    names = {name, registered} if isinstance(registered, str) else {name}
    if name == "function":
        names = {other for other in (node.get("config"), registered) if isinstance(other, str)} - {"function"}
    for refused in names & set(REFUSED):
        raise ElLarqError(
            f"{source}: holds a {refused} layer, which {REFUSED[refused]}; replace it by a layer class and --import it, {TRUST}"
        )
    if name in _DATA:
        return
    if name in _OPERATORS:
        _check_operator(node.get("config"), source)
    _refuse_callables(names, source)
    if _is_registered(node, names):
        return
    found = any(_candidates(other) for other in names)
    if isinstance(module, str) and module != "builtins":
        if not module.startswith(("keras.", "tf_keras.")) and module not in ("keras", "tf_keras"):
            raise ElLarqError(
                f"{source}: unknown object {name!r} of module {module}; "
                f"name it with --import {module} if that registers it, {TRUST}"
            )
        in_module = [_in_keras(module, other) for other in names]
        for known in in_module:
            if known is not None and not _is_part(known):
                raise ElLarqError(
                    f"{source}: names {module}.{name}, which is no layer or part of one; {_remedy('save it without')}"
                )
        found = found or any(known is not None for known in in_module)
    pythons = module == "builtins" and any(hasattr(builtins, other) for other in names)  # which Keras finds there
    if not found and (pythons or not traced):
        what = "function" if name == "function" else "layer or object"
        shown = min(names) if names else name
        raise ElLarqError(f"{source}: unknown {what} {shown!r}; name the module that registers it with --import MODULE")


def _is_registered(node: dict[Any, Any], names: set[str]) -> bool:
    """Whether what Keras takes for an object is something that imported code has registered.

    Where a module is named, Keras asks its registry for one of the names only, and imports the module if that one is unknown.
    """
    if not node.get("module"):
        return any(keras.utils.get_registered_object(name) is not None for name in names)
    name = node["class_name"]
    asked = node.get("config") if name == "function" else node.get("registered_name", name)
    return isinstance(asked, str) and keras.utils.get_registered_object(asked) is not None


def _check_operator(config: Any, source: str) -> None:
    symbol = config.get("function") if isinstance(config, dict) else None
    if not isinstance(symbol, str) or not is_harmless(symbol):
        raise ElLarqError(
            f"{source}: calls {str(symbol)[:MAX_NAME]!r} of TensorFlow, which is not known as mathematics; {_remedy('replace it')}"
        )


def _check_string(name: str, source: str) -> None:
    if keras.utils.get_registered_object(name) is None:
        _refuse_callables({name}, source)


def _refuse_callables(names: set[str], source: str) -> None:
    """Keras calls what it finds under a name; where that is one of its tools, a file has no business with it."""
    for name in names:
        if any(not _is_part(known) for known in _candidates(name)):
            raise ElLarqError(f"{source}: names {name!r}, which is no layer or part of one; {_remedy('save it without')}")


def _is_part(known: Any) -> bool:
    """Whether an object is a layer, initializer and so on, or a function of those modules."""
    module = getattr(known, "__module__", None) or ""
    if inspect.isclass(known):
        return issubclass(known, _BASES) and known.__name__ not in REFUSED and module.split(".")[0] in _TRUSTED
    parts = module.split(".")
    return (
        callable(known)
        and getattr(known, "__name__", "get") not in _MACHINERY
        and (
            parts[0] in ("larq", "el_larq")
            or (parts[0] == "tf_keras" and (parts[-1] == "input_layer" or any(part in _FUNCTION_MODULES for part in parts)))
            or module in ("tensorflow.python.ops.nn_ops", "tensorflow.python.ops.nn_impl")
        )
    )


@functools.cache
def _namespaces() -> tuple[dict[str, Any], ...]:
    """Where Keras and Larq look names up."""
    serialization.populate_deserializable_objects()
    initializers.populate_deserializable_objects()
    modules = (constraints, regularizers, losses, metrics, learning_rate_schedule, keras.optimizers, keras.optimizers.legacy)
    larqs = (larq.layers, larq.quantizers, larq.constraints)
    return (
        serialization.LOCAL.ALL_OBJECTS,
        initializers.LOCAL.ALL_OBJECTS,
        dict(vars(activations)),
        dict(vars(keras.activations)),
        {"Policy": keras.mixed_precision.Policy},
        *(dict(vars(module)) for module in (*modules, *larqs)),
    )


def _candidates(name: str) -> list[Any]:
    """All that Keras may find under a name. What cannot be called, a module imported there, is nothing to it."""
    found = (space.get(name) for space in _namespaces())
    return [known for known in found if callable(known)]


def _in_keras(module: str, name: str) -> Any:
    """What Keras finds under a name of one of its modules, without importing anything."""
    known = tf_export.get_symbol_from_name(f"{module}.{name}")
    if known is not None:
        return known
    home = sys.modules.get(f"tf_{module}" if module.startswith("keras") else module)
    return getattr(home, name, None)
