"""ARM cores that QEMU emulates, and what a program on them reads of the processor.

QEMU emulates the instructions of a core, but before version 8.1 a program that opens /proc/cpuinfo reads the file of this machine.
XNNPACK chooses its kernels by that file, so the emulated program gets a root folder (QEMU's option -L) with its own.
"""

from dataclasses import dataclass
from pathlib import Path

from el_larq.errors import unknown_name

CPUS = 4
"""Number of processors that the program sees, as on a Raspberry Pi."""

_BASIC = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"


@dataclass(frozen=True)
class Core:
    """A core as the kernel describes it in /proc/cpuinfo. All of them are made by Arm (implementer 0x41)."""

    part: str
    variant: str
    revision: int
    features: str = _BASIC


CORES = {
    "cortex-a53": Core("0xd03", "0x0", 4),
    "cortex-a72": Core("0xd08", "0x0", 3),
    "cortex-a76": Core("0xd0b", "0x4", 1, f"{_BASIC} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"),
}
DEFAULT = "cortex-a72"


def parse_core(target: str) -> str:
    """The core of a target ``emulated`` or ``emulated:CORE``; raises UsageError if it is not known."""
    _, colon, core = target.partition(":")
    if not colon:
        return DEFAULT
    if core not in CORES:
        raise unknown_name("core", core, CORES)
    return core


def cpuinfo(core: str) -> str:
    """/proc/cpuinfo of a machine with `CPUS` of these cores."""
    one = CORES[core]
    lines = [
        f"BogoMIPS\t: 108.00\nFeatures\t: {one.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: {one.variant}\nCPU part\t: {one.part}\nCPU revision\t: {one.revision}\n"
    ] * CPUS
    return "\n".join(f"processor\t: {number}\n{line}" for number, line in enumerate(lines))


def make_root(folder: Path, core: str, libraries: Path | None) -> None:
    """Create the root folder of the emulated program: the core's description, and links to the folders of ``libraries``."""
    for name, content in {
        "proc/cpuinfo": cpuinfo(core),
        "sys/devices/system/cpu/possible": f"0-{CPUS - 1}\n",
        "sys/devices/system/cpu/present": f"0-{CPUS - 1}\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for entry in libraries.iterdir() if libraries is not None else ():
        if entry.name not in ("proc", "sys"):
            (folder / entry.name).symlink_to(entry.absolute())
