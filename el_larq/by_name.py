"""Functions and classes that registries name as text, so that listing names imports nothing heavy."""

import importlib
from typing import Any


def load_by_name(name: str) -> Any:
    """What "module:attribute" names; the module is imported."""
    module, attribute = name.split(":")
    return getattr(importlib.import_module(module), attribute)
