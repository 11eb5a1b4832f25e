"""Imports modules of the user, so that the layers and functions that they register can be loaded."""

import importlib

from el_larq.errors import UsageError, summarize

_imported: list[str] = []


def import_modules(modules: tuple[str, ...]) -> None:
    """Import modules by name.

    Raises:
        UsageError: one of them cannot be imported.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever the user's code raises
            raise UsageError(f"cannot import module {name!r}: {summarize(error)}; is it on PYTHONPATH?") from error
        if name not in _imported:
            _imported.append(name)


def imported_modules() -> tuple[str, ...]:
    """The modules imported so far, for another process that loads the same model."""
    return tuple(_imported)
