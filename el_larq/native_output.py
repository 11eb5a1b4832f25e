"""What TensorFlow says on the side: kept aside, and quoted where it explains an error."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Take what is written to file descriptor 2, by any language, and yield a function that reads it so far.

    TFLite and MLIR name the cause of a failure only there, among notices that say nothing.
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
    """Keep TensorFlow's logger to errors: Keras warns of each model that it saves or loads without loss and metrics."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def cause(text: str) -> str:
    """The last line that reads like a reason, with ``: `` before it; empty where there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("INFO:", "WARNING:"))]
    return f": {lines[-1][:300]}" if lines else ""
