"""What a target can do, whatever the way to it: run a shell script, take files, keep a private folder."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from el_larq.devices import process, shell
from el_larq.devices.process import Completed
from el_larq.errors import ElLarqError

COMMAND_TIMEOUT = 60.0
"""Seconds that a small command may take on a slow device."""


class ConnectionLostError(ElLarqError):
    """The device cannot be reached any more."""


class Target(ABC):
    """A way to a device.

    ``name`` is what the user wrote; ``android`` says which binaries fit; ``folders`` are where a private folder may be, best
    first, as the device's shell expands them. ``supervisor`` is a program of this machine that runs a command and ends all that the
    command has started, where the target is this machine.
    """

    name: str
    android = False
    supervisor: tuple[str, ...] = ()
    folders: tuple[str, ...] = ("${TMPDIR:-/tmp}", "/tmp", "/var/tmp", "$HOME")

    @abstractmethod
    def command(self, source: str, *, watchdog: bool = False) -> list[str]:
        """The program and arguments that run a shell script on the device; ``watchdog`` is the first, long-lived one."""

    @abstractmethod
    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device. ``remote`` is absolute."""

    @abstractmethod
    def failure(self, done: Completed) -> str:
        """What the way itself complains about, as one clause with a remedy; empty if the device did the talking."""

    def check(self) -> None:  # noqa: B027 (most ways need none)
        """Look whether the device is there, before anything is done; raises ElLarqError with the remedy."""

    def close(self) -> None:  # noqa: B027
        """Let go of the way, when nothing is left on the device."""

    def execute(self, source: str, *arguments: str, timeout: float = COMMAND_TIMEOUT) -> Completed:
        """Run a POSIX shell script with positional parameters.

        Raises:
            ElLarqError: the way failed. A script's own failure is in the status.
        """
        done = process.run(self.command(shell.script(source, arguments)), timeout=timeout)
        if reason := self.failure(done):
            raise ElLarqError(f"{self.name}: {reason}")
        return done

    def _push_by(self, arguments: Sequence[str], content: bytes, local: Path) -> None:
        done = process.run(arguments, timeout=COMMAND_TIMEOUT + len(content) / 50_000, stdin=content)
        if done.status:
            raise copy_failed(self.name, local.name, self.failure(done) or done.stderr or done.stdout)


def copy_failed(target: str, file: str, said: str) -> ElLarqError:
    """The error of a copy that did not arrive, from what the tools said."""
    if "No space left" in said or "ENOSPC" in said:
        return ElLarqError(f"{target}: no space left for {file!r}; free some, or choose another place with --folder")
    if "Read-only file system" in said or ("Permission denied" in said and "publickey" not in said):
        return ElLarqError(f"{target}: cannot write {file!r} there ({last_line(said)}); choose another place with --folder")
    return ElLarqError(f"{target}: could not copy {file!r}: {last_line(said) or 'no reason given'}")


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
