"""Android devices, reached through the system's adb."""

import re
from dataclasses import dataclass
from pathlib import Path

from el_larq.devices import process
from el_larq.devices.process import Completed
from el_larq.devices.target import COMMAND_TIMEOUT, Target, copy_error, last_line
from el_larq.errors import ElLarqError, UsageError

_REMEDIES = {
    "unauthorized": "is not authorized: unlock it and accept this computer's key (adb kill-server makes it ask again)",
    "offline": "is offline: unplug it and plug it in again, or adb reconnect",
    "no permissions": "cannot be opened by this user: add udev rules for it "
    "(Debian: apt-get install android-sdk-platform-tools-common)",
    "authorizing": "is still connecting: accept this computer's key on its screen and try again",
    "connecting": "is still connecting: try again in a moment",
    "recovery": "is in recovery mode: start it normally",
    "sideload": "is in sideload mode: start it normally",
    "bootloader": "is in its bootloader: start it normally",
}
_STATES = "device|offline|unauthorized|authorizing|connecting|recovery|sideload|bootloader|host|rescue|no permissions|unknown"
_LINE = re.compile(rf"(?P<serial>.*?)(?:\t|\s{{2,}}|\s)(?P<state>{_STATES})\b(?P<rest>.*)")


@dataclass(frozen=True)
class AttachedDevice:
    """A line of `adb devices -l`."""

    serial: str
    state: str
    model: str


def parse_devices(text: str) -> list[AttachedDevice]:
    """Devices from the output of `adb devices -l`."""
    found, in_list = [], False
    for line in text.splitlines():
        if line.startswith("List of devices attached"):
            in_list = True
        elif in_list and (match := _LINE.fullmatch(line.rstrip())):
            model = re.search(r"\bmodel:(\S+)", match["rest"])
            found.append(AttachedDevice(match["serial"].rstrip(), match["state"], model[1] if model else ""))
    return found


class AndroidTarget(Target):
    """`android` for the only connected device, or `android:SERIAL`."""

    android = True
    # The only directory where the shell user may execute files that it has written.
    folders = ("/data/local/tmp",)

    def __init__(self, name: str):
        self.name = name
        _, colon, serial = name.partition(":")
        if colon and not serial:
            raise UsageError(
                "android: is not a target; write android, or android:SERIAL with a serial number that adb devices lists"
            )
        if "\0" in serial:
            raise UsageError("a serial number contains a NUL character; adb devices lists the valid ones")
        self.serial = serial or None

    def _adb(self, *arguments: str) -> list[str]:
        return ["adb", *(["-s", self.serial] if self.serial else []), *arguments]

    def check(self) -> None:
        listing = process.run(["adb", "devices", "-l"], timeout=COMMAND_TIMEOUT)
        if listing.status:
            raise ElLarqError(
                f"{self.name}: adb devices fails ({last_line(listing.stderr or listing.stdout)}); try adb kill-server first"
            )
        devices = parse_devices(listing.stdout)
        if self.serial is None:
            if not devices:
                raise ElLarqError(
                    "no Android device: connect one with USB debugging enabled (Settings, Developer options); "
                    "for a device on the network, run adb connect ADDRESS first"
                )
            if len(devices) > 1:
                listed = ", ".join(f"android:{device.serial}" for device in devices)
                raise ElLarqError(f"{len(devices)} Android devices are connected; choose one: --target {listed}")
            self.serial = devices[0].serial
        device = next((device for device in devices if device.serial == self.serial), None)
        if device is None:
            listed = ", ".join(repr(device.serial) for device in devices) or "none"
            raise ElLarqError(f"no Android device has the serial number {self.serial!r}; connected: {listed}")
        if device.state != "device":
            raise ElLarqError(
                f"Android device {device.serial!r} {_REMEDIES.get(device.state, f'is in state {device.state}: restart it')}"
            )

    def command(self, source: str, *, watchdog: bool = False) -> list[str]:
        # One argument: adb passes it to the device's sh unchanged. -T: no terminal, which would add carriage returns.
        return self._adb("shell", "-T", source)

    def push(self, local: Path, remote: str) -> None:
        done = process.run(self._adb("push", str(local.absolute()), remote), timeout=20 * COMMAND_TIMEOUT)
        if done.status:
            raise copy_error(self.name, local.name, self.explain_failure(done) or done.stderr or done.stdout)

    def explain_failure(self, done: Completed) -> str:
        if done.status == 0:
            return ""
        for line in done.stderr.splitlines():
            error = re.match(r"(?:adb: )?error: (.*)", line.strip())
            if error is None:
                continue
            for state, remedy in _REMEDIES.items():
                if state in error[1]:
                    return f"the device {remedy}"
            if re.search(r"not found|no devices|closed|protocol fault|connection reset|more than one", error[1]):
                return f"adb lost the device ({error[1][:150]}); check the cable, then run adb devices"
        return ""
