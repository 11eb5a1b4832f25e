"""A private folder on a device, which is removed together with every process in it, however the run ends.

A watchdog runs on the device as long as the folder is needed: a shell that reads its standard input. When that ends (el-larq has
finished, was interrupted or killed, or the connection was closed), or no heartbeat arrives for `SILENCE_SECONDS` (the network
failed without notice), the watchdog kills what still runs there and removes the folder. So nothing depends on a final command
reaching the device. It costs the device one `sleep` every fifteen seconds.

A program that leaves its process group (setsid) is found by its environment, which contains the folder's name. On this machine, a
supervisor finds it in any case (`supervisor.py`). A process that cannot be ended is reported by number and name.

The scripts are in `scripts/`: watchdog.sh, run.sh, kill.sh, sha256.sh, and sweep.sh, which the first three use.
"""

import contextlib
import hashlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO

from el_larq.devices import process, shell
from el_larq.devices.process import Completed, TimeOutError, TooMuchOutputError
from el_larq.devices.program import BENCHMARK, Program
from el_larq.devices.supervisor import LEFT
from el_larq.devices.target import COMMAND_TIMEOUT, ConnectionLostError, Target, copy_error, last_line
from el_larq.errors import ElLarqError
from el_larq.files import read_bytes

SILENCE_SECONDS = 30
"""Time without a heartbeat after which the device cleans up by itself: two checks of watchdog.sh."""

_HEARTBEAT_SECONDS = 4.0
# Longer lines of a watchdog are truncated, and further unread lines are dropped, so that they cannot fill the memory of el-larq.
_MAX_LINE_BYTES, _MAX_LINES = 1 << 16, 1000
# How many processes are named when they cannot be ended.
_MAX_NAMED_PROCESSES = 10

_WATCHDOG = shell.load("sweep", "watchdog")
_RUN = shell.load("sweep", "run")
_KILL = shell.load("sweep", "kill")
_SHA256 = shell.load("sha256")


