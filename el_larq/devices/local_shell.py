"""This machine as a device, for a benchmark binary that runs here."""

import shutil
import sys
from pathlib import Path

from el_larq.devices.process import Completed
from el_larq.devices.target import Target, copy_failed


class LocalTarget(Target):
    name = "local"
    if sys.platform == "linux":
        # Isolated and without site packages: it starts in some ten milliseconds.
        supervisor = (sys.executable, "-I", "-S", str(Path(__file__).with_name("supervisor.py")))

    def command(self, source: str, *, watchdog: bool = False) -> list[str]:
        return ["sh", "-c", source]

    def push(self, local: Path, remote: str) -> None:
        try:
            shutil.copyfile(local, remote)
        except OSError as error:
            raise copy_failed(self.name, local.name, str(error)) from error

    def failure(self, done: Completed) -> str:
        return ""
