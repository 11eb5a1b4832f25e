"""Checks of connected devices, of the programs that reach them, and of data sets."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

from el_larq.data.dataset_registry import DATASETS, check_dataset
from el_larq.doctor.check import NOTE, OK, PROBLEM, Check
from el_larq.errors import ElLarqError

SECONDS = 20
"""Time limit of adb and ssh."""

_DATA_PACKAGES = {"digits": ("sklearn", "scikit-learn"), "photos": ("skimage", "scikit-image")}


def checks() -> list[Check]:
    return [*_adb(), _ssh(), *_data()]


def _run(command: list[str]) -> str | None:
    """A program's output; None if it fails or times out."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout + result.stderr if result.returncode == 0 else None


def _adb() -> list[Check]:
    program = shutil.which("adb")
    if program is None:
        remedy = "apt-get install adb, or install Android's platform-tools; only --target android needs it"
        return [Check("devices", "adb", NOTE, "not installed", remedy)]
    version = _run([program, "version"])
    listed = _run([program, "devices"])
    if version is None or listed is None:
        return [Check("devices", "adb", PROBLEM, f"{program} does not answer", "run adb kill-server, then adb devices")]
    found = [Check("devices", "adb", OK, f"{program}, {version.splitlines()[0]}")]
    phones = [line.split("\t") for line in listed.splitlines() if "\t" in line]
    for serial, state in phones:
        if state.startswith("device"):
            found.append(Check("devices", f"phone {serial}", OK, "ready"))
        elif state.startswith("unauthorized"):
            found.append(Check("devices", f"phone {serial}", PROBLEM, "unauthorized", "unlock the phone and allow USB debugging"))
        else:
            found.append(
                Check("devices", f"phone {serial}", PROBLEM, state, "unplug it and plug it in again, or run adb reconnect")
            )
    if not phones:
        remedy = "connect one with USB debugging enabled in its developer options"
        found.append(Check("devices", "phones", NOTE, "none connected", remedy))
    return found


def _ssh() -> Check:
    program = shutil.which("ssh")
    if program is None:
        return Check("devices", "ssh", NOTE, "not installed", "apt-get install openssh-client; only --target ssh:// needs it")
    version = _run([program, "-V"])
    if version is None:
        return Check("devices", "ssh", PROBLEM, f"{program} does not answer", "reinstall openssh-client")
    keys = sorted(path.stem for path in (Path.home() / ".ssh").glob("id_*.pub"))
    known = f"keys: {', '.join(keys)}" if keys else "no key in ~/.ssh (agents and other files are not checked)"
    return Check("devices", "ssh", OK, f"{version.strip().splitlines()[0]}; {known}")


def _data() -> list[Check]:
    found = []
    for name, entry in DATASETS.items():
        module, package = _DATA_PACKAGES.get(name, (None, ""))
        if module is not None and importlib.util.find_spec(module) is None:
            found.append(Check("data", name, PROBLEM, f"its package {package} is not installed", f"pip install {package}"))
        elif not entry.module and (missing := _not_prepared(name)):
            found.append(Check("data", name, NOTE, "not prepared by TFDS", missing))
        else:
            found.append(Check("data", name, OK, entry.summary))
    return found


def _not_prepared(name: str) -> str | None:
    try:
        check_dataset(name)
    except ElLarqError as error:
        return str(error).partition("; ")[2]
    return None
