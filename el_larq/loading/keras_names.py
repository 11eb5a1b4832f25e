"""Where Keras and Larq look for the object that a configuration names, without building or importing anything.

Keras has several ways to a name, which depend on the kind of file, on the fields beside the name and on who asks. What any of them
may find counts: whoever checks names must be content with all of it.
"""

import functools
import sys
from pathlib import Path
from typing import Any

import larq
import tf_keras as keras
from tensorflow.python.util import tf_export

import el_larq.layers  # noqa: F401  (registers this project's)
from el_larq import keras_internals

_ROOT = Path(keras.__file__).parent


@functools.cache
def namespaces() -> tuple[dict[str, Any], ...]:
    """The tables in which Keras and Larq look a name up where no module is named, or in spite of one."""
    larqs = (larq.layers, larq.quantizers, larq.constraints)
    return (*keras_internals.name_tables(), *(dict(vars(module)) for module in larqs))


def by_name(name: str) -> list[Any]:
    """All that may be found under a name alone. What cannot be called, a module imported there, is nothing to Keras."""
    found = [space.get(name) for space in namespaces()]
    found += [tf_export.get_symbol_from_name(f"keras.{module}.{name}") for module in keras_internals.BUILTIN_MODULES]
    return [known for known in (*found, registered(name)) if callable(known)]


def in_module(module: str, name: str) -> list[Any]:
    """All that may be found under a name of one of Keras' modules.

    Raises:
        LookupError: Keras would import the module to look there.
    """
    public = f"{module}.{name}"
    exported = tf_export.get_symbol_from_name(f"compat.v1.{public}" if "__internal__.legacy" in public else public)
    imported = f"tf_{module}" if module.startswith("keras") else module
    home = sys.modules.get(imported)
    if home is None and _is_file(imported):
        raise LookupError(module)
    return [known for known in (exported, vars(home).get(name) if home else None) if known is not None]


def is_keras(module: str) -> bool:
    """Whether Keras takes a name of a module for one of its own modules."""
    return module.split(".")[0] in ("keras", "tf_keras")


def registered(name: Any) -> Any:
    """What Python code has registered under a name, or None. No file can add to it."""
    return keras.utils.get_registered_object(name) if isinstance(name, str) else None


def is_registered(known: Any) -> bool:
    """Whether code other than Keras' own has registered an object, under whatever name."""
    own = str(getattr(known, "__module__", None)).split(".")[0] == "tf_keras"
    return not own and any(known is other for other in keras.utils.get_custom_objects().values())


def _is_file(module: str) -> bool:
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return False
    path = _ROOT.parent.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").is_file()
