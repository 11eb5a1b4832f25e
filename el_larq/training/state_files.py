"""The state of a training: everything that the rest of the training depends on, in one file with a checksum.

    magic line | length of the header, 8 bytes little-endian | header, JSON | each array's bytes, C order | SHA-256 of all before

The header contains the step, facts (JSON), and the name, type and shape of each array. A file is written completely or not at all.
The previous one is kept as well, in case the newer one is damaged later.

This is not a safetensors file, which must end with its last array and so cannot contain a checksum of the whole; with NumPy, that
library also cannot read bfloat16.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from el_larq import own_folders
from el_larq.errors import ElLarqError
from el_larq.files import atomic_path

MAGIC = b"el-larq training state 1\n"
KEPT = 2
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class SavedState:
    """step: number of completed steps. facts: everything that is not an array. arrays: values of the variables by name."""

    step: int
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def is_finite(self) -> bool:
        # NumPy does not count bfloat16 among its floating types.
        return all(np.isfinite(array).all() for array in self.arrays.values() if array.dtype.kind not in "biu")


class DamagedError(ElLarqError):
    """A state file that cannot be read or whose content is not what was written."""


def write_state(path: Path, state: SavedState) -> None:
    """Write a state. Raises ElLarqError if the file cannot be written."""
    described = [[name, array.dtype.name, list(array.shape)] for name, array in state.arrays.items()]
    header = json.dumps({"step": state.step, "facts": state.facts, "arrays": described}).encode()
    digest = hashlib.sha256()
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        # A view as bytes, not as a buffer, which bfloat16 does not have.
        parts = (np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in state.arrays.values())
        for part in (MAGIC, len(header).to_bytes(8, "little"), header, *parts):
            digest.update(part)
            file.write(part)
        file.write(digest.digest())
    sync(path.parent)


def read_state(path: Path, limit: int | None = None) -> SavedState:
    """Read a state. Raises DamagedError if the file cannot be read, is larger than ``limit`` bytes or is not what was written."""
    try:
        with own_folders.open_file(path) as file:
            if limit is not None and (size := os.fstat(file.fileno()).st_size) > limit:
                raise DamagedError(f"{path} is damaged: a state of this training does not have {size:,} bytes")
            content = file.read()
    except OSError as error:
        raise DamagedError(f"cannot read {path}: {error.strerror or error}") from error
    start = len(MAGIC) + 8
    if len(content) < start + _DIGEST or not content.startswith(MAGIC):
        raise DamagedError(f"{path} is damaged: it is not the state of a training")
    body = memoryview(content)[:-_DIGEST]
    if hashlib.sha256(body).digest() != content[-_DIGEST:]:
        raise DamagedError(f"{path} is damaged: its checksum is wrong")
    # The checksum detects damage but not manipulation, since anyone can compute it.
    try:
        return _parse(body, start)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, MemoryError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: its header does not describe its content") from error


def _parse(body: memoryview, start: int) -> SavedState:
    end = start + int.from_bytes(body[len(MAGIC) : start], "little")
    header = json.loads(bytes(body[start:end]))
    arrays = {}
    for name, kind, shape in header["arrays"]:
        count = math.prod(shape)
        dtype = np.dtype(kind)
        if count < 0:
            raise ValueError("negative size")
        arrays[name] = np.frombuffer(body, dtype, count, end).reshape(shape) if count else np.zeros(shape, dtype)
        end += count * dtype.itemsize
    if end != len(body):
        raise ValueError("not all bytes are described")
    return SavedState(header["step"], header["facts"], arrays)


class StateFiles:
    """The states in a run's checkpoints folder: the newest and the one before it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, step: int) -> Path:
        return self.folder / f"state-{step:09d}.ckpt"

    def paths(self) -> list[Path]:
        """The state files, newest first, by the step in their names: a clock may jump."""
        found = {step: path for path in self.folder.glob("state-*.ckpt") if (step := _step(path)) is not None}
        return [found[step] for step in sorted(found, reverse=True)]

    def kept_step(self) -> int | None:
        """The step of the newest state; None if there is no state."""
        return next(map(_step, self.paths()), None)

    def save(self, state: SavedState) -> None:
        """Save a state, and keep the one before it.

        Raises:
            ElLarqError: it cannot be written; the earlier states are still there.
        """
        if not self.folder.is_dir():
            raise ElLarqError(f"cannot write {self.folder}: the run folder is gone; was it removed or unmounted meanwhile?")
        check_space(self.folder, state.nbytes)
        write_state(self.path(state.step), state)
        for old in self.paths()[KEPT:]:
            with contextlib.suppress(OSError):
                old.unlink()

    def load(self, notify: Callable[[str], None], limit: int | None = None) -> SavedState | None:
        """Load the newest undamaged state, or None. Damaged ones are removed and reported, one line each."""
        for path in self.paths():
            try:
                return read_state(path, limit)
            except DamagedError as error:
                notify(f"{error}; using the previous state, or starting from the beginning")
                with contextlib.suppress(OSError):
                    path.unlink()
        return None

    def remove(self, keep: int = 0) -> None:
        """Remove all states except this number of the newest ones."""
        for path in self.paths()[keep:]:
            with contextlib.suppress(OSError):
                path.unlink()


def _step(path: Path) -> int | None:
    number = path.stem.removeprefix("state-")
    return int(number) if number.isdecimal() and number.isascii() else None


def check_space(folder: Path, size: int) -> None:
    """Raise ElLarqError if the disk has no room for ``size`` bytes: HDF5 does not fail cleanly on a full disk."""
    free = shutil.disk_usage(folder).free
    if free < size + 65_536:
        raise ElLarqError(f"cannot write to {folder}: No space left on device ({free:,} bytes free, {size:,} needed)")


def sync(folder: Path) -> None:
    """Make a rename survive a loss of power, on systems where a folder can be synchronized."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
