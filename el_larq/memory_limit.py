"""Limits on what this process may use in addition to the memory that it uses now; none on systems without such limits.

The limits are on the data segment, not on the address space, of which libraries reserve gigabytes that they never use.
"""

import contextlib
import threading
from collections.abc import Iterator


def limit_memory(size: int) -> None:
    """Limit this process to ``size`` bytes more than it uses now, from now on; a crash then leaves no core dump."""
    if _limit(size) is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


@contextlib.contextmanager
def memory_limited(size: int) -> Iterator[None]:
    """Context in which this process may use ``size`` bytes more than now.

    What needs more fails with MemoryError, or with the error of the library that needs it. The limit applies to all threads, so the
    context should be short, and ``size`` large enough for what others may do in the meantime. Only one thread is in it at a time.
    """
    with _one_thread:
        before = _limit(size)
        try:
            yield
        finally:
            if before is not None:
                import resource

                resource.setrlimit(resource.RLIMIT_DATA, before)


_one_thread = threading.RLock()


def _limit(size: int) -> tuple[int, int] | None:
    """Set the limit; returns those before, or None on systems without."""
    try:
        import resource

        with open("/proc/self/status", encoding="ascii") as file:
            now = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData"))
        before = resource.getrlimit(resource.RLIMIT_DATA)
        limit = min([now + size, *(value for value in before if value != resource.RLIM_INFINITY)])
        resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    except (ImportError, OSError, StopIteration, ValueError):
        return None
    return before
