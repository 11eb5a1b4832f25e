"""Failures between this machine and a device: a one-line error each, and nothing is left behind."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import servers
import stand_in
from servers import Far
from test_far import HANG, benchmark, refused, started

from el_larq.devices import android
from el_larq.devices.android import AndroidTarget, parse_devices
from el_larq.devices.targets import open_target
from el_larq.errors import ElLarqError, UsageError


@pytest.fixture
def model(data_folder: Path) -> Path:
    return data_folder / "t1.tflite"


def _changed(far: Far, folder: Path, change: Callable[[str], str]) -> Far:
    """The same server with another client configuration."""
    source = Path(far.options[1])
    path = folder / "ssh_config"
    path.write_text(change(source.read_text()))
    return replace(far, options=["--ssh-config", str(path), *far.options[2:]])


def test_ssh_without_a_key_is_refused(ssh_far: Far, tmp_path: Path, model: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    user = Path(ssh_far.options[1]).parent / "user"
    far = _changed(ssh_far, tmp_path, lambda text: text.replace(f"IdentityFile {user}\n", f"IdentityFile {tmp_path}/other\n"))
    refused(benchmark(far, tmp_path, model, "--binary", stand_in.write(tmp_path / "e.sh")), "refuses the login.*ssh-copy-id")


def test_ssh_that_would_ask_for_a_password_does_not_wait_for_one(tmp_path: Path, model: Path) -> None:
    (tmp_path / "server").mkdir()
    with servers.ssh_server(tmp_path / "server", password_only=True) as far:
        start = time.monotonic()
        refused(benchmark(far, tmp_path, model, "--binary", stand_in.write(tmp_path / "e.sh")), "asks for a password")
        assert time.monotonic() - start < 30


def test_ssh_host_key_that_is_not_known(ssh_far: Far, tmp_path: Path, model: Path) -> None:
    far = _changed(ssh_far, tmp_path, lambda text: text.replace("/known_hosts", "/no_such_known_hosts"))
    refused(benchmark(far, tmp_path, model, "--binary", stand_in.write(tmp_path / "e.sh")), "host key is not known yet")


def test_ssh_host_key_that_has_changed(ssh_far: Far, tmp_path: Path, model: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    port = ssh_far.target.rpartition(":")[2]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {(tmp_path / 'other.pub').read_text()}")
    known = Path(ssh_far.options[1]).parent / "known_hosts"
    far = _changed(ssh_far, tmp_path, lambda text: text.replace(str(known), str(tmp_path / "known")))
    refused(benchmark(far, tmp_path, model, "--binary", stand_in.write(tmp_path / "e.sh")), "host key has changed")


def test_ssh_to_a_port_where_nothing_answers(tmp_path: Path, model: Path) -> None:
    far = Far("ssh", f"ssh://root@127.0.0.1:{servers.free_port()}", "/tmp")
    refused(benchmark(far, tmp_path, model, "--binary", stand_in.write(tmp_path / "e.sh")), "nothing answers at that port")


def test_ssh_connection_lost_in_mid_run(tmp_path: Path, model: Path) -> None:
    (tmp_path / "server").mkdir()
    engine = stand_in.write(tmp_path / "engine.sh", before=HANG)
    with (
        servers.ssh_server(tmp_path / "server") as far,
        started(far, tmp_path, model, "--binary", engine) as process,
    ):
        # The server's process for this connection, not the listening one.
        children = Path(f"/proc/{far.process}/task/{far.process}/children").read_text().split()
        assert children
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        _out, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "connection was lost" in said.splitlines()[-1]
        far.wait_until_clean()


def test_adb_connection_lost_in_mid_run(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "server").mkdir()
    engine = stand_in.write(tmp_path / "engine.sh", before=HANG)
    with servers.adb_server(tmp_path / "server") as far:
        for name, value in far.environment.items():
            monkeypatch.setenv(name, value)
        with started(far, tmp_path, model, "--binary", engine) as process:
            subprocess.run(["adb", "disconnect"], check=True, capture_output=True)
            _out, said = process.communicate(timeout=60)
            assert process.returncode == 1
            assert "connection was lost" in said.splitlines()[-1]
            far.wait_until_clean()


@pytest.mark.slow
def test_a_silent_network_makes_the_device_clean_up_by_itself(far: Far, tmp_path: Path, model: Path) -> None:
    engine = stand_in.write(tmp_path / "engine.sh", before=HANG)
    with started(far, tmp_path, model, "--binary", engine) as process:
        # No connection is closed, but no sign of life comes any more.
        process.send_signal(signal.SIGSTOP)
        try:
            far.wait_until_clean(50)
        finally:
            process.send_signal(signal.SIGCONT)


def test_adb_without_a_device(android_far: Far, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in android_far.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ElLarqError, match="no Android device has the serial number 'nonesuch'"):
        AndroidTarget("android:nonesuch").check()
    AndroidTarget("android").check()
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "5038")
    try:
        with pytest.raises(ElLarqError, match="no Android device: connect one"):
            AndroidTarget("android").check()
    finally:
        subprocess.run(["adb", "kill-server"], check=False, capture_output=True)


def _adb(monkeypatch: pytest.MonkeyPatch, folder: Path, listing: str) -> Path:
    """A program in place of adb that lists these devices and records its arguments."""
    adb = folder / "bin" / "adb"
    adb.parent.mkdir()
    (folder / "listing").write_text(listing)
    adb.write_text(f"#!/bin/sh\nfor word; do printf '%s\\0' \"$word\"; done > '{folder}/words'\ncat '{folder}/listing'\n")
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", f"{adb.parent}:{os.environ['PATH']}")
    return folder / "words"


@pytest.mark.parametrize(
    ("name", "listing", "pattern"),
    [
        ("android", "", "no Android device: connect one"),
        ("android", "R58M\tunauthorized\n", "'R58M' is not authorized: unlock it"),
        ("android", "127.0.0.1:5599         offline transport_id:1\n", "is offline"),
        ("android", "XY  no permissions (user in plugdev group?); see [url] usb:1-1\n", "udev rules"),
        ("android", "A1  device usb:1-1 model:Pixel_6\nB 2  device transport_id:2\n", "2 Android devices.*android:A1, android:B 2"),
        ("android:C", "A1\tdevice\n", "no Android device has the serial number 'C'; connected: 'A1'"),
    ],
)
def test_states_of_android_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, listing: str, pattern: str) -> None:
    _adb(monkeypatch, tmp_path, f"* daemon started successfully\nList of devices attached\n{listing}\n")
    with pytest.raises(ElLarqError, match=pattern):
        AndroidTarget(name).check()


@pytest.mark.parametrize("serial", ["a b", "-s", "--", "$(touch pwned)", "it's", 'q"q', "new\nline", "127.0.0.1:5599", "*"])
def test_serials_reach_adb_as_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, serial: str) -> None:
    words = _adb(monkeypatch, tmp_path, "")
    AndroidTarget(f"android:{serial}").execute("true")
    assert words.read_text().split("\0")[:-1] == ["-s", serial, "shell", "-T", "set -- \ntrue"]
    assert not list(tmp_path.rglob("pwned"))


def test_authentic_listings_are_read(logs: Path) -> None:
    def read(name: str) -> list[tuple[str, str]]:
        return [(d.serial, d.state) for d in parse_devices((logs / "adb" / f"{name}.stdout").read_text())]

    assert read("devices_none") == []
    assert read("devices_one") == [("127.0.0.1:5599", "device")]
    assert read("devices_after") == [("127.0.0.1:5599", "offline")]


def test_a_missing_adb_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ElLarqError, match="adb is not installed: install Android's platform-tools"):
        AndroidTarget("android").check()
    target = open_target("ssh://pi")
    with pytest.raises(ElLarqError, match="ssh is not installed: install OpenSSH's client"):
        target.execute("true")
    target.close()


@pytest.mark.parametrize(
    "name",
    ["ssh://", "ssh://a b", "ssh://-oProxyCommand=x", "ssh://u@-h", "ssh://$(x)@h", "ssh://h:0", "ssh://h:99999", "ssh://h;x",
     "ssh://`x`", "ssh://h/path", "ssh:h", "android:", "user@host", "sshh", "pi", "ssh://h\nx", "ssh://'h'"],
)  # fmt: skip
def test_invalid_targets_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        open_target(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ssh://pi", ["--", "pi"]),
        ("ssh://me@raspberrypi.local:2222", ["-l", "me", "-p", "2222", "--", "raspberrypi.local"]),
        ("ssh://[::1]:22", ["-p", "22", "--", "::1"]),
    ],
)
def test_parts_of_an_ssh_target(name: str, words: list[str]) -> None:
    target = open_target(name)
    command = target.command("true")
    target.close()
    kept = [word for word in command if word in words]
    assert kept == words
    assert "BatchMode=yes" in command
    assert not any("StrictHostKeyChecking" in word for word in command)


def test_a_login_shell_that_is_not_posix_gets_plain_characters_only(ssh_far: Far) -> None:
    command = open_target(ssh_far.target).command("printf '%s' \"a'b\" !x\n")[-1]
    inner = command.removeprefix("sh -c '").removesuffix("'")
    assert not set(inner) & set("'!`*?[]{}~#;&|<>\n")


@pytest.mark.parametrize("shell", ["fish", "tcsh", "zsh", "bash", "dash"])
def test_scripts_survive_other_login_shells(shell: str) -> None:
    from el_larq.devices.shell import make_script, quote_for_login_shell

    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    words = ["it's", "a\nb", "\\", "$x", "!y", "-n", "%s", "ü"]
    line = quote_for_login_shell(make_script("for word; do printf '%s\\0' \"$word\"; done", words))
    done = subprocess.run([shell, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.split("\0")[:-1] == words


def test_remedies_name_every_state() -> None:
    assert all(remedy.split()[0] in ("is", "cannot") for remedy in android._REMEDIES.values())
