"""Runs a program and, when that ends, kills every process it has started, even in a new session. Linux only.

    python -I -S supervisor.py PROGRAM ARGUMENT ...

It is a separate program, because a process that adopts orphans (PR_SET_CHILD_SUBREAPER) gets all of them: in el-larq itself they
could not be distinguished from its other children. Its exit status is the program's, or 143 if it is stopped by SIGTERM or by the
death of its parent. Processes that it cannot end are printed on stderr, one per line, each starting with `LEFT`.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import NoReturn

LEFT = "el-larq supervisor: still running: "

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SECONDS_TO_END = 2.0
"""How long a killed process may take to end."""


def find_descendants() -> list[int]:
    """Process numbers of all descendants that have not ended."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                # The name of the program, in parentheses, may contain any characters.
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    children.setdefault(int(parent), []).append(int(name))
    found, below = [], [os.getpid()]
    while below:
        below = [child for process in below for child in children.get(process, [])]
        found += below
    return found


def end_all() -> list[int]:
    """Kill all descendants, including those started meanwhile; returns those that do not end."""
    deadline = time.monotonic() + _SECONDS_TO_END
    while (found := find_descendants()) and time.monotonic() < deadline:
        for process in found:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)
    return found


def _finish(status: int) -> NoReturn:
    for process in end_all():
        name = ""
        with contextlib.suppress(OSError), open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
            name = file.read().strip()
        print(f"{LEFT}{process} {name}", file=sys.stderr, flush=True)
    os._exit(status)


def main(arguments: list[str]) -> NoReturn:
    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _finish(128 + signal.SIGTERM)

    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, stop)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    status = subprocess.Popen(arguments).wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _finish(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main(sys.argv[1:])
