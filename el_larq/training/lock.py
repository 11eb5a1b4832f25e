"""A run folder is locked by one process. The operating system holds the lock, so it is released however that process ends."""

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import IO, Any

from el_larq import own_folders
from el_larq.errors import ElLarqError

NAME = ".lock"

_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


def _lock(file: IO[Any]) -> None:
    """Raise OSError at once if another process, or another open file of this process, holds the lock."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(1 << 30)  # a byte beyond the text, which other processes may read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lock:
    """The lock on a folder, held until `release` or the end of the process.

    Raises:
        ElLarqError: another process holds it, the file system does not support locks, or the lock file is a link.
        OSError: the lock file cannot be opened.
    """

    def __init__(self, folder: Path):
        path = folder / NAME
        self._file = own_folders.open_file(path, create=True)
        try:
            _lock(self._file)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read(20).strip().decode("ascii", "replace")
            self._file.close()
            if error.errno in _TAKEN:
                who = f"process {holder}" if holder.isdigit() else "another process"
                raise ElLarqError(f"{folder} is in use by {who}; wait until that ends, or stop it") from error
            raise ElLarqError(f"cannot lock {path}: {error.strerror}; put the run on a file system that has locks") from error
        # The process number is only for messages: it would outlive its process, so it cannot be the lock. A full disk is harmless.
        with contextlib.suppress(OSError):
            self._file.truncate(0)
            self._file.write(f"{os.getpid()}\n".encode())
            self._file.flush()

    def release(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
