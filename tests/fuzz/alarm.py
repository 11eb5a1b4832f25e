"""Detects forbidden actions of a process: access to watched files, starting programs, loading marshalled code.

Python's audit hook sees what Python does: programs that are started, marshalled code that is loaded. Files of a watched folder are
watched by the kernel (inotify), which also sees TensorFlow's own reading and writing.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path
from typing import Any

_STARTED = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "socket.connect"})
_MASK = {0x1: "read", 0x2: "changed", 0x20: "opened", 0x40: "moved", 0x80: "moved", 0x100: "created", 0x200: "deleted"}


class Alarm:
    """Watches ``folder`` and its subfolders, and this process until its end, since audit hooks cannot be removed."""

    def __init__(self, folder: Path):
        self._heard: list[str] = []
        libc: Any = ctypes.CDLL(None, use_errno=True)
        self._inotify = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            if libc.inotify_add_watch(self._inotify, os.fsencode(path), sum(_MASK)) < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch", str(path))
        sys.addaudithook(self._hear)

    def take_alarms(self) -> list[str]:
        """What has happened since the last call."""
        heard, self._heard = self._heard, []
        try:
            events = os.read(self._inotify, 2**16)
        except BlockingIOError:
            return heard
        while events:
            _, mask, _, length = struct.unpack_from("iIII", events)
            name = events[16 : 16 + length].rstrip(b"\0").decode(errors="replace")
            heard += [f"{what} {name}" for bit, what in _MASK.items() if mask & bit]
            events = events[16 + length :]
        return sorted(set(heard))

    def _hear(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if event in _STARTED:
            self._heard.append(event)
        elif event == "marshal.loads" and "importlib" not in sys._getframe(1).f_code.co_filename:
            self._heard.append("loaded marshalled code")
