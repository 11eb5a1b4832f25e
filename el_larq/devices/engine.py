"""Chooses the benchmark binary for a device and checks that it can run there."""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from el_larq.devices.probe import Device
from el_larq.devices.program import BENCHMARK, Program
from el_larq.downloads.asset import Asset, cache_folder
from el_larq.errors import ElLarqError, UsageError

TAG = "v0.16.0"
"""The release of LCE whose converter this project uses; runtime and converter should be of the same release."""

ASSETS = {
    "aarch64": "64-bit ARM Linux (Raspberry Pi OS 64-bit)",
    "aarch32": "32-bit ARM Linux (Raspberry Pi OS 32-bit)",
    "android_arm64": "64-bit ARM Android",
}
MAX_BYTES = 200_000_000
"""Maximum size of a download. A benchmark binary has a few megabytes."""

_MACHINES = {0x28: "arm", 0xB7: "aarch64", 0x3E: "x86_64", 0x03: "x86", 0xF3: "riscv"}
_ARM64 = ("aarch64", "arm64")


def asset_name(kind: str) -> str:
    return f"lce_benchmark_model_{kind}"


def choose_asset(device: Device, *, android: bool) -> str:
    """The name of the released binary that runs on a device.

    Raises:
        ElLarqError: LCE has not released a binary for it.
    """
    arm64, arm32 = device.machine in _ARM64, device.machine.startswith(("armv7", "armv8l", "armv6"))
    if android or device.android:
        if (arm64 and device.bits != 32) or "arm64-v8a" in device.abis:
            return "android_arm64"
        raise ElLarqError(
            f"LCE has not released a benchmark binary for Android on {_describe(device)}; build one and give it with --binary"
        )
    if arm64 and device.bits != 32:
        return "aarch64"
    if arm64 or (arm32 and device.machine != "armv6l"):
        return "aarch32"
    raise ElLarqError(
        f"LCE has not released a benchmark binary for Linux on {_describe(device)}; build one and give it with --binary"
    )


def choose_binary(device: Device, *, android: bool, binary: Path | None) -> Path:
    """The binary to use: the given one, or the downloaded one that fits.

    Raises:
        ElLarqError: it cannot run on the device, or has not been downloaded yet.
    """
    if binary is not None:
        check_fits(binary, device, android=android)
        return binary
    kind = choose_asset(device, android=android)
    path = cached_path(kind)
    if not path.is_file():
        raise ElLarqError(
            f"the benchmark binary for {ASSETS[kind]} has not been downloaded; run el-larq engine fetch {kind}, or give one with "
            "--binary PATH"
        )
    check_fits(path, device, android=android)
    return path


@dataclass(frozen=True)
class Elf:
    """The header of an executable: 32 or 64 bits, the machine, and the loader it needs ("" if it is static)."""

    bits: int
    machine: str
    loader: str


