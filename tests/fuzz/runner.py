"""Gives the files of the corpus to the commands, and checks what they do."""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostile

MEMORY = 4 * 2**30
# Gigabytes of address space are reserved and not used.
ADDRESSES = 6 * 2**30
SECONDS = 90.0
# A worker that has mapped this much is replaced, so that the limit applies to one command and not to the sum of many.
RENEW = 3 * 2**30


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit status, the error it printed, and what is wrong with that."""

    name: str
    command: tuple[str, ...]
    status: Any
    error: str
    seconds: float
    faults: list[str] = field(default_factory=list)


def _error(line: str) -> str | None:
    """The message of a command's error, which is JSON with --json."""
    if line.startswith('{"error": '):
        return json.loads(line)["error"]
    return line.removeprefix("el-larq: ") if line.startswith("el-larq: ") else None


class Runner:
    """A context manager. ``folder`` contains the working directory, in which only the requested files may appear.

    ``watched`` is a folder whose files no command may open; fill it before the first command.
    """

    def __init__(self, folder: Path):
        self.here = folder / "here"
        self.store = folder / "printed"
        self.watched = folder / "watched"
        for path in (self.here, self.store, self.watched):
            path.mkdir(parents=True)
        hostile.write_module(self.here)
        self.process: subprocess.Popen[str] | None = None
        self.commands = self.faults = self.peak = self.starts = 0

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def case(self, case: Any) -> Iterator[Outcome]:
        for command in case.commands:
            yield self.run(case.name, case.path, command)

    def run(self, name: str, path: Path, command: tuple[str, ...]) -> Outcome:
        """Run one command and check everything it leaves behind."""
        before = set(os.listdir(path)) if path.is_dir() else set()
        arguments = [argument.replace("OUT", "out", 1) if argument.startswith("OUT") else argument for argument in command]
        answer = self._ask(arguments)
        faults = self._judge(answer, arguments, path)
        if path.is_dir() and set(os.listdir(path)) != before and "--resume" not in command:
            faults.append("changed the folder it read")
        self.commands += 1
        self.faults += bool(faults)
        self.peak = max(self.peak, answer["peak"])
        if answer["size"] > RENEW:
            self._stop()
        return Outcome(name, command, answer["status"], answer["stderr"].strip(), answer["seconds"], faults)

    def _judge(self, answer: dict[str, Any], arguments: list[str], path: Path) -> list[str]:
        status, printed = answer["status"], answer["stderr"]
        faults = []
        if status not in (0, 1, 2):
            faults.append(f"ended with {status}")
        errors = [error for line in printed.splitlines() if (error := _error(line)) is not None]
        if "Traceback" in printed or any(re.match(r"(\S+: )?unexpected ", error) for error in errors):
            faults.append("an unexpected error")
        if status in (1, 2) and (len(errors) != 1 or len(printed.splitlines()) != 1):
            faults.append(f"{len(printed.splitlines())} lines of error instead of one")
        elif status in (1, 2) and path.name not in errors[0]:
            faults.append("the error does not name the file")
        if answer["peak"] > MEMORY:
            faults.append(f"took {answer['peak'] / 2**20:.0f} MiB")
        if answer["seconds"] > SECONDS:
            faults.append(f"took {answer['seconds']:.0f} s")
        if answer["alarms"]:
            faults.append(", ".join(answer["alarms"]))
        faults += self._left_behind(status, arguments)
        return faults

    def _left_behind(self, status: Any, arguments: list[str]) -> list[str]:
        """Report unexpected contents of the working directory, and empty it."""
        known = {f"{hostile.MODULE}.py", "__pycache__"}
        found = {entry.name for entry in self.here.iterdir()} - known
        wanted = {argument for argument in arguments if argument.startswith("out")}
        faults = []
        if hostile.CANARY in found:
            faults.append("code in the file was executed")
        if any(".part." in name for _, folders, files in os.walk(self.here) for name in (*folders, *files)):
            faults.append("an incomplete file was left")
        whole = wanted if status == 0 else {name for name in wanted if not Path(name).suffix}
        extra = found - whole - {hostile.CANARY}
        if extra:
            faults.append(f"left {', '.join(sorted(extra))}")
        if status == 0 and wanted - found:
            faults.append("reports success and has written nothing")
        for name in found:
            path = self.here / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return faults

    def _ask(self, arguments: list[str]) -> dict[str, Any]:
        if self.process is None:
            program = [sys.executable, str(Path(__file__).parent / "worker.py"), str(self.store), str(ADDRESSES), str(self.watched)]
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}
            with open(self.store / "native", "w") as native:
                self.process = subprocess.Popen(
                    program,
                    cwd=self.here,
                    env=environment,
                    text=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=native,
                    start_new_session=True,
                )
            self.starts += 1
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(arguments) + "\n")
            process.stdin.flush()
            if select.select([process.stdout], [], [], 4 * SECONDS)[0]:
                line = process.stdout.readline()
        if line:
            return json.loads(line)
        alive = process.poll() is None
        self._stop()
        how = "no end" if alive else f"death by signal {-process.returncode}"
        printed = (self.store / "stderr").read_text(errors="replace") if (self.store / "stderr").exists() else ""
        return {"status": how, "stderr": printed[-4000:], "stdout": "", "alarms": [], "peak": 0, "size": 0, "seconds": 0.0}

    def _stop(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                assert stream is not None
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
            self.process = None
