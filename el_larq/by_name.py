"""Functions and classes that registries store as names, so that listing a registry imports no heavy modules."""

import importlib
from typing import Any


def load_by_name(name: str) -> Any:
    """Import the module of "module:attribute" and return the attribute."""
    module, attribute = name.split(":")
    return getattr(importlib.import_module(module), attribute)