class RemoteWorkspace:
    """The private folder on one target, as a context manager.

    Arguments:
        base: the directory to create it in, instead of the target's own choice.
        notify: called with lines for the user.
        program: what runs there, for messages.

    Raises:
        ElLarqError: the device cannot be reached, or no folder can be created on it in which programs may be executed.
    """

    def __init__(
        self,
        target: Target,
        base: str | None = None,
        notify: Callable[[str], None] = lambda line: None,
        program: Program = BENCHMARK,
    ):
        self.target, self._program = target, program
        self.path = ""
        self._notify = notify
        self._remaining_processes = 0
        self._base = base
        self._run_count = 0
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._stopped = threading.Event()
        self._lines: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> "RemoteWorkspace":
        self.target.check()
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        left = self._close()
        if left and error is None:
            raise ElLarqError(left)

    def _open(self) -> None:
        if self._base is None:
            # The device's shell expands these; they are constants of this project.
            bases = "set -- " + " ".join(f'"{base}"' for base in self.target.folders)
            source = f"{bases}\n{_WATCHDOG}"
        else:
            source = shell.make_script(_WATCHDOG, [self._base])
        watchdog = process.start(self.target.command(source, watchdog=True), stdin=subprocess.PIPE)
        self._watchdog = watchdog
        assert watchdog.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(watchdog.stdout,), daemon=True)
        self._reader.start()
        try:
            line = self._lines.get(timeout=COMMAND_TIMEOUT)
        except queue.Empty:
            raise ElLarqError(
                f"{self.target.name}: the device did not answer within {COMMAND_TIMEOUT:g} seconds; check the connection"
            ) from None
        if line is None:
            assert watchdog.stderr is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                watchdog.wait(COMMAND_TIMEOUT)
            process.end(watchdog)
            # Only what is in the pipe now: another process may have it open.
            os.set_blocking(watchdog.stderr.fileno(), False)
            output = watchdog.stderr.read(_MAX_LINE_BYTES) or b""
            done = Completed(watchdog.returncode, "", output.decode(errors="replace"))
            reason = (
                self.target.explain_failure(done)
                or f"no shell could be started on the device ({last_line(done.stderr)}); it needs a POSIX sh"
            )
            raise ElLarqError(f"{self.target.name}: {reason}")
        word, _, rest = line.partition(" ")
        if word != "folder":
            place = (
                f"; choose another directory with --folder ({rest[:200]})" if word == "refused" else f": it answers {line[:200]!r}"
            )
            raise ElLarqError(f"{self.target.name}: no private folder can be created on the device{place}")
        self.path = rest
        threading.Thread(target=self._send_heartbeats, daemon=True).start()

    def _read(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline(_MAX_LINE_BYTES):
                text = line.decode(errors="surrogateescape").rstrip("\r\n")
                # A login shell may print a greeting first.
                if text.split(" ")[0] in ("folder", "refused", "gone", "left", "still") and self._lines.qsize() < _MAX_LINES:
                    self._lines.put(text)
        self._lines.put(None)

    def _send_heartbeats(self) -> None:
        while not self._stopped.wait(_HEARTBEAT_SECONDS):
            self._send(b"heartbeat\n")

    def _send(self, line: bytes) -> None:
        watchdog = self._watchdog
        if watchdog is not None and watchdog.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                watchdog.stdin.write(line)
                watchdog.stdin.flush()

    def _close(self) -> str:
        """Let the device clean up; returns a message about what may remain on it, or an empty string."""
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is None:
            self.target.close()
            return ""
        self._stopped.set()
        with contextlib.suppress(OSError, ValueError):
            if watchdog.stdin is not None:
                watchdog.stdin.write(b"end\n")
                watchdog.stdin.close()
        answer = None
        deadline = time.monotonic() + COMMAND_TIMEOUT
        try:
            while self.path and time.monotonic() < deadline:
                if (line := self._lines.get(timeout=max(0.0, deadline - time.monotonic()))) is None:
                    break
                if line.startswith("still "):
                    self._warn_of_process(line.removeprefix("still "))
                else:
                    answer = line
            watchdog.wait(max(0.1, deadline - time.monotonic()))
        except (queue.Empty, subprocess.TimeoutExpired):
            pass
        finally:
            watchdog.kill()
            watchdog.wait()
            if self._reader is not None:
                self._reader.join(1)
            if self._reader is None or not self._reader.is_alive():
                process.close_streams(watchdog)
            self.target.close()
        path, self.path = self.path, ""
        if not path or answer == "gone":
            return ""
        return f"{self.target.name}: the connection was lost; the device removes {path} by itself within {SILENCE_SECONDS} seconds"

    @property
    def alive(self) -> bool:
        """Whether the connection to the watchdog is still open."""
        return self._watchdog is not None and self._watchdog.poll() is None

    def upload(self, local: Path, name: str, *, executable: bool = False) -> str:
        """Copy a file into the folder under a plain name, and check it there; returns what was compared: "size" or "sha256".

        Raises:
            ElLarqError: the copy is not identical.
        """
        self._check_connection()
        content = read_bytes(local)
        remote = f"{self.path}/{name}"
        self.target.push(local, remote)
        if executable:
            self.target.execute('chmod 700 "$1"', remote)
        size = self.target.execute('wc -c < "$1"', remote)
        if size.stdout.strip() != str(len(content)):
            raise copy_error(self.target.name, local.name, f"{size.stdout.strip() or 0} of {len(content)} bytes arrived")
        answer = self.target.execute(_SHA256, remote).stdout.split()
        if not answer or answer[0] == "none":
            return "size"
        if answer[0] != hashlib.sha256(content).hexdigest():
            raise copy_error(self.target.name, local.name, "its SHA-256 differs on the device")
        return "sha256"

    def _warn_of_process(self, process: str) -> None:
        self._remaining_processes += 1
        if self._remaining_processes > _MAX_NAMED_PROCESSES:
            return
        name = "".join(character if character.isprintable() else "?" for character in process[:100])
        self._notify(
            f"warning: {self.target.name}: {self._program.running} left a process that cannot be ended: {name}; end it there"
        )

    def run(self, arguments: list[str], *, timeout: float, limit: int = process.MAX_OUTPUT) -> Completed:
        """Run a program in the folder. If it does not end in time, or prints more than ``limit`` bytes to one of its streams, it
        is killed on the device; every process it has started is killed in any case.

        Raises:
            TimeOutError: it did not end in time.
            TooMuchOutputError: it printed too much.
            ConnectionLostError: the connection was lost before the run.
        """
        self._check_connection()
        self._run_count += 1
        name = str(self._run_count)
        command = [*self.target.supervisor, *self.target.command(shell.make_script(_RUN, [self.path, name, *arguments]))]
        try:
            with self._killing_on_error(name):
                done = process.run(command, timeout=timeout, limit=limit)
        except TimeOutError:
            raise TimeOutError(
                f"{self.target.name}: {self._program.running} did not end within {timeout:g} seconds and was stopped; "
                "allow more with --timeout, or run fewer inferences"
            ) from None
        except TooMuchOutputError:
            raise TooMuchOutputError(
                f"{self.target.name}: {self._program.running} printed more than {limit / 2**20:g} MiB and was stopped; "
                f"check that it is {self._program.kind} ({self._program.source})"
            ) from None
        return self._without_supervisor_lines(done)

    @contextlib.contextmanager
    def _killing_on_error(self, run: str) -> Iterator[None]:
        """Context for a run: whatever ends it, the program is killed on the device."""
        try:
            yield
        except BaseException as error:
            # Ctrl-C must not wait long for a device that does not answer.
            timeout = COMMAND_TIMEOUT if isinstance(error, (TimeOutError, TooMuchOutputError)) else 10
            with contextlib.suppress(ElLarqError):
                self.target.execute(_KILL, self.path, run, timeout=timeout)
            raise

    def _without_supervisor_lines(self, done: Completed) -> Completed:
        """The program's own output; the supervisor's lines at its end become warnings."""
        lines = done.stderr.splitlines(keepends=True)
        while self.target.supervisor and lines and lines[-1].startswith(LEFT):
            self._warn_of_process(lines.pop().removeprefix(LEFT).strip())
        return replace(done, stderr="".join(lines))

    def connection_error(self) -> ConnectionLostError | None:
        """The error to raise if the connection was lost, else None. It can take a moment until a closed connection is noticed."""
        deadline = time.monotonic() + 2.0
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.05)
        return None if self.alive else self._connection_lost()

    def _connection_lost(self) -> ConnectionLostError:
        return ConnectionLostError(
            f"{self.target.name}: the connection was lost; check the cable or the network. "
            f"The device stops {self._program.running} and removes its files within {SILENCE_SECONDS} seconds"
        )

    def _check_connection(self) -> None:
        if not self.alive:
            raise self._connection_lost()
