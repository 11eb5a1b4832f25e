"""Checks of this machine: processor, memory, disk, accelerators."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from el_larq.doctor.check import NOTE, OK, PROBLEM, Check
from el_larq.doctor.versions import installed

NEED_DISK = 2e9
"""Bytes: many times the size of a resnet26 run on photos with its conversion."""
NEED_MEMORY = 3e9
"""Bytes: what converting ResNet26 at 224x224 needs."""
START_SECONDS = 120
"""Time limit of a start of TensorFlow."""

_FEATURES = {"x86_64": ("avx", "avx2", "fma", "avx512f"), "aarch64": ("asimd", "asimddp"), "arm64": ("asimd", "asimddp")}
_LIST_DEVICES = """
import json, el_larq, tensorflow as tf
print("\\n" + json.dumps([[d.device_type, d.name] for d in tf.config.list_physical_devices()]))
"""


def checks(folder: Path) -> list[Check]:
    return [_cores(), _features(), _memory(), _disk(folder), _accelerators()]


def _cores() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check("machine", "cores", OK, f"{usable} usable, {platform.machine()}, {platform.system()} {platform.release()}")


def cpu_flags() -> set[str]:
    """CPU feature flags as Linux lists them; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.partition(":")[2].split()}


def _features() -> Check:
    machine, flags = platform.machine(), cpu_flags()
    wanted = _FEATURES.get(machine)
    if not flags or wanted is None:
        return Check("machine", "CPU features", NOTE, f"unknown on {platform.system()} {machine}")
    present = ", ".join(name for name in wanted if name in flags) or "none of " + ", ".join(wanted)
    if machine == "x86_64" and "avx" not in flags:
        return Check(
            "machine",
            "CPU features",
            PROBLEM,
            f"{present}; TensorFlow needs AVX",
            "use another machine, or a virtual machine with AVX",
        )
    if machine == "x86_64":
        return Check("machine", "CPU features", OK, f"{present}; LCE has optimized binary kernels for ARM only")
    return Check("machine", "CPU features", OK, present)


def _memory() -> Check:
    try:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return Check("machine", "memory", NOTE, "unknown on this system")
    try:  # MemAvailable includes the page cache, which can be freed
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        pass
    if available < NEED_MEMORY:
        return Check(
            "machine",
            "memory",
            NOTE,
            f"{available / 1e9:.1f} GB available",
            "close other programs; converting large networks needs 3 GB",
        )
    return Check("machine", "memory", OK, f"{available / 1e9:.1f} GB available")


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    if free < NEED_DISK:
        return Check("machine", "disk", PROBLEM, f"{free / 1e9:.1f} GB free in {folder}", "free 2 GB, or work in another folder")
    return Check("machine", "disk", OK, f"{free / 1e9:.1f} GB free in {folder}")


def _accelerators() -> Check:
    """The devices that TensorFlow finds, in a separate process, since a build that does not support the CPU crashes on import."""
    if installed("tensorflow") is None:
        return Check("machine", "accelerators", NOTE, "unknown without TensorFlow")
    try:
        result = subprocess.run(
            [sys.executable, "-c", _LIST_DEVICES], capture_output=True, text=True, timeout=START_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Check(
            "machine", "accelerators", PROBLEM, f"TensorFlow did not start in {START_SECONDS} s", "reinstall it: make clean install"
        )
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        reason = lines[-1][:200] if lines else f"exit status {result.returncode}"
        return Check("machine", "accelerators", PROBLEM, f"TensorFlow does not start: {reason}", "reinstall it: make clean install")
    devices = [name for kind, name in json.loads(result.stdout.strip().splitlines()[-1]) if kind != "CPU"]
    if devices:
        return Check("machine", "accelerators", OK, ", ".join(devices))
    remedy = "for an NVIDIA GPU: pip install 'tensorflow[and-cuda]' and its driver"
    return Check("machine", "accelerators", NOTE, "none that TensorFlow can use, so training runs on the CPU", remedy)
