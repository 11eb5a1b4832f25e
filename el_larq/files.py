"""Atomic writing of files, so that an interrupted command leaves the old file or none, never a partial one; and safe reading."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from el_larq.errors import ElLarqError, summarize
from el_larq.memory_limit import memory_limited

_PART = ".part."


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str], check: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` on success and remove it otherwise.

    The temporary name keeps the suffix, because Keras chooses its format by it. An OSError becomes an ElLarqError of one line.
    ``check`` is called right before the rename and raises if the file then at ``path`` must not be replaced. A link at ``path``
    is replaced itself, not its target.
    """
    path = Path(path)
    check_writable(path)
    temporary = temporary_path(path)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        if check is not None:
            check(path)
        os.replace(temporary, path)
    except ElLarqError:
        raise
    except OSError as error:
        # h5py's messages have several lines.
        reason = os.strerror(error.errno) if error.errno else summarize(error)
        raise ElLarqError(f"cannot write {path}: {reason}") from error
    except Exception as error:
        if _is_full(path.parent):  # some libraries report this with their own exceptions
            raise ElLarqError(f"cannot write {path}: {os.strerror(errno.ENOSPC)}") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """A new name in the same folder for what is later renamed to ``path``."""
    return path.with_name(f".{secrets.token_hex(4)}{_PART}{path.name}")


def is_temporary(name: str, target: str = "") -> bool:
    """Whether a name is one of `temporary_path`, of any file or folder or of the one with the name ``target``."""
    return name.startswith(".") and (name.endswith(f"{_PART}{target}") if target else _PART in name)


def _is_full(folder: Path) -> bool:
    if not hasattr(os, "statvfs"):
        return False
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize < 1 << 16


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise ElLarqError before any long work if a file could not be written at ``path``."""
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        raise ElLarqError(f"cannot write {path}: it is a folder; name a file inside it")
    if path.exists() and not path.is_file():
        raise ElLarqError(f"cannot write {path}: it is a device or a pipe, which a file would replace; choose another name")
    if not folder.is_dir():
        raise ElLarqError(f"cannot write {path}: the folder {folder} does not exist; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ElLarqError(f"cannot write {path}: the folder {folder} is not writable")


def write_bytes(path: str | os.PathLike[str], content: bytes, check: Callable[[Path], None] | None = None) -> None:
    with atomic_path(path, check) as temporary:
        temporary.write_bytes(content)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


MAX_BYTES = 1 << 31
"""Larger files are refused before they are read; the TFLite format is limited to 2 GiB."""


def read_bytes(path: str | os.PathLike[str], limit: int = MAX_BYTES) -> bytes:
    """The content of a file. Raises ElLarqError if it is missing, unreadable, not a file or larger than ``limit`` bytes."""
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not path.is_dir():
            raise ElLarqError(f"cannot read {path}: it is a device or a pipe and no file")
        if status.st_size > limit:
            raise ElLarqError(f"cannot read {path}: {status.st_size:,} bytes are more than the {limit:,} that such a file may have")
        with open(path, "rb") as file:
            return file.read(limit)
    except OSError as error:
        raise ElLarqError(f"cannot read {path}: {error.strerror or error}") from error


def parse_json(content: str | bytes) -> Any:
    """Parse JSON from a file that may be damaged. Raises ValueError, also for bytes that are not text and for too deep nesting."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def hash_path(path: Path) -> str:
    """The SHA-256 of a file, or of a folder's files with their names."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(str(file.relative_to(path)).encode() + b"\0")
        digest.update(read_bytes(file))
    return digest.hexdigest()


MAX_TEXTS = 1 << 29
"""Maximum bytes of memory for reading an attribute of an HDF5 file: a few hundred times what a model has."""


def hdf5_attribute(entry: Any, name: str) -> Any:
    """The value of an attribute of an object in an open h5py.File; None if there is none.

    Its size in the file says little of the memory that it takes: texts are references, whose stated length HDF5 believes before
    it compares it, and all elements of an array may refer to the same long text. Raises OSError or MemoryError above `MAX_TEXTS`.
    """
    if name not in entry.attrs:
        return None
    with memory_limited(MAX_TEXTS):
        return entry.attrs[name]


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5 by its contents. h5py also takes an archive for it whose weights start at byte 512, 1024, 2048, ..."""
    import h5py

    if not h5py.is_hdf5(path):
        return False
    with open(path, "rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n" or not zipfile.is_zipfile(path)
