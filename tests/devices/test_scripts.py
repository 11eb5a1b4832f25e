"""The shell scripts that run on devices."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from el_larq.devices import probe, shell, workspace
from el_larq.devices.local_shell import LocalTarget

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "el_larq/devices/scripts").glob("*.sh"))
SHELLS = [path for name in ("dash", "bash", "busybox", "mksh") if (path := shutil.which(name))]


def test_every_script_is_installed() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["el_larq.devices"]
    installed = {path for pattern in patterns for path in (ROOT / "el_larq/devices").glob(pattern)}
    assert installed == {path for path in (ROOT / "el_larq/devices/scripts").iterdir() if path.is_file()}
    assert sorted(path for path in installed if path.suffix == ".sh") == SCRIPTS != []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_one_for_every_posix_shell(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n# ")
    for program in SHELLS:
        words = [program, "sh"] if program.endswith("busybox") else [program]
        done = subprocess.run([*words, "-n", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_comments_are_not_sent(script: Path) -> None:
    sent = shell.load(script.stem)
    assert not re.search(r"^\s*#", sent, re.MULTILINE)
    code = [line for line in script.read_text().splitlines() if not line.strip().startswith("#")]
    assert sent.splitlines() == code


@pytest.mark.parametrize("source", [workspace._WATCHDOG, workspace._RUN, workspace._KILL, workspace._SHA256, probe._PROBE])
def test_a_script_fits_into_a_command_of_an_old_adbd(source: str) -> None:
    """4096 bytes including arguments: a path, and the arguments of the benchmark binary."""
    assert len(source.encode()) < 4096 - 600


def test_a_script_without_an_argument_gets_none() -> None:
    assert LocalTarget().execute("echo $#").stdout == "0\n"
    assert LocalTarget().execute(shell.load("sha256"), __file__).stdout.split()[0] != "none"
