import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from el_larq.doctor import environment, machine, versions
from el_larq.doctor.check import NOTE, OK, PROBLEM

ROOT = Path(__file__).parents[2]


def test_tested_versions_are_those_of_the_lock_file() -> None:
    # A package can be locked several times, for different platforms.
    locked = re.findall(r"^([a-z0-9._-]+)==([^ ]+)", (ROOT / "requirements" / "lock.txt").read_text(), re.MULTILINE)
    for name, version in versions.TESTED.items():
        assert (name, version) in locked, f"{name}: change TESTED in el_larq/doctor/versions.py"


def test_every_dependency_is_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=~! ;\[]", line)[0] for line in project["dependencies"]}
    missing = names - versions.TESTED.keys()
    assert not missing, f"add {missing} to TESTED in el_larq/doctor/versions.py"


def test_here_everything_that_was_tested_is_installed() -> None:
    assert [check for check in versions.checks() if check.state == PROBLEM] == []


@pytest.mark.parametrize(
    ("name", "version", "state", "text"),
    [
        ("numpy", "2.1.0", PROBLEM, "el-larq needs >=1.26,<2"),
        ("numpy", "1.26.0", NOTE, "1.26.0; tested with 1.26.4"),
        ("larq", None, PROBLEM, "not installed"),
        ("tensorflow", "2.15.1", PROBLEM, ">=2.16,<2.22"),
        ("tensorflow", "2.21.0", OK, "2.21.0"),
        ("tf-keras", "2.22.0rc1", PROBLEM, "2.22.0rc1"),
    ],
)
def test_versions_and_their_remedies(
    name: str, version: str | None, state: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    found = versions.checks(lambda package: version if package == name else versions.TESTED[package])
    check = next(check for check in found if check.name == name)
    assert check.state == state
    assert text in check.found
    assert bool(check.remedy) == (state != OK)


def test_tensorflow_and_tf_keras_go_together_by_minor() -> None:
    table = versions.TESTED | {"tf-keras": "2.20.1"}
    assert any(check.name == "tensorflow with tf-keras" for check in versions.checks(table.get))


def test_what_has_no_wheels_on_arm_is_a_note_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    found = {check.name: check for check in versions.checks(lambda name: None if name in versions.HEAVY else versions.TESTED[name])}
    assert found["tensorflow"].state == NOTE
    assert "it has no wheels for Linux on aarch64" in found["tensorflow"].found
    assert all(check.state != PROBLEM for check in found.values())


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_phones_and_their_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(
        tmp_path,
        "adb",
        'if [ "$1" = devices ]; then printf "List of devices attached\\nA1\\tdevice\\nB2\\tunauthorized\\nC3\\toffline\\n\\n"; '
        "else echo Android Debug Bridge version 1.0.41; fi",
    )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = {check.name: check for check in environment.checks()}
    assert found["adb"].state == OK
    assert found["phone A1"].state == OK
    assert (found["phone B2"].state, found["phone C3"].state) == (PROBLEM, PROBLEM)
    assert "allow USB debugging" in found["phone B2"].remedy
    program(tmp_path, "adb", "exit 1")
    assert next(check for check in environment.checks() if check.name == "adb").state == PROBLEM


def test_without_programs_there_are_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {check.name: check for check in environment.checks()}
    assert found["adb"].state == found["ssh"].state == NOTE
    assert "openssh-client" in found["ssh"].remedy


def test_a_full_disk_and_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "NEED_DISK", 1e30)
    monkeypatch.setattr(machine, "NEED_MEMORY", 1e30)
    monkeypatch.setattr(machine, "installed", lambda _: None)
    found = {check.name: check for check in machine.checks(tmp_path)}
    assert found["disk"].state == PROBLEM
    assert found["memory"].state == NOTE
    assert found["accelerators"].found == "unknown without TensorFlow"


def test_a_tensorflow_that_does_not_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_LIST_DEVICES", "import sys; sys.exit('Illegal instruction')")
    found = {check.name: check for check in machine.checks(tmp_path)}
    assert found["accelerators"].found == "TensorFlow does not start: Illegal instruction"


def test_the_command(el_larq_command: Callable[..., CompletedProcess[str]]) -> None:
    result = el_larq_command("doctor", "--json")
    content = json.loads(result.stdout)
    assert result.returncode == (1 if content["lacking"] else 0)
    assert {check["area"] for check in content["checks"]} == {"versions", "machine", "devices", "data"}
    assert all(check["remedy"] for check in content["checks"] if check["state"] == "lack")


def test_light_commands_start_without_tensorflow() -> None:
    """All heavy packages are hidden, as on a machine for which they have no wheels."""
    heavy = ["tensorflow", "tf_keras", "keras", "larq", "larq_compute_engine", "h5py", "sklearn", "skimage", "scipy"]
    hide = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {heavy!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from el_larq.cli.main import main\n"
    )
    model = str(ROOT / "tests" / "data" / "t1.tflite")
    for arguments in (["inspect", model], ["export-weights", model, "--binary", "-o", os.devnull], ["benchmark", "--help"]):
        command = [sys.executable, "-c", f"{hide}main({arguments!r})"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "ModuleNotFoundError" not in result.stderr
        assert "unexpected" not in result.stderr
