"""This machine as a target for a benchmark binary."""

import shutil
import sys
from pathlib import Path

from el_larq.devices.process import Completed
from el_larq.devices.target import Target, copy_error


class LocalTarget(Target):
    name = "local"
    if sys.platform == "linux":
        # Isolated and without site packages, so that it starts fast.
        supervisor = (sys.executable, "-I", "-S", str(Path(__file__).with_name("supervisor.py")))

    def command(self, source: str, *, watchdog: bool = False) -> list[str]:
        return ["sh", "-c", source]

    def push(self, local: Path, remote: str) -> None:
        try:
            shutil.copyfile(local, remote)
        except OSError as error:
            raise copy_error(self.name, local.name, str(error)) from error

    def explain_failure(self, done: Completed) -> str:
        return ""
