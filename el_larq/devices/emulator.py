"""QEMU's user-mode emulator of 64-bit ARM, with a plugin that counts instructions.

The plugin (scripts/count_instructions.c) is compiled with this machine's compiler into the cache, once for each version of its
source and of the interface.
"""

import hashlib
import os
import shutil
from functools import cache
from importlib import resources
from pathlib import Path

from el_larq.devices import process
from el_larq.devices.engine import read_elf
from el_larq.downloads.asset import cache_folder
from el_larq.errors import ElLarqError
from el_larq.files import atomic_path

PROGRAM = "qemu-aarch64"
INTERFACES = (1, 2)
"""Versions of the plugin interface, tried in this order: QEMU 4.2 to 8.2 have 1, QEMU 9 and later accept 2."""

COMPILERS = ("cc", "gcc", "clang")
INSTALL_QEMU = "install it (Debian: apt-get install qemu-user)"
INSTALL_LIBRARIES = "install them (Debian: apt-get install libc6-arm64-cross libstdc++6-arm64-cross)"
_SECONDS = 60.0
_LOADER = "lib/ld-linux-aarch64.so.1"
_SOURCE = "count_instructions.c"


def find_emulator() -> str:
    """The path of the emulator; raises ElLarqError if it is not installed."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise ElLarqError(f"--target emulated needs QEMU's {PROGRAM}, which is not installed; {INSTALL_QEMU}")
    return program


def version(program: str) -> str:
    """The emulator's version, such as "7.2.22"; "unknown" if it does not say."""
    done = process.run([program, "--version"], timeout=_SECONDS)
    words = done.stdout.split()
    return words[2] if len(words) > 2 and words[1] == "version" else "unknown"


def find_compiler() -> str:
    """The path of a C compiler for this machine: $CC, or one of `COMPILERS`; raises ElLarqError if there is none."""
    for name in (os.environ.get("CC", ""), *COMPILERS):
        if name and (program := shutil.which(name)):
            return program
    raise ElLarqError("--target emulated needs a C compiler for its counter; install one (Debian: apt-get install gcc)")


def build_counter(interface: int) -> Path:
    """The counting plugin for a version of the interface, compiled unless it is in the cache.

    Raises:
        ElLarqError: there is no compiler, or it fails.
    """
    source = _read_source()
    path = cache_folder("emulator") / f"count_instructions-{hashlib.sha256(source).hexdigest()[:16]}-api{interface}.so"
    if path.is_file():
        return path
    compiler = find_compiler()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        options = ["-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-DINTERFACE={interface}", "-x", "c", "-"]
        done = process.run_bytes([compiler, *options, "-o", str(temporary)], stdin=source, timeout=_SECONDS)
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise ElLarqError(f"{compiler} cannot compile the counter of instructions ({words[0][:200]}); give another one in $CC")
    return path


@cache
def _read_source() -> bytes:
    return (resources.files("el_larq.devices") / "scripts" / _SOURCE).read_bytes()


def find_libraries(binary: Path) -> Path | None:
    """The folder with the loader and libraries of 64-bit ARM that a binary needs; None if it is static or this machine has them.

    Raises:
        ElLarqError: it needs them and there are none.
    """
    elf = read_elf(binary)
    if elf is None or not elf.loader or Path(elf.loader).exists():
        return None
    for folder in _library_folders():
        if (folder / elf.loader.lstrip("/")).exists():
            return folder
    raise ElLarqError(
        f"{binary.name} needs the loader {elf.loader} and libraries of 64-bit ARM, which are missing; {INSTALL_LIBRARIES}"
    )


def has_libraries() -> bool:
    """Whether there are a loader and libraries of 64-bit ARM for programs of Linux."""
    return any((folder / _LOADER).exists() for folder in (Path("/"), *_library_folders()))


def _library_folders() -> list[Path]:
    return [Path(folder) for folder in (os.environ.get("QEMU_LD_PREFIX", ""), "/usr/aarch64-linux-gnu") if folder]


def describe_readiness() -> tuple[bool, str, str]:
    """Whether programs can be counted on this machine, what was found, and the remedy if they cannot. Compiles the counter."""
    try:
        program = find_emulator()
        build_counter(INTERFACES[0])
    except ElLarqError as error:
        cause, _, remedy = str(error).rpartition("; ")
        return False, cause, f"{remedy}; only --target emulated needs it"
    if not has_libraries():
        return False, "no libraries of 64-bit ARM, which programs need unless they are static", INSTALL_LIBRARIES
    return True, f"{program} {version(program)}, with a counter of instructions", ""


def explain_emulator(stderr: str, program: str) -> str:
    """The emulator's own error as one clause with a remedy; "" if it printed none."""
    lines = [line.partition(": ")[2] for line in stderr.splitlines() if line.startswith(f"{Path(program).name}: ")]
    text = lines[0][:200] if lines else ""
    if "API version" in text:
        return f"the plugin interface of {program} does not match ({text}); install QEMU 7.2 to 10"
    if "plugin" in text.lower():
        return f"{program} cannot load the counter ({text}); {INSTALL_QEMU}, built with plugins and not static"
    if "Could not open" in text and ".so" in text:
        return f"the benchmark binary needs libraries of 64-bit ARM ({text}); {INSTALL_LIBRARIES}"
    return f"{program} cannot run the benchmark binary ({text}); give one for 64-bit ARM Linux with --binary" if text else ""
