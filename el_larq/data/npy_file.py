"""A .npy file of inputs of a model. Does not import TensorFlow."""

from pathlib import Path
from tokenize import TokenError

import numpy as np

from el_larq.errors import ElLarqError, summarize

_DAMAGE = (OSError, ValueError, EOFError, SyntaxError, TokenError, MemoryError, OverflowError)
"""What NumPy raises for files that are not arrays, and for damaged ones."""


def open_npy(path: Path, said: str = "") -> np.ndarray:
    """The array in a file, whose values are read when they are used.

    Arguments:
        said: what the message begins with.

    Raises:
        ElLarqError: the file does not contain one array.
    """
    try:
        with np.errstate(over="ignore"):  # a shape may be anything
            found = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        raise ElLarqError(f"{said}{path} cannot be read as an array: {summarize(error)}") from error
    if not isinstance(found, np.ndarray):
        raise ElLarqError(f"{said}{path} cannot be read as an array: it contains several; save one with numpy.save")
    return found
