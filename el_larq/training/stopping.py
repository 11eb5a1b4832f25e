"""Ctrl-C, SIGTERM and SIGHUP during a training request a stop after the current step, so that no work is lost."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from el_larq.worker_process import is_worker


class Stop:
    """Whether a stop was requested."""

    def __init__(self) -> None:
        self.asked = False

    def check(self) -> None:
        """Raises StopRequestedError if a stop was requested."""
        if self.asked:
            raise StopRequestedError


class StopRequestedError(Exception):
    """A stop was requested during work that has nothing to save."""


class Interrupted(KeyboardInterrupt):
    """A training was stopped on request and has saved its state; the message says how to resume it."""


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """Turn the first signal into a stop request; a second one interrupts at once, which leaves the last state on disk.

    In a `WorkerProcess`, further signals change nothing: one that is sent to all processes of a command also makes the parent
    ask for a stop, and the parent ends a process that does not stop in time.

    Signals that are ignored stay ignored (nohup, background jobs). Outside the main thread, where Python does not allow signal
    handlers, nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        if stop.asked and not is_worker():
            raise KeyboardInterrupt
        stop.asked = True

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    changed = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in changed:
            signal.signal(number, ask)
        yield stop
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)
