"""Restricts the names in a Keras configuration to reviewed classes of Keras and objects registered by imported code.

Keras builds whatever a file names: a `Lambda` runs marshalled code, even in safe mode if the file is an .h5; a ``module`` is
imported; any class or function of a Keras module can be called with any arguments, and some load other models or read files.
Therefore every name is first looked up here, wherever Keras may look it up (`keras_names`), and nothing is built unless everything
that may be found is allowed: by full name for Keras (`keras_classes`), by registration for Larq, this project and modules imported
by the user (``keras.utils.register_keras_serializable``); a file cannot register anything.
"""

import builtins
import inspect
from collections.abc import Iterator
from typing import Any

import tf_keras as keras

from el_larq.errors import ElLarqError
from el_larq.keras_internals import OPERATOR_LAYERS
from el_larq.loading import keras_names
from el_larq.loading.call_order import check_calls
from el_larq.loading.keras_classes import ALLOWED, MODELS, REFUSED
from el_larq.loading.tensorflow_symbols import is_harmless

TRUST = "or load it with --trust, which lets the file run code with your rights"

MAX_DEPTH = 200
MAX_NAME = 200

_WORDS = {"__lambda__": "is code", "__typespec__": "names any class", "CompositeTensor": "names any class"}
"""Keywords of Keras' formats that are not class names, and why they are rejected."""

_DATA = ("TensorShape", "TypeSpec", "__tuple__", "__ellipsis__", "__bytes__", "__numpy__", "__tensor__")
"""Keywords that configurations use for values that JSON cannot express."""

_SPECS = ("tf.TensorSpec", "tf.SparseTensorSpec", "tf.RaggedTensorSpec")
_TYPES = ("bool", "bfloat16", *(f"{kind}{bits}" for kind in ("int", "uint", "float", "complex") for bits in (8, 16, 32, 64, 128)))

_IDENTIFIERS = (
    *("activation", "initializer", "regularizer", "constraint", "quantizer", "loss", "losses", "optimizer", "metric", "metrics"),
    *("layer", "cell", "cells", "fn", "learning_rate", "schedule"),
)
"""Suffixes of the fields in which a string names a function or a class."""


def check_config(config: Any, source: str, *, traced: bool = False) -> None:
    """Reject a configuration that names anything but known layers and their parts.

    Arguments:
        config: the parsed JSON: the model, or a list of the descriptions of a SavedModel's layers.
        traced: the file also contains each layer's graph (a SavedModel), from which layers of unknown classes are loaded.

    Raises:
        ElLarqError: one line with ``source``, what is rejected, and the remedy.
    """
    try:
        for node in objects(config, source):
            if "class_name" in node:
                _check_object(node, source, traced)
            for key, value in node.items():
                if isinstance(key, str) and key.endswith(_IDENTIFIERS):
                    for name in _strings(value):
                        _check_string(name, source)
        check_calls(list(objects(config, source)), source)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ElLarqError(f"{source}: its configuration is not that of a model; save the model again") from error


def check_root(config: Any, source: str, *, traced: bool = False) -> None:
    """Reject a file whose outermost object is not a model: Model, Functional, Sequential or a registered subclass of Model.

    Arguments:
        config: the outermost object, already accepted by `check_config`.
        traced: an unknown class is loaded from the graph, as in `check_config`.

    Raises:
        ElLarqError: one line naming ``source``.
    """
    fields = [config.get(field) if isinstance(config, dict) else None for field in ("class_name", "registered_name", "module")]
    name, registered, module = (field if isinstance(field, str) else "" for field in fields)
    found = [*keras_names.by_name(name), *keras_names.by_name(registered)]
    if keras_names.is_keras(module):
        found += keras_names.in_module(module, name) + keras_names.in_module(module, registered)
    from_graph = traced and name and name not in (*_DATA, "function")
    if not all(_is_model(known) for known in found) or not (found or from_graph):
        raise not_a_model(name, source)


def contains_lambda(config: Any, source: str) -> bool:
    """Whether a configuration names a Lambda layer, whose code Keras would run.

    Raises:
        ElLarqError: it is nested too deep.
    """
    return any(node.get("class_name") == "Lambda" for node in objects(config, source))


def not_a_model(name: str, source: str) -> ElLarqError:
    """The error for a file whose outermost object, of class ``name``, is not a model."""
    return ElLarqError(
        f"{source}: its outermost object is {name[:MAX_NAME] or 'unknown'}, which is not a model (Sequential, Functional, Model); "
        f"save a model with model.save(), {TRUST}"
    )


def _is_model(known: Any) -> bool:
    if not inspect.isclass(known):
        return False
    return _full_name(known) in MODELS or (issubclass(known, keras.Model) and keras_names.is_registered(known))


def _remedy(what: str) -> str:
    return f"{what}, {TRUST}"


def objects(config: Any, source: str) -> Iterator[dict[Any, Any]]:
    """Every JSON object in the configuration, at any depth up to `MAX_DEPTH`."""
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


