"""Real servers as devices: OpenSSH on loopback, and Debian trixie's adbd in a separate network namespace."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TRIXIE = Path("/var/cache/el-larq-tests/trixie")
ADBD = TRIXIE / "usr/lib/android-sdk/platform-tools/adbd"


@dataclass
class Far:
    """A device for tests. ``options``, ``environment``: how el-larq reaches it; ``folder``: the directory that it uses there."""

    kind: str
    target: str
    folder: str
    options: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    root: Path = Path("/")
    process: int = 0

    def left(self) -> list[str]:
        """Folders that el-larq left, as this machine sees them."""
        return sorted(str(path) for path in Path(f"{self.root}{self.folder}").glob("el-larq*"))

    def running(self) -> list[str]:
        """Command lines of processes that belong to a private folder of el-larq there."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                # Another worker's adbd has a folder of the same name in another mount namespace.
                if self.kind == "android" and _mounts(path.parent.name) != _mounts(str(self.process)):
                    continue
                words = path.read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(f"{self.folder}/el-larq." in word for word in words) and "ssh" not in words[0] and "adb" not in words[0]:
                found.append(" ".join(words))
        return found

    def wait_until_clean(self, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while (self.left() or self.running()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert self.left() == []
        assert self.running() == []


def _mounts(process: str) -> str:
    return os.readlink(f"/proc/{process}/ns/mnt")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def ssh_server(folder: Path, *, password_only: bool = False) -> Iterator[Far]:
    """sshd on a loopback port with a host key and a user key of its own."""
    sshd = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)
    if sshd is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH's server is not installed (apt-get install openssh-server)")
    if os.geteuid() != 0:
        pytest.skip("the loopback sshd needs root for /run/sshd")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    port = free_port()
    accepted = "PubkeyAuthentication no\nPasswordAuthentication yes\n" if password_only else "PasswordAuthentication no\n"
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"{accepted}StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\nMaxStartups 100\n"
        "KbdInteractiveAuthentication no\n"
    )
    known = f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}"
    (folder / "known_hosts").write_text(known)
    (folder / "ssh_config").write_text(
        f"Host *\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n"
        "  GlobalKnownHostsFile /dev/null\n"
    )
    device = folder / "device"
    device.mkdir()
    server = subprocess.Popen([sshd, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Far(
            "ssh",
            f"ssh://root@127.0.0.1:{port}",
            str(device),
            ["--ssh-config", str(folder / "ssh_config"), "--folder", str(device)],
            process=server.pid,
        )
    finally:
        server.terminate()
        server.wait()


@contextmanager
def adb_server(folder: Path, port: int = 5599) -> Iterator[Far]:
    """adbd in its own network namespace, and a real adb in the same one; nothing of it can be reached from outside."""
    if shutil.which("adb") is None:
        pytest.skip("adb is not installed (apt-get install adb)")
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be had here (unshare -n), without which adbd would be an open root shell")
    if not ADBD.exists():
        pytest.skip(f"no Debian trixie with adbd in {TRIXIE} (debootstrap --variant=minbase --include=adbd trixie {TRIXIE})")
    script = (
        "ip link set lo up && mkdir -p $1/data/local/tmp && mount -t tmpfs -o size=16m,mode=777 none $1/data/local/tmp && "
        "mount --bind /proc $1/proc && exec env ADBD_PORT=$2 chroot $1 /usr/lib/android-sdk/platform-tools/adbd"
    )
    daemon = subprocess.Popen(
        ["unshare", "-n", "-m", "sh", "-c", script, "sh", TRIXIE, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    programs = folder / "bin"
    programs.mkdir()
    adb = programs / "adb"
    adb.write_text(f'#!/bin/sh\nexec nsenter -t {daemon.pid} -n -- {shutil.which("adb")} "$@"\n')
    adb.chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
        "ANDROID_ADB_SERVER_PORT": "5037",
    }
    inside = os.environ | environment
    try:
        serial = f"127.0.0.1:{port}"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            time.sleep(0.3)
            said = subprocess.run([adb, "connect", serial], env=inside, capture_output=True, text=True, check=False).stdout
            if "connected to" in said and "failed" not in said:
                break
        else:
            pytest.skip("adbd does not answer in its namespace")
        for _ in range(50):
            listed = subprocess.run([adb, "devices"], env=inside, capture_output=True, text=True, check=False).stdout
            if f"{serial}\tdevice" in listed:
                break
            time.sleep(0.1)
        root = Path(f"/proc/{daemon.pid}/root")
        yield Far("android", f"android:{serial}", "/data/local/tmp", [], environment, root, daemon.pid)
    finally:
        subprocess.run([adb, "kill-server"], env=inside, capture_output=True, check=False)
        daemon.kill()
        daemon.wait()
