"""A private folder on a device, and the promise that it and every process in it will go.

A keeper runs on the device as long as the folder is needed: a shell that reads its standard input. When that ends (el-larq is
done, was interrupted or killed; the connection was closed) or no sign of life came for `SILENCE` seconds (the network is gone and
nobody told the device), the keeper kills what still runs there and removes the folder. So nothing depends on a last
command getting through. It costs the device one `sleep` in fifteen seconds.

A program that leaves its process group (setsid) is found by its environment, which holds the folder's name. On this machine a
supervisor finds it whatever it does (`supervisor.py`). What cannot be ended is told by number and name.
"""

import contextlib
import hashlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO

from el_larq.devices import process, shell
from el_larq.devices.process import Completed, TimeOutError, TooMuchOutputError
from el_larq.devices.supervisor import LEFT
from el_larq.devices.target import PATIENCE, ConnectionLostError, Target, copy_failed
from el_larq.errors import ElLarqError
from el_larq.files import read_bytes

SILENCE = 30
"""Seconds without a sign of life after which the device cleans up by itself: two of the ticker's rounds."""

_BEAT = 4.0
# What a keeper says that is longer, or more than anybody reads, is not taken: it must not fill the memory here.
_LINE, _LINES = 1 << 16, 1000
# Processes that are named when they cannot be ended.
_TOLD = 10

# sweep NAME: kill every process whose environment says that it belongs to a folder; prints "still NUMBER NAME" of what stays.
# Shells leave out the NULs between variables when they read. Only /proc and built-in commands: no device lacks these.
_SWEEP = r"""
sweep() {
  for round in 1 2 3 4 5; do
    found=
    for process in /proc/[0-9]*; do
      while IFS= read -r line || [ -n "$line" ]; do
        case $line in *"EL_LARQ_FOLDER=$1"*) found="$found ${process#/proc/}"; break;; esac
      done < "$process/environ"
    done 2>/dev/null
    [ -n "$found" ] || return 0
    kill -9 $found 2>/dev/null
    [ $round = 1 ] || sleep 1
  done
  for process in $found; do
    read -r name 2>/dev/null < "/proc/$process/comm" && printf 'still %s %s\n' "$process" "$name"
  done
}
"""

# $@: where the folder may be. Prints "folder PATH", then what cannot be ended, and "gone" when the folder has been removed.
_KEEPER = (
    _SWEEP
    + r"""
umask 077
reason=
for base in "$@"; do
  folder=$(mktemp -d "$base/el-larq.XXXXXXXXXX" 2>&1) || { reason="$base: $folder"; continue; }
  printf '#!/bin/sh\nexit 0\n' > "$folder/try" && chmod 700 "$folder/try" && "$folder/try" 2>/dev/null && break
  [ -x /system/bin/sh ] && printf '#!/system/bin/sh\nexit 0\n' > "$folder/try" && "$folder/try" 2>/dev/null && break
  reason="$base: no space, or programs may not be executed there (noexec)"
  rm -rf "$folder"
  folder=
done
[ -d "$folder" ] || { printf 'refused %s\n' "$reason"; exit 1; }
rm -f "$folder/try"
end() {
  for file in "$folder"/pid.*; do
    [ -f "$file" ] || continue
    read -r pid < "$file"
    kill -9 -"$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null
  done
  sweep "${folder##*/}"
  rm -rf "$folder"
}
trap '' HUP INT PIPE
trap 'end; exit 1' TERM
echo 0 > "$folder/beat"
(
  trap 'kill $nap 2>/dev/null; exit 0' TERM
  last=
  while :; do
    sleep 15 & nap=$!
    wait $nap
    now=$(cat "$folder/beat" 2>/dev/null) || exit 0
    [ "$now" = "$last" ] && break
    last=$now
  done
  end
  kill -9 $$
) < /dev/null > /dev/null 2>&1 &
ticker=$!
printf 'folder %s\n' "$folder"
beat=0
while read -r line; do
  [ "$line" = end ] && break
  beat=$((beat + 1))
  echo $beat > "$folder/beat"
done
kill $ticker 2>/dev/null
end
[ -e "$folder" ] && echo left || echo gone
"""
)