def _strings(value: Any) -> Iterator[str]:
    """The names in a field: one, or a list or dictionary of them. Objects with a class_name are checked separately."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) or (isinstance(value, dict) and "class_name" not in value):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _check_object(node: dict[Any, Any], source: str, traced: bool) -> None:
    name, registered, module = node["class_name"], node.get("registered_name"), node.get("module")
    if not isinstance(name, str):  # Keras then uses the registered name
        raise ElLarqError(f"{source}: has an object whose class_name is not text; save the model again")
    for text in (name, registered, module):
        if isinstance(text, str) and len(text) > MAX_NAME:
            raise ElLarqError(f"{source}: names {text[:40]!r}... of {len(text):,} characters; save the model again")
    if name in _WORDS:
        raise ElLarqError(f"{source}: contains {name}, which {_WORDS[name]}; {_remedy('save it without')}")
    if name in _DATA:
        # Not every format supports every keyword: Keras would then look for the class in the module, by either name.
        if module or registered:
            raise ElLarqError(f"{source}: contains a {name} that names a module or a class; {_remedy('save it without')}")
        _check_data(name, node, source)
        return
    names = {name, registered} if isinstance(registered, str) else {name}
    if name == "function":
        names = {other for other in (node.get("config"), registered) if isinstance(other, str)} - {"function"}
    found = [known for other in names for known in keras_names.by_name(other)]
    _check_found(found, name, source)
    if _is_registered(node):
        return
    if isinstance(module, str) and module and module != "builtins":
        found += _check_module(module, names, name, source)
    if any(known in OPERATOR_LAYERS for known in found):
        _check_operator(node.get("config"), source)
    pythons = module == "builtins" and any(hasattr(builtins, other) for other in names)  # where Keras would find them
    if pythons or not (found or traced):
        what = "function" if name == "function" else "layer or object"
        shown = min(names) if names else name
        raise ElLarqError(f"{source}: unknown {what} {shown!r}; name the module that registers it with --import MODULE")


def _is_registered(node: dict[Any, Any]) -> bool:
    """Whether Keras resolves an object to one that imported code has registered.

    If a module is named, Keras looks up only one of the names in its registry, and imports the module if that one is unknown.
    """
    name = node["class_name"]
    asked = name
    if name == "function":
        asked = node.get("config")
    elif node.get("module"):
        asked = node.get("registered_name", name)
    return keras_names.registered(asked) is not None


def _check_module(module: str, names: set[str], name: str, source: str) -> list[Any]:
    """The objects found in the module that an object names; raises ElLarqError if they are not allowed."""
    if not keras_names.is_keras(module):
        raise ElLarqError(
            f"{source}: unknown object {name!r} of module {module}; name it with --import {module} if that registers it, {TRUST}"
        )
    if not all(other.isidentifier() for other in names):
        raise ElLarqError(f"{source}: names {min(names)!r} of module {module}, which is unknown; save the model again")
    try:
        found = [known for other in names for known in keras_names.in_module(module, other)]
    except LookupError:
        raise ElLarqError(
            f"{source}: names {module}.{name} of a module that no model needs; {_remedy('save it without')}"
        ) from None
    _check_found(found, name, source, module)
    return found


def _check_found(found: list[Any], name: str, source: str, module: str | None = None) -> None:
    """Reject found objects that are not allowed, since Keras calls whatever it finds."""
    for known in found:
        reason = REFUSED.get(_full_name(known))
        if reason:
            article = "an" if known.__name__[0] in "AEIOU" else "a"
            kind = " layer" if issubclass(known, keras.layers.Layer) else ""
            raise ElLarqError(
                f"{source}: contains {article} {known.__name__}{kind}, which {reason}; "
                f"replace it by a layer class and --import it, {TRUST}"
            )
        # If a class_name names a function, Keras would call that function with arguments from the file.
        wanted = name == "function" or inspect.isclass(known)
        if not (wanted and (_full_name(known) in ALLOWED or keras_names.is_registered(known))):
            shown = f"{module}.{name}" if module else repr(name)
            raise ElLarqError(f"{source}: names {shown}, which is not a known layer or part of one; {_remedy('save it without')}")


def _full_name(known: Any) -> str:
    return f"{getattr(known, '__module__', None)}.{getattr(known, '__qualname__', None)}"


def _check_data(name: str, node: dict[Any, Any], source: str) -> None:
    """Reject values whose type could take much memory, or that contain a second text with names in it."""
    config = node.get("config")
    sound = True
    if name == "TypeSpec":
        sound = node.get("type_spec") in _SPECS
    elif name == "__tuple__":
        sound = "_COMPOSITE_TYPE" not in _strings(node.get("items"))
    elif name in ("__numpy__", "__tensor__"):
        sound = isinstance(config, dict) and config.get("dtype") in _TYPES
    if not sound:
        raise ElLarqError(f"{source}: contains a {name} of a kind that no layer needs; {_remedy('save it without')}")


def _check_operator(config: Any, source: str) -> None:
    symbol = config.get("function") if isinstance(config, dict) else None
    if not isinstance(symbol, str) or not is_harmless(symbol):
        raise ElLarqError(
            f"{source}: calls {str(symbol)[:MAX_NAME]!r} of TensorFlow, which is not a permitted function; {_remedy('replace it')}"
        )


def _check_string(name: str, source: str) -> None:
    for known in keras_names.by_name(name):
        reason = REFUSED.get(_full_name(known))
        if reason or not (_full_name(known) in ALLOWED or keras_names.is_registered(known)):
            raise ElLarqError(
                f"{source}: names {name!r}, which {reason or 'is not a known layer or part of one'}; {_remedy('save it without')}"
            )
