"""A process that executes function calls one after another, for work that must not affect the command: files that could make it
crash, hang or use too much memory, and trainings, which release their memory only when their process ends.

If the process dies during a call, the caller gets an error with the reason and continues. If the caller dies, so does the process.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from el_larq.errors import ElLarqError, summarize
from el_larq.native_output import QuietStart

MEMORY = 3 * 2**30
"""Bytes that a call may use in addition to what the process and its libraries use, which is about half a gigabyte."""

PATIENCE = 20.0
"""Seconds that a training gets to save its state before its process is killed."""


class Died(ElLarqError):  # noqa: N818  (named after the state)
    """The process has ended, or was killed because it did not answer; the message says how."""


class Unexpected(ElLarqError):  # noqa: N818  (named after the cause)
    """The function raised an error of another type than ElLarqError."""


class WorkerProcess:
    """A process that is started at once and ended by `close`, or at the end of a ``with`` block.

    It is spawned, not forked: TensorFlow's threads do not survive a fork. It ignores Ctrl-C, which reaches every process of a
    terminal and which the parent handles by ending it. It does not run the main script again, so it cannot call its functions.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _without_main():
            self.process.start()
        theirs.close()

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, patience: float = 0) -> None:
        """End the process. A call first gets ``patience`` seconds to react to SIGTERM, as a training does by saving its state."""
        self._connection.close()
        if patience:
            self.process.terminate()
            self.process.join(patience)
        self.process.kill()
        self.process.join()

    def send(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Start a call of a module-level function; one at a time.

        Raises:
            Died: the process has ended.
        """
        try:
            self._connection.send((function, arguments))
        except OSError:
            raise self._death() from None

    def receive(self, seconds: float | None, notice: Callable[..., None] = lambda *_: None, *, first: float | None = None) -> Any:
        """Wait for the call and return its result. Messages that the function sends with `notify` are passed to ``notice``.

        Arguments:
            seconds: longest time without a message or the result; None for no limit.
            first: the same for the first message, if it may take longer.

        Raises:
            ElLarqError: the function raised an error; those of other types arrive as an `Unexpected` with a summary.
            Died: the process died during the call, or was killed because it exceeded the time limit.
        """
        patience = first or seconds
        while True:
            if not wait([self._connection, self.process.sentinel], patience):
                self.process.kill()
                raise Died(f"gave no answer for {patience:g} seconds and was stopped")
            patience = seconds
            try:
                kind, content = self._connection.recv()
            except (EOFError, OSError):
                raise self._death() from None
            if kind == "notice":
                notice(*content)
            elif kind == "error":
                raise content
            else:
                return content

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float | None = None) -> Any:
        """`send` and `receive`."""
        self.send(function, *arguments)
        return self.receive(seconds)

    def _death(self) -> Died:
        self.process.join(5)
        code = self.process.exitcode
        if code is not None and code < 0:
            return Died(f"died by {_signal_name(-code)}")
        return Died(f"ended with status {code}" if code is not None else "no longer answers")


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main script from multiprocessing, which would run it in the process too.

    A script without ``if __name__ == "__main__"`` would then start processes in the process, which multiprocessing refuses.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def first_ready(workers: Sequence[WorkerProcess], seconds: float | None = None) -> WorkerProcess | None:
    """The first process that has sent something or has died; None if none does within ``seconds``."""
    by_channel = {channel: worker for worker in workers for channel in (worker._connection, worker.process.sentinel)}
    ready = wait(list(by_channel), seconds)
    return by_channel[ready[0]] if ready else None  # pyright: ignore[reportArgumentType]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_channel: Connection | None = None


def notify(*content: Any) -> None:
    """In the process: send a message to the parent, which is waiting for the current call."""
    if _channel is not None:
        _channel.send(("notice", content))


def is_worker() -> bool:
    """Whether this is such a process, which its parent ends if it takes too long to end itself."""
    return _channel is not None


def _serve(channel: Connection) -> None:
    """The process's main loop: execute calls until the parent closes the connection, or a call is interrupted by SIGTERM."""
    global _channel
    _channel = channel
    QuietStart.one_command = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            _answer(channel, *channel.recv())


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)


def _answer(channel: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        channel.send(("result", function(*arguments)))
    except ElLarqError as error:
        channel.send(("error", error))
    except MemoryError:
        channel.send(("error", ElLarqError("needs more memory than the limit")))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        channel.send(("error", Unexpected(f"unexpected {summarize(error)}")))
