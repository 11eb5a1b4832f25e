"""Every target by name. To add one, write a subclass of `el_larq.devices.target.Target` in its own file and name it here.

Imports nothing heavy, since the command line lists the targets.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from el_larq.devices.emulated_core import parse_core
from el_larq.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from el_larq.devices.target import Target

TARGETS = {
    "local": "this machine, with LCE's interpreter or a benchmark binary; x86 latencies say nothing about a BNN on ARM",
    "ssh://user@host[:port]": "a Raspberry Pi or any Linux device, through the system's ssh with its configuration and keys",
    "android[:SERIAL]": "a phone with USB debugging, through the system's adb",
    "emulated[:CORE]": "instructions, not latency, of an ARM core that QEMU emulates on this machine: cortex-a53, a72 or a76",
}


def check_target(name: str) -> str:
    """The kind of a target: local, ssh, android or emulated; raises UsageError for anything else, also an unknown core."""
    if name == "local":
        return "local"
    if name.startswith("ssh:"):
        return "ssh"
    if name == "android" or name.startswith("android:"):
        return "android"
    if name == "emulated" or name.startswith("emulated:"):
        parse_core(name)
        return "emulated"
    if "@" in name or name.startswith("ssh"):
        raise UsageError(f"unknown target {name!r}; for a device reached through ssh, write ssh://user@host[:port]")
    raise unknown_name("target", name, TARGETS)


def open_target(name: str, *, ssh_config: Path | None = None) -> "Target":
    """The target of this name; nothing is connected yet.

    Raises:
        UsageError: the name is not a target, or its user, host, port or serial number is invalid.
    """
    kind = check_target(name)
    if kind == "ssh":
        from el_larq.devices.ssh import SshTarget

        return SshTarget(name, ssh_config)
    if kind == "android":
        from el_larq.devices.android import AndroidTarget

        return AndroidTarget(name)
    if kind == "emulated":
        raise UsageError("--target emulated counts instructions, and only el-larq benchmark can use it; choose another target")
    assert kind == "local", f"open_target needs the target {kind}"
    from el_larq.devices.local_shell import LocalTarget

    return LocalTarget()
