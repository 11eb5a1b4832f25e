"""Writes small image folders for tests, and a batch stream as arrays."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def pixels(number: int, height: int = 18, width: int = 24) -> np.ndarray:
    """An image that differs from all others: smooth noise of its own seed, uint8 (height, width, 3)."""
    small = np.random.default_rng(number).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def write_class(folder: Path, count: int, first: int = 0, suffix: str = ".png", **size: int) -> None:
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        Image.fromarray(pixels(number, **size)).save(folder / f"{number:03}{suffix}")


def write_folder(folder: Path, classes: tuple[str, ...] = ("a", "b", "c"), count: int = 5, **options: Any) -> Path:
    """A folder without splits: ``count`` images a class, numbered on."""
    for index, name in enumerate(classes):
        write_class(folder / name, count, index * count, **options)
    return folder


def batches(data: Any, *arguments: int, **options: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x.numpy(), y.numpy()) for x, y in data.training_batches(*arguments, **options)]


def assert_equal(a: list[tuple[np.ndarray, np.ndarray]], b: list[tuple[np.ndarray, np.ndarray]]) -> None:
    assert len(a) == len(b)
    for (x, y), (u, v) in zip(a, b, strict=True):
        np.testing.assert_array_equal(y, v)
        assert x.tobytes() == u.tobytes()
