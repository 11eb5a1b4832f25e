"""Checks of devices to measure on, the programs that connect to them, and data sets."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

from el_larq.data.registry import DATASETS, check_dataset
from el_larq.doctor.check import LACK, NOTE, OK, Check
from el_larq.errors import ElLarqError

SECONDS = 20

_DATA_PACKAGES = {"digits": ("sklearn", "scikit-learn"), "photos": ("skimage", "scikit-image")}


def checks() -> list[Check]:
    return [*_adb(), _ssh(), *_data()]


def _output(command: list[str]) -> str | None:
    """A program's output; None if it fails or times out."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout + result.stderr if result.returncode == 0 else None


def _adb() -> list[Check]:
    program = shutil.which("adb")
    if program is None:
        remedy = "apt-get install adb, or Android's platform-tools; only --target android needs it"
        return [Check("devices", "adb", NOTE, "not installed", remedy)]
    version = _output([program, "version"])
    listed = _output([program, "devices"])
    if version is None or listed is None:
        return [Check("devices", "adb", LACK, f"{program} does not answer", "adb kill-server, then adb devices")]
    found = [Check("devices", "adb", OK, f"{program}, {version.splitlines()[0]}")]
    phones = [line.split("\t") for line in listed.splitlines() if "\t" in line]
    for serial, state in phones:
        if state.startswith("device"):
            found.append(Check("devices", f"phone {serial}", OK, "ready"))
        elif state.startswith("unauthorized"):
            found.append(Check("devices", f"phone {serial}", LACK, "unauthorized", "unlock the phone and allow USB debugging"))
        else:
            found.append(Check("devices", f"phone {serial}", LACK, state, "plug it in again, or adb reconnect"))
    if not phones:
        remedy = "plug one in, with USB debugging switched on in its developer options"
        found.append(Check("devices", "phones", NOTE, "none is connected", remedy))
    return found


def _ssh() -> Check:
    program = shutil.which("ssh")
    if program is None:
        return Check("devices", "ssh", NOTE, "not installed", "apt-get install openssh-client; only --target ssh:// needs it")
    version = _output([program, "-V"])
    if version is None:
        return Check("devices", "ssh", LACK, f"{program} does not answer", "install openssh-client anew")
    keys = sorted(path.stem for path in (Path.home() / ".ssh").glob("id_*.pub"))
    known = f"keys: {', '.join(keys)}" if keys else "no key of one's own (agents and other files are not looked at)"
    return Check("devices", "ssh", OK, f"{version.strip().splitlines()[0]}; {known}")


def _data() -> list[Check]:
    found = []
    for name, entry in DATASETS.items():
        module, package = _DATA_PACKAGES.get(name, (None, ""))
        if module is not None and importlib.util.find_spec(module) is None:
            found.append(Check("data", name, LACK, f"{package} is missing, which brings it", f"pip install {package}"))
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
