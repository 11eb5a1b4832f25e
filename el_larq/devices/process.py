"""Running ssh, adb or sh on this machine."""

import contextlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from el_larq.errors import ElLarqError


@dataclass(frozen=True)
class Completed:
    """How a program ended. Output is text, with what is no UTF-8 replaced."""

    status: int
    stdout: str
    stderr: str


class TimeOutError(ElLarqError):
    """A program did not end in time."""


def run(arguments: Sequence[str], *, timeout: float, stdin: bytes | None = None) -> Completed:
    """Run a program with nothing, or with ``stdin``, on its input.

    Raises:
        ElLarqError: the program is not installed.
        TimeOutError: it did not end in ``timeout`` seconds; it has been killed.
    """
    done = run_bytes(arguments, timeout=timeout, stdin=stdin)
    return Completed(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def run_bytes(arguments: Sequence[str], *, timeout: float, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """The same, with output as it came."""
    process = start(arguments, subprocess.DEVNULL if stdin is None else subprocess.PIPE)
    try:
        stdout, stderr = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired as error:
        raise TimeOutError(f"{arguments[0]} did not answer within {timeout:g} seconds") from error
    finally:
        # Also after Ctrl-C, which a session of its own keeps from the child.
        if process.poll() is None:
            end(process)
    return subprocess.CompletedProcess(list(arguments), process.returncode, stdout, stderr)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and let go of its streams, which a program it started may hold open much longer."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def start(arguments: Sequence[str], stdin: int) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own: Ctrl-C must reach el-larq alone, which then cleans up through this program."""
    try:
        return subprocess.Popen(
            list(arguments), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except FileNotFoundError as error:
        raise ElLarqError(f"{arguments[0]} is not installed: {_PACKAGES.get(arguments[0], 'install it')}") from error
    except (OSError, ValueError) as error:
        raise ElLarqError(f"cannot start {arguments[0]}: {error}") from error


_PACKAGES = {
    "adb": "install Android's platform-tools (Debian: apt-get install adb)",
    "ssh": "install OpenSSH's client (Debian: apt-get install openssh-client)",
}
