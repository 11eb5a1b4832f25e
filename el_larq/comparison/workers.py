"""Processes that execute one call after another: TensorFlow starts once for several calls, memory is released after a number of
them, and a crash affects only one call. The command itself never imports TensorFlow.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from el_larq.by_name import load_by_name
from el_larq.errors import ElLarqError, summarize

_CALLS = 12
"""Number of calls before a process is replaced, since the memory of earlier trainings' graphs is never fully released."""

_PATIENCE = 20.0
"""Seconds that a process gets to exit before it is killed."""


@dataclass(frozen=True)
class Call:
    """A function, as "module:name", which is imported by the process that runs it, and its argument."""

    function: str
    argument: Any


@dataclass(frozen=True)
class Outcome:
    """What a call returned, or one line with the reason why it failed."""

    value: Any = None
    error: str = ""


class Worker:
    """A process and its current call."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end,), daemon=True)
        self._process.start()
        end.close()
        self._left = _CALLS
        self.call: Call | None = None

    @property
    def spent(self) -> bool:
        return self._left == 0

    def send(self, call: Call) -> None:
        self.call, self._left = call, self._left - 1
        self.pipe.send(call)

    def receive(self) -> Outcome:
        """The outcome of the call. If the process died, the outcome is an error, and the worker is spent."""
        try:
            outcome = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            self._left = 0
            outcome = Outcome(error=f"the process that ran it died ({_ending(self._process.exitcode)})")
        self.call = None
        return outcome

    def stop(self) -> None:
        """End the process; a training first saves its state, if it can do so before the process is killed."""
        self._process.terminate()
        self._process.join(_PATIENCE)
        self._process.kill()
        self._process.join()
        self.pipe.close()


def run(calls: Iterable[Call], jobs: int = 1) -> Iterator[tuple[Call, Outcome]]:
    """Run the calls, ``jobs`` at a time, and yield each with its outcome when it ends. No process is left running afterwards."""
    waiting = deque(calls)
    workers: list[Worker] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                workers.append(Worker())
            for worker in workers[:]:
                if worker.call is None:
                    if waiting and not worker.spent:
                        worker.send(waiting.popleft())
                    else:
                        workers.remove(worker)
                        worker.stop()
            busy: dict[Any, Worker] = {worker.pipe: worker for worker in workers}
            for pipe in wait(list(busy)) if busy else ():
                call = busy[pipe].call
                assert call is not None
                yield call, busy[pipe].receive()
    finally:
        for worker in workers:
            worker.stop()


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        names = {number.value: number.name for number in signal.Signals}
        name = names.get(-status, f"signal {-status}")
        return f"{name}; memory may have run out" if name == "SIGKILL" else name
    return f"exit status {status}"


def _serve(pipe: Connection) -> None:
    # Ctrl-C reaches every process of a terminal. The command ends its workers itself, and they also exit when it has died.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    while True:
        try:
            call: Call = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_do(call))
        except (KeyboardInterrupt, BrokenPipeError):  # stopped during a training, or the parent has exited
            return


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)  # lets a training save its state
    time.sleep(_PATIENCE)
    os._exit(1)


def _do(call: Call) -> Outcome:
    from el_larq.native_output import captured_stderr

    try:
        with captured_stderr():  # hides TensorFlow's messages at startup
            function = load_by_name(call.function)
        return Outcome(function(call.argument))
    except ElLarqError as error:
        return Outcome(error=str(error))
    except Exception as error:
        return Outcome(error=f"unexpected {summarize(error)}")
