"""Safe access to folders that el-larq created and opens again (runs, comparisons, evaluations, results), possibly made by others.

A folder that a user names may itself be a link: that is the user's choice. Its contents may not: a link there would make
el-larq read, overwrite or delete files elsewhere, and a pipe or a device would make it wait or read forever. Files are replaced
by a rename (`el_larq.files.atomic_path`), which replaces a link and does not follow it; all other access goes through this module.

This protects against the folder as it was received, not against a process that changes it meanwhile.
"""

import os
import stat
from pathlib import Path
from typing import IO

from el_larq.errors import ElLarqError
from el_larq.files import MAX_BYTES


def is_there(path: Path) -> bool:
    """Whether this entry of a folder exists.

    Raises:
        ElLarqError: it is a link, is neither a file nor a folder, or cannot be read.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ElLarqError(f"cannot read {path}: {error.strerror or error}") from error
    if stat.S_ISLNK(mode):
        raise _refused(path, "is a link", ", or copy there what it points to")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise _refused(path, "is neither a file nor a folder")
    return True


def check_all(folder: Path) -> None:
    """Check everything inside a folder, at any depth.

    Raises:
        ElLarqError: an entry is a link, or neither a file nor a folder; the folder cannot be read.
    """

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # another process may be working in it
            raise ElLarqError(f"cannot read {error.filename}: {error.strerror or error}") from error

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        for name in (*folders, *files):
            is_there(Path(parent, name))


def open_file(path: Path, *, create: bool = False) -> IO[bytes]:
    """Open a file inside a folder for reading; with ``create``, also for writing, without truncating it.

    Raises:
        ElLarqError: it is a link or not a file, or, with ``create``, has a second name elsewhere (a hard link).
        OSError: it cannot be opened.
    """
    is_there(path)  # first, because opening some devices has side effects
    flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    # The entry may have changed between the check and the opening. These flags do not all exist on every system.
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    file = open(path, "r+b" if create else "rb", opener=lambda name, _: os.open(name, flags, 0o666))  # noqa: SIM115
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        file.close()
        raise _refused(path, "is not a file")
    if create and status.st_nlink > 1:
        file.close()
        raise _refused(path, "has a second name elsewhere (a hard link)")
    return file


def read(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of a file inside a folder.

    Raises:
        ElLarqError: as `open_file`; or it cannot be read, or has more than ``limit`` bytes.
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise ElLarqError(f"cannot read {path}: {size:,} bytes are more than the {limit:,} that such a file may have")
            return file.read()
    except OSError as error:
        raise ElLarqError(f"cannot read {path}: {error.strerror or error}") from error


def _refused(path: Path, what: str, remedy: str = "") -> ElLarqError:
    return ElLarqError(f"{path} {what}, and el-larq opens only files that lie in the folder itself; remove it{remedy}")
