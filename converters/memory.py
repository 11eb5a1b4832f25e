"""Returns memory that has been freed to the system, so that a step does not add its own to what the steps before it have freed."""

import ctypes
import gc

_LARGE = 2**23
"""The bytes of weights from which memory is returned: it takes a few tenths of a second."""


def return_memory(weight_bytes: int) -> None:
    """For large models: collect garbage, since graphs are circular, and give free memory back to the system, where glibc can."""
    if weight_bytes < _LARGE:
        return
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
