"""Function calls in processes, several at a time. TensorFlow starts once for several calls, memory is released after a number of
them, and a crash affects only one call. The command itself never imports TensorFlow.
"""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from el_larq.by_name import load_by_name
from el_larq.errors import ElLarqError
from el_larq.worker_process import PATIENCE, Died, WorkerProcess, first_ready

_CALLS = 12
"""Number of calls before a process is replaced, since the memory of earlier trainings' graphs is never fully released."""


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


def run(calls: Iterable[Call], jobs: int = 1) -> Iterator[tuple[Call, Outcome]]:
    """Run the calls, ``jobs`` at a time, and yield each with its outcome when it ends. No process is left running afterwards."""
    waiting = deque(calls)
    left: dict[WorkerProcess, int] = {}  # the number of calls that each process may still get
    busy: dict[WorkerProcess, Call] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                worker = next((worker for worker in left if worker not in busy), None) or WorkerProcess()
                left[worker] = left.get(worker, _CALLS) - 1
                busy[worker] = waiting.popleft()
                with contextlib.suppress(Died):  # which `_outcome` reports
                    worker.send(_perform, busy[worker])
            worker = first_ready(list(busy))
            assert worker is not None
            call, outcome = busy.pop(worker), _outcome(worker)
            if not waiting or not left[worker] or not worker.process.is_alive():
                del left[worker]
                worker.close(PATIENCE)
            yield call, outcome
    finally:
        for worker in left:
            worker.close(PATIENCE)


def _outcome(worker: WorkerProcess) -> Outcome:
    try:
        return Outcome(worker.receive(None))
    except Died as error:
        hint = "; memory may have run out" if str(error).endswith("SIGKILL") else ""
        return Outcome(error=f"the process that ran it {error}{hint}")
    except ElLarqError as error:
        return Outcome(error=str(error))


def _perform(call: Call) -> Any:
    from el_larq.native_output import captured_stderr

    with captured_stderr():  # hides TensorFlow's messages at startup
        function = load_by_name(call.function)
    return function(call.argument)
