"""Reads IDX files, the format of MNIST and of the sets made after it, gzip-compressed or not. Does not import TensorFlow.

A file is big-endian: two zero bytes, a byte for the type of the values (8: unsigned byte), a byte for the number of dimensions,
an unsigned 32-bit integer per dimension, then the values in C order (Y. LeCun, C. Cortes, C. Burges, The MNIST database).
"""

import gzip
import math
import os
import re
import stat
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from el_larq.errors import ElLarqError, UsageError

ROLES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
"""The four files of a data set; EMNIST calls the last two test-images and test-labels."""

MAX_BYTES = 1 << 31
"""The largest file that is read, after decompression."""

_UNSIGNED_BYTE = 8
_TYPES = {8: "unsigned bytes", 9: "signed bytes", 11: "16-bit integers", 12: "32-bit integers", 13: "floats", 14: "doubles"}
_GZIP = b"\x1f\x8b"
_MAX_DEFLATE = 1032
"""A byte of a deflate stream becomes at most this many bytes."""

_CHUNK = 1 << 20
_FILE = re.compile(r"(?P<role>(?:train|t10k|test)-(?:images|labels))[-.]idx[13]-ubyte(?:\.gz)?")


def find_files(folder: Path, prefix: str = "") -> dict[str, Path]:
    """The files of `ROLES` in a folder, by role, as far as they are there. An uncompressed file is preferred.

    prefix: what precedes the usual names, as in emnist-letters-train-images-idx3-ubyte.
    """
    found: dict[str, Path] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.iterdir()):
        if path.name.startswith(prefix) and (name := _FILE.fullmatch(path.name.removeprefix(prefix))):
            found.setdefault(name["role"].replace("test-", "t10k-"), path)
    return found


def read_splits(files: dict[str, Path], folder: Path) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The training and the test split, each as images, uint8 (N, H, W), and labels, uint8 (N,).

    Raises:
        ElLarqError: a file is missing, damaged or not what it should be, or the files do not fit together.
    """
    if missing := [role for role in ROLES if role not in files]:
        kind = {"images": "idx3", "labels": "idx1"}
        names = ", ".join(f"{role}-{kind[role.partition('-')[2]]}-ubyte" for role in missing)
        raise ElLarqError(f"{folder}: {names} is missing; a data set in IDX format has four files, with or without .gz")
    splits = []
    for split in ("train", "t10k"):
        labels = read_idx(files[f"{split}-labels"], 1)
        images = read_idx(files[f"{split}-images"], 3)
        if len(images) != len(labels):
            pictures, classes = files[f"{split}-images"], files[f"{split}-labels"].name
            raise ElLarqError(
                f"{pictures}: {len(images):,} images, but {len(labels):,} labels in {classes}; take both files from the same source"
            )
        splits.append((images, labels))
    train, test = splits
    if train[0].shape[1:] != test[0].shape[1:]:
        sizes = " and ".join(f"{images.shape[1]}x{images.shape[2]}" for images, _ in splits)
        raise ElLarqError(f"{folder}: training and test images have different sizes, {sizes}; take all files from the same source")
    return train, test


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The values of an IDX file of unsigned bytes with this number of dimensions, uint8.

    The size that the header states is compared with the file's before any memory is taken; a compressed file is decompressed
    in pieces, and not beyond that size.

    Raises:
        ElLarqError: the file cannot be read, is not an IDX file, or is longer or shorter than its header states.
        UsageError: it is an IDX file of another type or number of dimensions.
    """
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ElLarqError(f"cannot read {path}: it is a device or a pipe; give a file")
            compressed = file.read(2) == _GZIP
            file.seek(0)
            if compressed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _read(unpacked, path, dimensions, status.st_size * _MAX_DEFLATE, exact=False)
            return _read(file, path, dimensions, status.st_size, exact=True)
    except EOFError:
        raise ElLarqError(f"{path}: truncated: its gzip stream ends early; download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ElLarqError(f"{path}: damaged: {error}; download it again") from None
    except OSError as error:
        raise ElLarqError(f"cannot read {path}: {error.strerror or error}") from error


def _read(file: IO[bytes] | Any, path: Path, dimensions: int, available: int, exact: bool) -> np.ndarray:
    """available: the most bytes that the file can contain, or with ``exact`` their number."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise ElLarqError(f"{path}: not an IDX file; it must begin with the bytes 00 00 08 {dimensions:02}")
    if magic[2] != _UNSIGNED_BYTE:
        raise UsageError(f"{path}: contains {_TYPES[magic[2]]}; images and labels must be unsigned bytes (type 8)")
    if magic[3] != dimensions:
        contents = "images (N, height, width) have 3" if dimensions == 3 else "labels have 1"
        raise UsageError(f"{path}: has {magic[3]} dimensions; {contents}")
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise ElLarqError(f"{path}: truncated within its header; download it again")
    shape = struct.unpack(f">{dimensions}I", header)
    size = math.prod(shape)
    stated = f"its header states {' x '.join(map(str, shape))} values"
    if not size:
        raise ElLarqError(f"{path}: empty: {stated}")
    if size > MAX_BYTES:
        raise ElLarqError(f"{path}: {stated}, {size:,} bytes; at most {MAX_BYTES:,} are read")
    held = available - 4 - len(header)
    if held < size or (exact and held != size):
        contained = f"the file contains {held:,} bytes" if exact else "the compressed file is too small for that"
        raise ElLarqError(
            f"{path}: {'truncated' if held < size else 'longer than stated'}: {stated}, {contained}; download it again"
        )
    values = bytearray()
    while len(values) <= size and (piece := file.read(min(_CHUNK, size + 1 - len(values)))):
        values += piece
    if len(values) != size:
        what = "longer than stated" if len(values) > size else "truncated"
        raise ElLarqError(
            f"{path}: {what}: {stated}, the file contains {'more' if len(values) > size else f'{len(values):,}'}; download it again"
        )
    return np.frombuffer(values, np.uint8).reshape(shape)
