"""Finds the objects to which Keras and Larq may resolve a name in a configuration, without building or importing anything.

Keras resolves a name in several ways, depending on the kind of file, the fields next to the name and the caller. The functions here
return what any of them may find; a check has to accept all of it.
"""

import functools
import sys
from pathlib import Path
from typing import Any

import larq
import tf_keras as keras
from tensorflow.python.util import tf_export

import el_larq.layers  # noqa: F401  (registers this project's layers)
from el_larq import keras_internals

_ROOT = Path(keras.__file__).parent


@functools.cache
def namespaces() -> tuple[dict[str, Any], ...]:
    """The tables in which Keras and Larq look up a name, with or without a module."""
    larqs = (larq.layers, larq.quantizers, larq.constraints)
    return (*keras_internals.name_tables(), *(dict(vars(module)) for module in larqs))


def by_name(name: str) -> list[Any]:
    """All objects that may be found by name alone. Only callables: Keras ignores others, such as imported modules."""
    found = [space.get(name) for space in namespaces()]
    found += [tf_export.get_symbol_from_name(f"keras.{module}.{name}") for module in keras_internals.BUILTIN_MODULES]
    return [known for known in (*found, registered(name)) if callable(known)]


def in_module(module: str, name: str) -> list[Any]:
    """All objects that may be found by name in one of Keras' modules.

    Raises:
        LookupError: the module exists but is not imported; Keras would import it.
    """
    public = f"{module}.{name}"
    exported = tf_export.get_symbol_from_name(f"compat.v1.{public}" if "__internal__.legacy" in public else public)
    imported = f"tf_{module}" if module.startswith("keras") else module
    home = sys.modules.get(imported)
    if home is None and _is_file(imported):
        raise LookupError(module)
    return [known for known in (exported, vars(home).get(name) if home else None) if known is not None]


def is_keras(module: str) -> bool:
    """Whether Keras treats a module name as that of one of its own modules."""
    return module.split(".")[0] in ("keras", "tf_keras")


def registered(name: Any) -> Any:
    """The object that Python code has registered under a name, or None. A file cannot register anything."""
    return keras.utils.get_registered_object(name) if isinstance(name, str) else None


def is_registered(known: Any) -> bool:
    """Whether an object that is not from tf-keras is registered, under any name."""
    own = str(getattr(known, "__module__", None)).split(".")[0] == "tf_keras"
    return not own and any(known is other for other in keras.utils.get_custom_objects().values())


def _is_file(module: str) -> bool:
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return False
    path = _ROOT.parent.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").is_file()
