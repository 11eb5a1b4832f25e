"""TensorFlow's output on stderr and in its log: captured or suppressed, and quoted where it explains an error."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Capture what is written to file descriptor 2, also by native code; yield a function that returns the text so far.

    TFLite and MLIR report the cause of a failure only there, among irrelevant messages.
    """
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
