"""A run folder belongs to one process. The lock is the operating system's, so it ends with the process, however that ends."""

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
    """Raises OSError at once if another process, or another open file of this one, holds the lock."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(1 << 30)  # a byte beyond the text, which others may read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lock:
    """The lock on a folder, held until `release` or the end of the process.

    Raises:
        ElLarqError: another process holds it, the file system has no locks, or the lock's file is a link.
        OSError: the lock's file cannot be written.
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
        # Who holds it is for people only: a number alone would outlive its process. A full disk must not matter.
        with contextlib.suppress(OSError):
            self._file.truncate(0)
            self._file.write(f"{os.getpid()}\n".encode())
            self._file.flush()

    def release(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
