"""TensorFlow's start and its output on stderr and in its log: captured or suppressed, and quoted where it explains an error."""

import contextlib
import gc
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
"""TensorFlow's environment variable: 0 is for all messages, its default."""


@contextlib.contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Capture what is written to file descriptor 2, also by native code; yield a function that returns the text so far.

    TFLite and MLIR report the cause of a failure only there, among irrelevant messages.
    """
    import tempfile  # here, because el_larq/__init__.py imports this module

    sys.stderr.flush()
    with tempfile.TemporaryFile() as store:
        kept = os.dup(2)
        os.dup2(store.fileno(), 2)

        def read() -> str:
            return os.pread(store.fileno(), 1 << 20, 0).decode(errors="replace")

        try:
            yield read
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


class QuietStart(MetaPathFinder):
    """Hides what TensorFlow prints while it is imported and looks for devices, such as what the machine lacks.

    It stays visible if ``hides`` is False, as after -v, or the user has set TF_CPP_MIN_LOG_LEVEL to 0. An error of the import is
    raised as always.

    The import runs without garbage collections. If ``one_command`` is True, the process is el-larq's alone and short: then what
    exists after the import, which stays to the end, is exempt from later collections too.
    """

    hides = True
    one_command = False

    @classmethod
    def is_hiding(cls) -> bool:
        return cls.hides and os.environ.get(_LEVEL) != "0"

    @classmethod
    def install(cls) -> None:
        if "tensorflow" not in sys.modules and not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.insert(0, cls())

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module
            hides = self.is_hiding()

            def start(module: Any) -> None:
                with _without_collections(self.one_command), captured_stderr() if hides else contextlib.nullcontext():
                    execute(module)
                    if hides:
                        module.config.list_physical_devices()

            loader.exec_module = start
        return spec


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hides what native code prints of the machine, unless that of TensorFlow's start is visible."""
    with captured_stderr() if QuietStart.is_hiding() else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _without_collections(freeze: bool) -> Iterator[None]:
    """No garbage collections: an import creates hundreds of thousands of objects that stay, and each collection visits them all."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if freeze:
            gc.freeze()
        if enabled:
            gc.enable()


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Limit TensorFlow's logger to errors: Keras warns about each model that it saves or loads without loss and metrics."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def cause(text: str) -> str:
    """The last line that is not an INFO or WARNING message, with ``: `` before it; empty if there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("INFO:", "WARNING:"))]
    return f": {lines[-1][:300]}" if lines else ""