def read_elf(path: Path, program: Program = BENCHMARK) -> Elf | None:
    """The header of an ELF file; None for a script or anything else."""
    try:
        with open(path, "rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise UsageError(f"cannot read {program.binary} {path}: {error.strerror or error}") from error
    if head[:4] != b"\x7fELF" or len(head) < 64:
        return None
    bits = {1: 32, 2: 64}.get(head[4])
    order = {1: "<", 2: ">"}.get(head[5])
    if bits is None or order is None:
        return None
    machine = struct.unpack_from(f"{order}H", head, 18)[0]
    return Elf(bits, _MACHINES.get(machine, f"machine {machine}"), _loader(head, bits, order))


def registers_bitcast(path: Path) -> bool | None:
    """Whether a benchmark binary contains TensorFlow Lite's kernel BITCAST, which views in place need (`convert --views`).

    LCE's binary is linked statically, and only registered kernels are linked. Its symbols name the kernel's registration; without
    symbols, the messages of the kernel's checks still contain the path of its source. None if not even RESHAPE is found: a script,
    or a program whose kernels are in a shared library.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the benchmark binary {path}: {error.strerror or error}") from error
    if not any(sign in content for sign in _RESHAPE):
        return None
    return any(sign in content for sign in _BITCAST)


_RESHAPE = (b"Register_RESHAPE", b"lite/kernels/reshape.cc")
_BITCAST = (b"Register_BITCAST", b"lite/kernels/bitcast.cc")


def _loader(head: bytes, bits: int, order: str) -> str:
    """PT_INTERP of the program headers."""
    try:
        offset = struct.unpack_from(f"{order}Q" if bits == 64 else f"{order}I", head, 32 if bits == 64 else 28)[0]
        size, count = struct.unpack_from(f"{order}HH", head, 54 if bits == 64 else 42)
        for number in range(count):
            at = offset + number * size
            if struct.unpack_from(f"{order}I", head, at)[0] == 3:
                if bits == 64:
                    start, length = (
                        struct.unpack_from(f"{order}Q", head, at + 8)[0],
                        struct.unpack_from(f"{order}Q", head, at + 32)[0],
                    )
                else:
                    start, length = (
                        struct.unpack_from(f"{order}I", head, at + 4)[0],
                        struct.unpack_from(f"{order}I", head, at + 16)[0],
                    )
                return head[start : start + length].rstrip(b"\0").decode(errors="replace")
    except struct.error:
        pass
    return ""


def check_fits(path: Path, device: Device, *, android: bool, program: Program = BENCHMARK) -> None:
    """Raise ElLarqError with the reason if a binary cannot run on a device. Scripts are not checked."""
    elf = read_elf(path, program)
    if elf is None:
        with open(path, "rb") as file:
            if file.read(2) != b"#!":
                raise UsageError(
                    f"{path} is not a program: it is neither an ELF executable nor a script; give {program.kind} with --binary"
                )
        return
    runs = {"aarch64": {"aarch64"}, "arm64": {"aarch64"}, "x86_64": {"x86_64"}, "amd64": {"x86_64"}}.get(device.machine)
    if device.machine.startswith("armv"):
        runs = {"arm"}
    if device.bits == 32 and runs == {"aarch64"}:
        runs = {"arm"}
    elif runs == {"aarch64"} and device.bits is None:
        runs = {"aarch64", "arm"}
    elif runs == {"x86_64"}:
        runs = {"x86"} if device.bits == 32 else {"x86_64", "x86"}
    if runs is not None and elf.machine not in runs:
        raise ElLarqError(
            f"{path.name} is for {elf.machine} ({elf.bits} bits) and cannot run on {_describe(device)}; "
            f"{_remedy(device, android, program)}"
        )
    on_android = android and device.android is not None
    if on_android and elf.loader and "/system/" not in elf.loader and "/apex/" not in elf.loader:
        raise ElLarqError(
            f"{path.name} is for Linux (it needs {elf.loader}) and cannot run on Android; {_remedy(device, True, program)}"
        )
    if not android and device.android is None and "/system/" in elf.loader:
        raise ElLarqError(f"{path.name} is for Android and cannot run on Linux; {_remedy(device, False, program)}")


def _remedy(device: Device, android: bool, program: Program) -> str:
    if not program.released:
        return program.source
    try:
        return f"el-larq engine fetch {choose_asset(device, android=android)} downloads one that can"
    except ElLarqError:
        return "build one for it"


def _describe(device: Device) -> str:
    return f"{device.machine} with a {device.bits}-bit userland" if device.bits else device.machine


def cached_path(kind: str, tag: str = TAG) -> Path:
    """The path of a downloaded binary."""
    return cache_folder("engine") / tag / asset_name(kind)


def release_asset(kind: str, tag: str = TAG) -> Asset:
    """A released binary; LCE publishes no checksums."""
    return Asset(
        address=f"https://github.com/larq/compute-engine/releases/download/{tag}/{asset_name(kind)}",
        kind="a benchmark binary",
        max_bytes=MAX_BYTES,
        missing="this release does not contain the file; choose another with --tag",
        executable=True,
        offline="el-larq engine install FILE takes a copy of the file",
    )


def check_tag(tag: str) -> str:
    """Return the tag; raise UsageError if it is not a tag of LCE, since it becomes part of a path and an address."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        raise UsageError(f"{tag!r} is not a release of LCE; give a tag such as {TAG} or v0.13.0")
    return tag
