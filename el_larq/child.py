"""A process beside this one, with limits, for what a stranger's file may crash, hang or swell.

It calls the functions it is told to, one after another. Where it dies over one, the caller learns by what, and goes on living.
"""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from el_larq.errors import ElLarqError, summarize

MEMORY = 3 * 2**30
"""Bytes that a call may take beside what the process and its libraries take themselves, which is about half a gigabyte."""


class Died(ElLarqError):  # noqa: N818  (a state, told as such)
    """The process is gone, or was ended because it did not answer; the message says how."""


class Child:
    """A process that is started at once and ended with `close`, or at the end of a ``with``.

    It is spawned, not forked: TensorFlow's threads do not survive a fork. Interrupts are this process' affair, which ends it.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()
        self.process.kill()
        self.process.join()

    def send(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin a call of a function of some module; one at a time.

        Raises:
            Died: the process is gone.
        """
        try:
            self._connection.send((function, arguments))
        except OSError:
            raise self._death() from None

    def receive(self, seconds: float | None, notice: Callable[..., None] = lambda *_: None, *, first: float | None = None) -> Any:
        """What the call returns. The function may say something in between with `notify`, which is passed on to ``notice``.

        Arguments:
            seconds: how long it may stay silent; None: for ever.
            first: how long until the first notice, where that may take longer.

        Raises:
            ElLarqError: what the function raised.
            Died: it took the process with it, or was silent for too long and the process has been killed.
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
        return Died(f"ended with status {code}" if code is not None else "does not answer any more")


def first_ready(children: Sequence[Child], seconds: float | None) -> Child | None:
    """The first of several that has something to say, or is dead; None where all are silent for so long."""
    by_channel = {channel: child for child in children for channel in (child._connection, child.process.sentinel)}
    ready = wait(list(by_channel), seconds)
    return by_channel[ready[0]] if ready else None  # pyright: ignore[reportArgumentType]


def limit_memory(size: int = MEMORY) -> None:
    """Let this process take so many bytes more than it has now. Where the system has no such limit, nothing changes.

    The data segment is limited and not the address space, of which libraries reserve gigabytes that they never touch.
    """
    try:
        import resource

        with open("/proc/self/status", encoding="ascii") as file:
            now = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData"))
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = now + size if most == resource.RLIM_INFINITY else min(now + size, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
        # A crash is told in one line; a dump of the memory is of no use to anybody.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    except (ImportError, OSError, StopIteration, ValueError):
        pass


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_channel: Connection | None = None


def notify(*content: Any) -> None:
    """In the process: say something to whoever waits for the call that is running."""
    if _channel is not None:
        _channel.send(("notice", content))


def _serve(channel: Connection) -> None:
    """The process' life: calls, until the other side closes."""
    global _channel
    _channel = channel
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        while True:
            _answer(channel, *channel.recv())


def _answer(channel: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        channel.send(("result", function(*arguments)))
    except ElLarqError as error:
        channel.send(("error", error))
    except MemoryError:
        channel.send(("error", ElLarqError("needs more memory than it is allowed")))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        channel.send(("error", ElLarqError(summarize(error))))