# $1: folder, $2: name of the run, then the program and its arguments. Its process group is its own where setsid exists.
_RUN = (
    _SWEEP
    + r"""
cd "$1" || exit 97
pid="$1/pid.$2"
folder=${1##*/}
shift 2
if command -v setsid > /dev/null 2>&1; then EL_LARQ_FOLDER=$folder setsid "$@" < /dev/null &
else EL_LARQ_FOLDER=$folder "$@" < /dev/null & fi
child=$!
echo $child > "$pid" || { kill -9 $child; exit 97; }
wait $child
status=$?
rm -f "$pid"
sweep "$folder" > /dev/null
exit $status
"""
)

_KILL = (
    _SWEEP
    + r"""
read -r pid < "$1/pid.$2" && { kill -9 -"$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null; }
sweep "${1##*/}" > /dev/null
exit 0
"""
)

_HASH = r"""
if command -v sha256sum > /dev/null 2>&1; then sha256sum < "$1"
elif command -v openssl > /dev/null 2>&1; then openssl dgst -sha256 -r < "$1"
else echo none; fi
"""


class Folder:
    """The private folder of one target, as a context manager.

    Arguments:
        base: where to make it instead of the target's own choice.
        notify: called with one line for each thing that a user should know of.

    Raises:
        ElLarqError: the device is not there, or no folder can be made on it in which programs run.
    """

    def __init__(self, target: Target, base: str | None = None, notify: Callable[[str], None] = lambda line: None):
        self.target = target
        self.path = ""
        self._notify = notify
        self._left = 0
        self._base = base
        self._runs = 0
        self._keeper: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._stop = threading.Event()
        self._lines: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> "Folder":
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
            source = f"{bases}\n{_KEEPER}"
        else:
            source = shell.script(_KEEPER, [self._base])
        keeper = process.start(self.target.command(source, keeper=True), stdin=subprocess.PIPE)
        self._keeper = keeper
        assert keeper.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(keeper.stdout,), daemon=True)
        self._reader.start()
        try:
            line = self._lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise ElLarqError(f"{self.target.name}: the device did not answer within {PATIENCE:g} seconds") from None
        if line is None:
            assert keeper.stderr is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.wait(PATIENCE)
            process.end(keeper)
            # What is in the pipe now: something else may hold it open.
            os.set_blocking(keeper.stderr.fileno(), False)
            said = keeper.stderr.read(_LINE) or b""
            done = Completed(keeper.returncode, "", said.decode(errors="replace"))
            reason = self.target.failure(done) or f"no shell could be started there: {done.stderr.strip()[-200:]}"
            raise ElLarqError(f"{self.target.name}: {reason}")
        word, _, rest = line.partition(" ")
        if word != "folder":
            place = f"; name another place with --folder ({rest[:200]})" if word == "refused" else f": it says {line[:200]!r}"
            raise ElLarqError(f"{self.target.name}: no private folder can be made on the device{place}")
        self.path = rest
        threading.Thread(target=self._beat, daemon=True).start()

    def _read(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline(_LINE):
                text = line.decode(errors="surrogateescape").rstrip("\r\n")
                # A login shell's greeting may come first.
                if text.split(" ")[0] in ("folder", "refused", "gone", "left", "still") and self._lines.qsize() < _LINES:
                    self._lines.put(text)
        self._lines.put(None)

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT):
            self._tell(b"beat\n")

    def _tell(self, line: bytes) -> None:
        keeper = self._keeper
        if keeper is not None and keeper.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                keeper.stdin.write(line)
                keeper.stdin.flush()

    def _close(self) -> str:
        """Let the device clean up; returns what may be left there, or nothing."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            self.target.close()
            return ""
        self._stop.set()
        with contextlib.suppress(OSError, ValueError):
            if keeper.stdin is not None:
                keeper.stdin.write(b"end\n")
                keeper.stdin.close()
        said = None
        deadline = time.monotonic() + PATIENCE
        try:
            while self.path and time.monotonic() < deadline:
                if (line := self._lines.get(timeout=max(0.0, deadline - time.monotonic()))) is None:
                    break
                if line.startswith("still "):
                    self._tell_left(line.removeprefix("still "))
                else:
                    said = line
            keeper.wait(max(0.1, deadline - time.monotonic()))
        except (queue.Empty, subprocess.TimeoutExpired):
            pass
        finally:
            keeper.kill()
            keeper.wait()
            if self._reader is not None:
                self._reader.join(1)
            if self._reader is None or not self._reader.is_alive():
                process.close_streams(keeper)
            self.target.close()
        path, self.path = self.path, ""
        if not path or said == "gone":
            return ""
        return f"{self.target.name}: the connection was lost; the device removes {path} by itself within {SILENCE} seconds"

    @property
    def alive(self) -> bool:
        """Whether the connection that keeps the folder still stands."""
        return self._keeper is not None and self._keeper.poll() is None

    def place(self, local: Path, name: str, *, executable: bool = False) -> str:
        """Copy a file into the folder under a plain name, and check it there; returns what was compared.

        Raises:
            ElLarqError: it did not arrive as it is here.
        """
        self._check()
        content = read_bytes(local)
        remote = f"{self.path}/{name}"
        self.target.push(local, remote)
        if executable:
            self.target.execute('chmod 700 "$1"', remote)
        size = self.target.execute('wc -c < "$1"', remote)
        if size.stdout.strip() != str(len(content)):
            raise copy_failed(self.target.name, local.name, f"{size.stdout.strip() or 0} of {len(content)} bytes arrived")
        told = self.target.execute(_HASH, remote).stdout.split()
        if not told or told[0] == "none":
            return "size"
        if told[0] != hashlib.sha256(content).hexdigest():
            raise copy_failed(self.target.name, local.name, "its SHA-256 differs on the device")
        return "sha256"

    def _tell_left(self, process: str) -> None:
        self._left += 1
        if self._left > _TOLD:
            return
        name = "".join(character if character.isprintable() else "?" for character in process[:100])
        self._notify(f"warning: {self.target.name}: the benchmark left a process that cannot be ended: {name}; end it there")

    def run(self, arguments: list[str], *, timeout: float, limit: int = process.MAX_OUTPUT) -> Completed:
        """Run a program in the folder. When it does not end in time, or prints more than ``limit`` bytes to one of its streams, it
        is killed on the device; in any case whatever it has started.

        Raises:
            TimeOutError: it did not end in time.
            TooMuchOutputError: it printed too much.
            ConnectionLostError: the connection went away meanwhile.
        """
        self._check()
        self._runs += 1
        name = str(self._runs)
        command = [*self.target.supervisor, *self.target.command(shell.script(_RUN, [self.path, name, *arguments]))]
        try:
            done = process.run(command, timeout=timeout, limit=limit)
        except TimeOutError:
            with contextlib.suppress(ElLarqError):
                self.target.execute(_KILL, self.path, name)
            raise TimeOutError(
                f"{self.target.name}: the benchmark did not end within {timeout:g} seconds and was stopped; "
                "give it longer with --timeout, or run fewer inferences"
            ) from None
        except TooMuchOutputError:
            with contextlib.suppress(ElLarqError):
                self.target.execute(_KILL, self.path, name)
            raise TooMuchOutputError(
                f"{self.target.name}: the benchmark printed more than {limit / 2**20:g} MiB and was stopped; "
                "is it a benchmark binary (el-larq engine fetch gets LCE's)?"
            ) from None
        except BaseException:
            with contextlib.suppress(ElLarqError):
                self.target.execute(_KILL, self.path, name, timeout=10)
            raise
        return self._without_left(done)

    def _without_left(self, done: Completed) -> Completed:
        """The program's own output: the supervisor's lines at its end are told."""
        lines = done.stderr.splitlines(keepends=True)
        while self.target.supervisor and lines and lines[-1].startswith(LEFT):
            self._tell_left(lines.pop().removeprefix(LEFT).strip())
        return replace(done, stderr="".join(lines))

    def lost(self) -> ConnectionLostError | None:
        """The error to raise if the connection is gone. A closing connection needs a moment to be noticed."""
        deadline = time.monotonic() + 2.0
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.05)
        return None if self.alive else self._lost()

    def _lost(self) -> ConnectionLostError:
        return ConnectionLostError(
            f"{self.target.name}: the connection was lost; check the cable or the network. "
            f"The device stops the benchmark and removes its files within {SILENCE} seconds"
        )

    def _check(self) -> None:
        if not self.alive:
            raise self._lost()
