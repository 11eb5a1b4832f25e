"""Devices reached through the system's ssh, with the user's configuration, agent, jump hosts and host keys.

There is one connection: the first command is the master, the others use its socket. Files are copied with `cat` over
that connection and not with scp, which would need an sftp server on the device (small systems with Dropbear have none)
and would interpret paths a second time.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

from el_larq.devices import process, shell
from el_larq.devices.process import Completed
from el_larq.devices.target import COMMAND_TIMEOUT, Target, copy_error
from el_larq.errors import UsageError
from el_larq.files import read_bytes

_TARGET = re.compile(r"ssh://(?:(?P<user>[^@/]+)@)?(?P<host>\[[^\]]+\]|[^@:/\[\]]+)(?::(?P<port>\d+))?/?")
# ProxyCommand and Match exec in the user's configuration may pass the host and the user to a shell of this machine.
_NAME = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%+-]*")
# The slowest transfer that is waited for.
_BYTES_PER_SECOND = 50_000

_FAILURES = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "its host key has changed: if you have reinstalled the device, "
    "remove the old one with ssh-keygen -R HOST and connect once with ssh; if not, another machine may be answering",
    "Host key verification failed": "its host key is not known yet: connect once with ssh and accept it",
    "Permission denied": "the device refuses the login, or asks for a password, which el-larq never types: "
    "set up a key (ssh-keygen, ssh-copy-id) or load it into the agent (ssh-add)",
    "Could not resolve hostname": "the host name is unknown; check it, or use the address",
    "Connection refused": "nothing answers at that port; check that sshd is running on the device",
    "No route to host": "the host cannot be reached; check that it is switched on and in the same network",
    "timed out": "the host does not answer; check that it is switched on and in the same network",
    "Too many authentication failures": "the agent offers too many keys; name one with IdentityFile and IdentitiesOnly",
    "Bad owner or permissions": "ssh rejects the permissions of its configuration file: chmod 600 ~/.ssh/config",
}


class SshTarget(Target):
    """`ssh://[user@]host[:port]`; the host may be an alias of the user's ssh configuration.

    Arguments:
        config: a configuration file to use instead of ~/.ssh/config.
    """

    def __init__(self, name: str, config: Path | None = None):
        match = _TARGET.fullmatch(name)
        if match is None:
            raise UsageError(f"{name!r} is not a valid target; write ssh://user@host[:port]")
        user, host, port = match["user"], match["host"].strip("[]"), match["port"]
        for what, value in (("user", user), ("host", host)):
            if value is not None and not _NAME.fullmatch(value):
                raise UsageError(f"{value!r} is not a valid {what} name: only letters, digits and . _ - are allowed")
        if port is not None and not 0 < int(port) < 65536:
            raise UsageError(f"{port} is not a port number from 1 to 65535")
        self.name = name.rstrip("/")
        self._host = host
        self._options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=5"]
        self._options += ["-o", "ServerAliveCountMax=4", "-o", "ForwardX11=no", "-o", "ClearAllForwardings=yes", "-T"]
        # The server's banner is not an error.
        self._options += ["-o", "LogLevel=ERROR"]
        if config is not None:
            self._options += ["-F", str(config.absolute())]
        if user is not None:
            self._options += ["-l", user]
        if port is not None:
            self._options += ["-p", port]
        self._sockets: Path | None = None

    def command(self, source: str, *, watchdog: bool = False) -> list[str]:
        return ["ssh", *self._options, *self._connection_options(watchdog), "--", self._host, shell.quote_for_login_shell(source)]

    def _connection_options(self, master: bool) -> list[str]:
        if os.name == "nt":  # its ssh has no control sockets
            return []
        if self._sockets is None:
            # The path of a socket is limited to about 100 characters.
            parent = tempfile.gettempdir()
            self._sockets = Path(tempfile.mkdtemp(prefix="el-larq-", dir=parent if len(parent) < 50 else "/tmp"))
        control = "yes" if master else "no"
        return ["-o", f"ControlMaster={control}", "-o", "ControlPersist=no", "-S", str(self._sockets / "c")]

    def push(self, local: Path, remote: str) -> None:
        content = read_bytes(local)
        arguments = self.command(shell.make_script('cat > "$1"', [remote]))
        done = process.run(arguments, timeout=COMMAND_TIMEOUT + len(content) / _BYTES_PER_SECOND, stdin=content)
        if done.status:
            raise copy_error(self.name, local.name, self.explain_failure(done) or done.stderr or done.stdout)

    def explain_failure(self, done: Completed) -> str:
        if done.status != 255:
            return ""
        for sign, meaning in _FAILURES.items():
            if sign in done.stderr:
                return meaning
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return f"ssh failed: {lines[-1][:200]}" if lines else "the connection was lost; check the network"

    def close(self) -> None:
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None
