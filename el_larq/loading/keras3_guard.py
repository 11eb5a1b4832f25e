"""Restricts the names in a configuration of Keras 3 to reviewed layers and their parts, as `guard` does for tf-keras.

Keras 3 looks an object up by its registered name, then as a public name of its module, then as a class in that module, which it
imports. Here a class must be one of those reviewed for tf-keras under the same public name, one of the few that only Keras 3 has,
an operation on tensors, or registered by a module that the user imports.
"""

import re
from typing import Any

from el_larq.errors import ElLarqError
from el_larq.loading.guard import MAX_NAME, TRUST, not_a_model, objects
from el_larq.loading.keras_classes import ALLOWED, REFUSED

_DATA = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__")
"""Keywords for values that JSON cannot express."""

_PUBLIC = re.compile(r"keras(\.(layers|models|initializers|regularizers|constraints|activations|dtype_policies))?")
_OPERATIONS = re.compile(r"keras\.src\.ops\.(numpy|nn|math|linalg)")
"""Modules whose classes all compute on tensors and do nothing else; Keras 3 uses them for operators between layers."""
_DEFINITIONS = re.compile(r"keras\.src\.(models\.(functional|sequential|model)|engine\.(functional|sequential))")

_ONLY_KERAS_3 = {
    *("DTypePolicy", "FloatDTypePolicy", "Functional", "Sequential", "Model", "InputSpec"),
    *("GroupQueryAttention", "RMSNormalization", "AutoContrast", "Equalization", "Solarization", "MaxNumBoundingBoxes"),
    *("RandomColorJitter", "RandomErasing", "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPosterization"),
    *("RandomSaturation", "RandomSharpness", "RandomShear", "RandomColorDegeneration", "STFTSpectrogram", "MelSpectrogram"),
}


def _simple(names: Any) -> set[str]:
    return {name.rsplit(".", 1)[-1] for name in names}


_ALLOWED = _simple(ALLOWED) | _ONLY_KERAS_3
_REFUSED = _simple(REFUSED) - _ALLOWED
_FUNCTIONS = re.compile(r"[a-z][a-z0-9_]*")
_ACTIVATIONS = _simple(ALLOWED) | {
    *("celu", "glu", "hard_shrink", "hard_tanh", "log_sigmoid", "relu6", "silu", "soft_shrink", "sparse_plus", "sparsemax"),
    *("squareplus", "tanh_shrink", "threshold", "leaky_relu", "log_softmax", "hard_silu", "hard_swish", "sparse_sigmoid"),
}


def check_keras3_config(config: Any, source: str) -> None:
    """Reject a configuration that names anything but known layers and their parts. Runs where Keras 3 is imported.

    Raises:
        ElLarqError: one line with ``source``, what is rejected, and the remedy.
    """
    outermost = config if isinstance(config, dict) else {}
    name = outermost.get("class_name")
    if name not in ("Functional", "Sequential", "Model") and not _is_registered(outermost.get("registered_name")):
        raise not_a_model(str(name), source)
    try:
        for node in objects(config, source):
            if "class_name" in node:
                _check_object(node, source)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ElLarqError(f"{source}: its configuration is not that of a model; save the model again") from error


def _check_object(node: dict[Any, Any], source: str) -> None:
    name, registered, module = node["class_name"], node.get("registered_name"), node.get("module")
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise ElLarqError(f"{source}: has an object whose class_name is not a name; save the model again")
    if name in ("__lambda__", "__typespec__"):
        raise ElLarqError(f"{source}: contains {name}, which can run code or load any class; save it without, {TRUST}")
    if name in _DATA or _is_registered(registered):
        return
    if name == "function":
        called = node.get("config")
        if _is_registered(called) or (isinstance(called, str) and called in _ACTIVATIONS and _FUNCTIONS.fullmatch(called)):
            return
        raise ElLarqError(
            f"{source}: unknown function {str(called)[:MAX_NAME]!r}; name the module that registers it with --import MODULE"
        )
    # Operators such as Add have the names of layers, but nothing that is trainable.
    if node.get("module") is None and _is_operation(name) and "trainable" not in (node.get("config") or ()):
        raise ElLarqError(
            f"{source}: has the operator {name} between its layers, which Keras 3 saves to .h5 but does not load from it; "
            "save the model there as .keras"
        )
    module = "keras" if module is None else str(module)
    if name in _REFUSED:
        raise ElLarqError(f"{source}: contains {name}, which runs code or reads files; replace it by a layer class, {TRUST}")
    if name in _ALLOWED and (_PUBLIC.fullmatch(module) or _DEFINITIONS.fullmatch(module)):
        return
    if name.isidentifier() and _OPERATIONS.fullmatch(module):
        return
    shown = name if module == "keras" else f"{module[:MAX_NAME]}.{name}"
    raise ElLarqError(f"{source}: unknown layer or object {shown!r}; name the module that registers it with --import MODULE")


def _is_operation(name: str) -> bool:
    import keras

    return any(found.__name__ == name and _OPERATIONS.fullmatch(found.__module__) for found in keras.Operation.__subclasses__())


def _is_registered(name: Any) -> bool:
    import keras

    return isinstance(name, str) and keras.saving.get_registered_object(name) is not None
