"""The interface of all targets: running shell scripts and receiving files."""

from abc import ABC, abstractmethod
from pathlib import Path

from el_larq.devices import process, shell
from el_larq.devices.process import Completed
from el_larq.errors import ElLarqError

COMMAND_TIMEOUT = 60.0
"""Seconds that a short command may take on a slow device."""


class ConnectionLostError(ElLarqError):
    """The connection to the device was lost."""


class Target(ABC):
    """A device and how to reach it.

    ``name``: as the user wrote it; ``android``: whether it needs binaries for Android; ``folders``: directories in which a private
    folder may be created, in order of preference, to be expanded by the device's shell. ``supervisor``: only if the target is this
    machine, a program that runs a command and then kills every process the command has started.
    """

    name: str
    android = False
    supervisor: tuple[str, ...] = ()
    folders: tuple[str, ...] = ("${TMPDIR:-/tmp}", "/tmp", "/var/tmp", "$HOME")

    @abstractmethod
    def command(self, source: str, *, watchdog: bool = False) -> list[str]:
        """The program and arguments that run a shell script on the device; ``watchdog``: whether it is the first
        one, which runs as long as the connection is needed."""

    @abstractmethod
    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device. ``remote`` is absolute."""

    @abstractmethod
    def explain_failure(self, done: Completed) -> str:
        """The error of the connection itself, as one clause with a remedy; empty if the device was reached."""

    def check(self) -> None:  # noqa: B027 (most targets need none)
        """Check whether the device can be reached; raises ElLarqError with the remedy."""

    def close(self) -> None:  # noqa: B027
        """Close the connection, after the device has cleaned up."""

    def execute(self, source: str, *arguments: str, timeout: float = COMMAND_TIMEOUT) -> Completed:
        """Run a POSIX shell script with positional parameters.

        Raises:
            ElLarqError: the connection failed. If the script itself fails, only the status shows it.
        """
        done = process.run(self.command(shell.make_script(source, arguments)), timeout=timeout)
        if reason := self.explain_failure(done):
            raise ElLarqError(f"{self.name}: {reason}")
        return done


def copy_error(target: str, file: str, output: str) -> ElLarqError:
    """The error for a failed copy, from the messages of the tools."""
    if "No space left" in output or "ENOSPC" in output:
        return ElLarqError(f"{target}: no space left for {file!r}; free some, or choose another directory with --folder")
    if "Read-only file system" in output or ("Permission denied" in output and "publickey" not in output):
        return ElLarqError(f"{target}: cannot write {file!r} there ({last_line(output)}); choose another directory with --folder")
    return ElLarqError(f"{target}: could not copy {file!r} ({last_line(output) or 'no reason given'}); try again")


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
