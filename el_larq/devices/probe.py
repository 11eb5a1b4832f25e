"""Properties and state of a device: architecture, cores, governor, temperature, memory, disk, Android version."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from el_larq.devices import shell
from el_larq.devices.target import Target
from el_larq.errors import UsageError
from el_larq.printable import counted

_PROBE, _TEMPERATURES = shell.load("probe", "temperatures"), shell.load("temperatures")
# Parts of the names of thermal zones that are not of the processor.
_OTHER_ZONES = ("battery", "charger", "usb", "wifi", "pmic", "skin", "quiet", "xo", "modem", "camera", "nvme")


_X86 = ("x86_64", "amd64", "i686")


def is_x86(machine: str) -> bool:
    """Whether LCE has no optimized binary kernel for a machine, as `uname -m` names it, because it is x86."""
    return machine.lower() in _X86


@dataclass(frozen=True)
class Device:
    """Facts about a device at one moment; None or empty where the device does not report them.

    bits: of its userland, 32 or 64, which decides what programs it can run; its kernel may have more.
    big_cores: numbers of the cores of the fastest kind; all if there is only one kind. celsius: of the hottest processor zone.
    clock_offset_s: the device's clock minus this machine's; it is not used for timing.
    """

    machine: str
    bits: int | None = None
    kernel: str = ""
    board: str = ""
    android: str | None = None
    android_sdk: int | None = None
    abis: tuple[str, ...] = ()
    cpus: int | None = None
    big_cores: tuple[int, ...] = ()
    governors: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    celsius: float | None = None
    mem_available_mb: float | None = None
    disk_free_mb: float | None = None
    throttled: str | None = None
    taskset: bool = False
    clock_offset_s: float | None = None
    temperatures: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def notes(self) -> list[str]:
        """Notes that a reader of measurements from this device needs."""
        notes = []
        if self.governors and "performance" not in self.governors:
            governors = "/".join(self.governors)
            notes.append(f"CPU governor {governors}: the clock follows the load, so short runs are slower; prefer performance")
        if self.throttled and not self.throttled.endswith("0x0"):
            notes.append(f"the board has reported throttling or low voltage ({self.throttled}); check its power supply and cooling")
        if self.clock_offset_s is not None and abs(self.clock_offset_s) > 3600:
            notes.append(
                f"the device's clock is off by {abs(self.clock_offset_s) / 3600:.0f} h; the measurements do not depend on it"
            )
        if self.celsius is not None and self.celsius >= 70:
            notes.append(f"the processor is at {self.celsius:.0f} °C and may slow down; let it cool with --cool-down")
        if is_x86(self.machine):
            notes.append("x86: LCE has no optimized binary kernel for it, so its latencies say nothing about a BNN on ARM")
        return notes


def check_threads(threads: Sequence[int], cores: int, machine: str) -> None:
    """Raise UsageError if more threads are asked for than there are cores: they would wait for each other, and seem to hang.

    cores: 0 if unknown.
    """
    if cores and max(threads) > cores:
        raise UsageError(f"--threads {max(threads)}: {machine} has {counted(cores, 'core')}; give at most {cores}")


def probe(target: Target, folder: str, now: float) -> Device:
    """Query the properties of a device. ``now``: this machine's time in seconds since 1970."""
    return parse(target.execute(_PROBE, folder).stdout, now)


def read_temperature(target: Target) -> float | None:
    """Temperature of the hottest processor zone, degrees Celsius."""
    return _hottest(_temperatures(_pairs(target.execute(_TEMPERATURES).stdout)))


def parse(text: str, now: float) -> Device:
    """Facts from the output of probe.sh; damaged and missing values are omitted."""
    pairs = _pairs(text)
    found = dict(pairs)
    temperatures = _temperatures(pairs)
    clock = _integer(found.get("time"))
    bits = {"1": 32, "2": 64}.get(found.get("elf_class", "")) or _integer(found.get("long_bit"))
    return Device(
        machine=found.get("machine", "").strip() or "unknown",
        bits=bits if bits in (32, 64) else None,
        kernel=found.get("kernel", ""),
        board=found.get("board", "").strip(),
        android=found.get("android") or None,
        android_sdk=_integer(found.get("sdk")),
        abis=tuple(part for part in found.get("abis", "").split(",") if part),
        cpus=_integer(found.get("cpus")),
        big_cores=_big_cores(pairs, _integer(found.get("cpus"))),
        governors=tuple(sorted({value for key, value in pairs if key.startswith("governor.") and value})),
        features=tuple(found.get("features", "").split()),
        celsius=_hottest(temperatures),
        mem_available_mb=_megabytes(found.get("mem_kb")),
        disk_free_mb=_megabytes(found.get("disk_kb")),
        throttled=found.get("throttled") or None,
        taskset=found.get("taskset") == "yes",
        clock_offset_s=None if clock is None else float(round(clock - now)),
        temperatures=temperatures,
    )


def _pairs(text: str) -> list[tuple[str, str]]:
    lines = [line.rstrip("\r").partition("=") for line in text.split("\n")]
    return [(key, value) for key, equals, value in lines if equals]


def _integer(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _megabytes(text: str | None) -> float | None:
    value = _integer(text)
    return None if value is None else value / 1024


def _temperatures(pairs: list[tuple[str, str]]) -> dict[str, float]:
    """Degrees Celsius by zone. The kernel reports thousandths of a degree; some old kernels report degrees, or invalid values."""
    found = {}
    for key, value in pairs:
        reading = _integer(value) if key.startswith("temp.") else None
        if reading is None:
            continue
        degrees = reading / 1000 if abs(reading) >= 1000 else float(reading)
        if -40 <= degrees <= 150:
            found[key.removeprefix("temp.")] = degrees
    return found


def _hottest(temperatures: dict[str, float]) -> float | None:
    return max((value for zone, value in temperatures.items() if not any(c in zone.lower() for c in _OTHER_ZONES)), default=None)


def _big_cores(pairs: list[tuple[str, str]], cpus: int | None) -> tuple[int, ...]:
    """The cores of the highest capacity, or of the highest clock where capacities are unknown."""
    for kind in ("capacity.", "max_khz."):
        values = {int(k.removeprefix(kind)): _integer(v) for k, v in pairs if k.startswith(kind) and k[len(kind) :].isdigit()}
        known = {core: value for core, value in values.items() if value}
        if known:
            top = max(known.values())
            # A "prime" core that is up to a quarter faster than the others counts as the same kind.
            return tuple(sorted(core for core, value in known.items() if value >= 0.8 * top))
    return tuple(range(cpus or 0))
