"""Runs ssh, adb or sh on this machine, with limits on time and output."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from el_larq.errors import ElLarqError

MAX_OUTPUT = 1 << 20
"""Bytes that a program may print to each of its streams. A log of the benchmark without a profile has about 10 kB."""

# Seconds between SIGTERM and SIGKILL. In this time, a supervisor ends the processes that it has started.
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Completed:
    """How a program ended. Output is text, with invalid UTF-8 replaced."""

    status: int
    stdout: str
    stderr: str


class TimeOutError(ElLarqError):
    """A program did not end in time."""


class TooMuchOutputError(ElLarqError):
    """A program printed more than its limit."""


def run(arguments: Sequence[str], *, timeout: float, stdin: bytes | None = None, limit: int = MAX_OUTPUT) -> Completed:
    """Run a program with ``stdin`` as its input, empty by default.

    Raises:
        ElLarqError: the program is not installed or cannot be started.
        TimeOutError: it did not end within ``timeout`` seconds and was killed.
        TooMuchOutputError: it printed more than ``limit`` bytes to one of its streams and was killed.
    """
    done = run_bytes(arguments, timeout=timeout, stdin=stdin, limit=limit)
    return Completed(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def run_bytes(
    arguments: Sequence[str], *, timeout: float, stdin: bytes | None = None, limit: int = MAX_OUTPUT
) -> subprocess.CompletedProcess[bytes]:
    """`run` with output as bytes."""
    deadline = time.monotonic() + timeout
    process = start(arguments, subprocess.DEVNULL if stdin is None else subprocess.PIPE)
    streams = _Streams(process, stdin, limit)
    try:
        try:
            streams.wait(deadline)
            if not streams.full:
                process.wait(max(0.0, deadline - time.monotonic()))
        except (queue.Empty, subprocess.TimeoutExpired) as error:
            raise TimeOutError(
                f"{arguments[0]} did not end within {timeout:g} seconds; check the connection to the device and try again"
            ) from error
        if streams.full:
            raise TooMuchOutputError(f"{arguments[0]} printed more than {limit:,} bytes and was stopped")
    finally:
        # Also after Ctrl-C, which the child does not receive in its own session.
        end(process)
        streams.close()
    return subprocess.CompletedProcess(list(arguments), process.returncode, bytes(streams.stdout), bytes(streams.stderr))


class _Streams:
    """Reads a program's output, at most ``limit`` bytes per stream, and writes its input, each in a thread."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes | None, limit: int):
        self.stdout, self.stderr = bytearray(), bytearray()
        self.full = False
        self._process, self._limit = process, limit
        self._ended: queue.Queue[None] = queue.Queue()
        assert process.stdout is not None
        assert process.stderr is not None
        self._threads = [
            threading.Thread(target=self._read, args=(process.stdout, self.stdout), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, self.stderr), daemon=True),
        ]
        if stdin is not None:
            self._threads.append(threading.Thread(target=self._write, args=(process.stdin, stdin), daemon=True))
        for thread in self._threads:
            thread.start()

    def _read(self, stream: IO[bytes], into: bytearray) -> None:
        with contextlib.suppress(OSError, ValueError):
            while part := os.read(stream.fileno(), 1 << 16):
                if len(into) + len(part) > self._limit:
                    self.full = True
                    break
                into += part
        self._ended.put(None)

    def _write(self, stream: IO[bytes], content: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):
            stream.write(content)
        with contextlib.suppress(OSError, ValueError):
            stream.close()

    def wait(self, deadline: float) -> None:
        """Wait until both output streams have ended, or one has reached the limit. Raises queue.Empty at the deadline."""
        for _ in range(2):
            self._ended.get(timeout=max(0.0, deadline - time.monotonic()))
            if self.full:
                return

    def close(self) -> None:
        """Close the streams, unless another process still has one open; its thread then ends with that process."""
        for thread in self._threads:
            thread.join(1)
        if not any(thread.is_alive() for thread in self._threads):
            close_streams(self._process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program, if it still runs, and its process group."""
    if process.poll() is None and os.name != "nt":
        # Its process number is not reused before it has been waited for.
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGTERM)
            deadline = time.monotonic() + _GRACE_SECONDS
            while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None and time.monotonic() < deadline:
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def close_streams(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def start(arguments: Sequence[str], stdin: int) -> subprocess.Popen[bytes]:
    """Start a program in its own session: Ctrl-C must reach only el-larq, which then cleans up through this program."""
    try:
        return subprocess.Popen(
            list(arguments), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except FileNotFoundError as error:
        raise ElLarqError(f"{arguments[0]} is not installed: {_PACKAGES.get(arguments[0], 'install it and try again')}") from error
    except (OSError, ValueError) as error:
        raise ElLarqError(f"cannot start {arguments[0]}: {error}") from error


_PACKAGES = {
    "adb": "install Android's platform-tools (Debian: apt-get install adb)",
    "ssh": "install OpenSSH's client (Debian: apt-get install openssh-client)",
}
