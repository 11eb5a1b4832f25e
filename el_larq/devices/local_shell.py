"""This machine as a device, for a benchmark binary that runs here."""

import shutil
from pathlib import Path

from el_larq.devices.process import Completed
from el_larq.devices.target import Target, copy_failed


class LocalTarget(Target):
    name = "local"

    def command(self, source: str, *, keeper: bool = False) -> list[str]:
        return ["sh", "-c", source]

    def push(self, local: Path, remote: str) -> None:
        try:
            shutil.copyfile(local, remote)
        except OSError as error:
            raise copy_failed(self.name, local.name, str(error)) from error

    def fetch(self, remote: str, local: Path) -> None:
        self.push(Path(remote), str(local))

    def failure(self, done: Completed) -> str:
        return ""
