"""Imports modules and files of the user, so that the layers and functions that they register can be loaded."""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from el_larq.errors import UsageError, summarize

_imported: list[str] = []


def import_modules(modules: tuple[str, ...]) -> None:
    """Import modules by name, also from the current folder, or files whose names end in .py.

    Raises:
        UsageError: one of them cannot be imported.
    """
    for name in modules:
        is_file = name.endswith(".py")
        found = str(Path(name).resolve()) if is_file else name  # another process may have another current folder
        if found in _imported:
            continue
        if is_file and not Path(found).is_file():
            raise UsageError(f"cannot import {name}: there is no such file")
        try:
            if is_file:
                run_file(Path(found))
            else:
                # Last, so that a file there cannot take the place of an installed module.
                with _importable(Path.cwd(), last=True):
                    importlib.import_module(name)
        except Exception as error:  # whatever the user's code raises
            hint = (
                "" if is_file else "; is it in the current folder or on PYTHONPATH? A file is given with its suffix, as mylayers.py"
            )
            raise UsageError(f"cannot import {name!r}: {summarize(error)}{hint}") from error
        _imported.append(found)


def imported_modules() -> tuple[str, ...]:
    """The modules imported so far, for another process that loads the same model."""
    return tuple(_imported)


def run_file(path: Path) -> ModuleType:
    """Run a Python file as a module with its name. The file's folder is importable while it runs, as for Python's own scripts.

    Raises:
        Exception: whatever the file raises.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file that can be imported")
    module = importlib.util.module_from_spec(spec)
    # Layers that the file registers are looked up in its module; an existing module of the same name must not be replaced.
    sys.modules.setdefault(path.stem, module)
    with _importable(path.resolve().parent):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _importable(folder: Path, last: bool = False) -> Iterator[None]:
    sys.path.insert(len(sys.path) if last else 0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
