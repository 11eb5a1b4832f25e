"""Writes small IDX files for tests."""

import gzip
import struct
from pathlib import Path

import numpy as np


def idx(values: np.ndarray) -> bytes:
    """The content of an IDX file of unsigned bytes."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_idx(path: Path, values: np.ndarray) -> Path:
    path.write_bytes(gzip.compress(idx(values)) if path.suffix == ".gz" else idx(values))
    return path


def arrays(count: int = 40, classes: int = 10, size: int = 28, first: int = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random images (count, size, size) and labels that count up from ``first``."""
    images = np.random.default_rng(seed).integers(0, 256, (count, size, size)).astype(np.uint8)
    return images, (np.arange(count) % classes + first).astype(np.uint8)


def write_set(
    folder: Path, *, suffix: str = ".gz", prefix: str = "", test: str = "t10k", classes: int = 10, size: int = 28, first: int = 0
) -> Path:
    """The four files of a data set with 40 training and 20 test images."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count, seed in (("train", 40, 0), (test, 20, 1)):
        images, labels = arrays(count, classes, size, first, seed)
        write_idx(folder / f"{prefix}{split}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{prefix}{split}-labels-idx1-ubyte{suffix}", labels)
    return folder
