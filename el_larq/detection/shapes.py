"""`shapes`: coloured shapes on scikit-image's bundled photographs, for detection. Version 1 is frozen.

1,500 images of 300x300 pixels, each with 1 to 6 objects of five classes: cross, disc, ring, square, triangle. Objects are 24 to 200
pixels (the longer side of their boxes), turned by any angle, and filled with a random colour, mixed with the texture of another
photograph. An object is inside the image, and at most half of it is covered by later ones; its box is that of the whole object.
Colour, size, angle and background carry no information about the class.

Backgrounds of training images are parts of the left halves of photographs, those of test images of the right halves. Only
photographs in PNG format are used, which decode to the same values everywhere. Images are drawn when they are needed, as a function
of their number. A change of images or boxes requires a new version.
"""

import functools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from el_larq.data.photos import PHOTOGRAPHS
from el_larq.data.preprocessing import Preprocessing
from el_larq.detection.annotations import Objects
from el_larq.detection.box_augmentation import BoxAugmentation
from el_larq.detection.detection_set import AnnotatedSplit, DetectionSet

VERSION = 1
SIDE = 300
CLASSES = ("cross", "disc", "ring", "square", "triangle")
COUNTS = {"train": 1200, "test": 300}

_SMALLEST, _LARGEST = 24.0, 200.0  # pixels, drawn with log-uniform density
_MOST = 6
_COVERED = 0.5
_TRIES = 20
_GRID = 2  # coverage is measured on every second pixel of every second row
_WHOLE = slice(None)
_TEXTURE = 0.35  # weight of the texture in an object's colours
_LEAST_PART, _MOST_PART = 150, 256  # side of a background in the photograph's pixels


@dataclass(frozen=True)
class DrawnShape:
    """number: its class. y, x: its centre; radius: that of the circle around it; angle in radians, clockwise."""

    number: int
    y: float
    x: float
    radius: float
    angle: float
    colour: tuple[float, float, float]

    def covers(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Which points are inside, bool of the same shape as the coordinates."""
        a, b = (columns - self.x) / self.radius, (rows - self.y) / self.radius
        u, v = a * math.cos(self.angle) + b * math.sin(self.angle), b * math.cos(self.angle) - a * math.sin(self.angle)
        kind = CLASSES[self.number]
        if kind in ("disc", "ring"):
            distance = u * u + v * v
            return (distance <= 1) & (distance >= (0.3 if kind == "ring" else 0))
        if kind == "square":
            return np.maximum(abs(u), abs(v)) <= math.sqrt(0.5)
        if kind == "triangle":
            return (v <= 0.5) & (v >= math.sqrt(3) * abs(u) - 1)
        arm, reach = 0.3, math.sqrt(1 - 0.3**2)
        return ((abs(u) <= arm) & (abs(v) <= reach)) | ((abs(v) <= arm) & (abs(u) <= reach))

    def mask(self, step: int) -> tuple[tuple[slice, slice], np.ndarray]:
        """Which pixels it covers of every ``step``-th row and column: where it is among these, and a mask of that part."""
        top, left, bottom, right = (self.extent / step).astype(int)
        last = SIDE // step
        window = slice(top, min(bottom + 1, last)), slice(left, min(right + 1, last))
        rows, columns = np.mgrid[window] * step + 0.5
        return window, self.covers(rows, columns)

    @property
    def extent(self) -> np.ndarray:
        """The bounding box in corner form, in pixels."""
        kind, angles = CLASSES[self.number], np.zeros(0)
        if kind in ("disc", "ring"):
            corners = np.array([[-1, -1], [1, 1]])
        else:
            if kind == "square":
                angles = np.arange(4) * math.pi / 2 + math.pi / 4
            elif kind == "triangle":
                angles = np.arange(3) * 2 * math.pi / 3 - math.pi / 2
            else:
                angles = np.concatenate([np.arange(4) * math.pi / 2 + side * math.asin(0.3) for side in (-1, 1)])
            corners = np.stack([np.sin(angles + self.angle), np.cos(angles + self.angle)], axis=1)
        low, high = corners.min(axis=0) * self.radius, corners.max(axis=0) * self.radius
        return np.array([self.y + low[0], self.x + low[1], self.y + high[0], self.x + high[1]])


@functools.cache
def _photographs() -> tuple[np.ndarray, ...]:
    """The photographs in PNG format as uint8 (H, W, 3), wider than high."""
    import skimage.data

    folder, found = os.path.dirname(skimage.data.__file__), []
    for file in PHOTOGRAPHS.values():
        if file.endswith(".png"):
            with Image.open(os.path.join(folder, file)) as image:
                pixels = np.asarray(image.convert("RGB"))
            found.append(pixels.transpose(1, 0, 2) if pixels.shape[0] > pixels.shape[1] else pixels)
    return tuple(found)


@functools.cache
def _scene(split: str, number: int) -> tuple[DrawnShape, ...]:
    """The shapes of an image from back to front."""
    # NumPy guarantees that the legacy generator's stream never changes.
    random = np.random.RandomState([VERSION, list(COUNTS).index(split), number])
    shapes: list[DrawnShape] = []
    whole: list[int] = []
    visible: list[np.ndarray] = []
    for _ in range(random.randint(1, _MOST + 1)):
        for _ in range(_TRIES):
            shape = _draw(random)
            if shape is None:
                continue
            window, mask = shape.mask(_GRID)
            left = [int(seen.sum() - (seen[window] & mask).sum()) for seen in visible]
            if all(count >= (1 - _COVERED) * size for count, size in zip(left, whole, strict=True)):
                for seen in visible:
                    seen[window] &= ~mask
                own = np.zeros((SIDE // _GRID, SIDE // _GRID), bool)
                own[window] = mask
                visible.append(own)
                whole.append(int(mask.sum()))
                shapes.append(shape)
                break
    return tuple(shapes)


def _draw(random: np.random.RandomState) -> DrawnShape | None:
    """A shape somewhere, or None if it does not fit into the image."""
    number = random.randint(len(CLASSES))
    side = math.exp(random.uniform(math.log(_SMALLEST), math.log(_LARGEST)))
    angle = random.uniform(0, 2 * math.pi)
    y, x = random.uniform(0, SIDE, 2)
    red, green, blue = random.uniform(0, 255, 3)
    top, left, bottom, right = DrawnShape(number, 0, 0, 1, angle, (0, 0, 0)).extent
    shape = DrawnShape(number, y, x, side / max(bottom - top, right - left), angle, (red, green, blue))
    top, left, bottom, right = shape.extent
    return shape if min(top, left) >= 0 and max(bottom, right) <= SIDE else None


def draw_image(split: str, number: int) -> np.ndarray:
    """The image with this number, uint8 (300, 300, 3)."""
    random = np.random.RandomState([VERSION + 100, list(COUNTS).index(split), number])
    pixels = _part(split, random)
    for shape in _scene(split, number):
        window, mask = shape.mask(1)
        texture = _part(split, random, *window)[mask].astype(np.float32)
        drawn = (1 - _TEXTURE) * np.array(shape.colour, np.float32) + _TEXTURE * texture
        pixels[window][mask] = np.round(drawn).astype(np.uint8)
    return pixels


def _part(split: str, random: np.random.RandomState, rows: slice = _WHOLE, columns: slice = _WHOLE) -> np.ndarray:
    """A part of a photograph's half, enlarged to uint8 (300, 300, 3) by repeating pixels; of it, these rows and columns."""
    photographs = _photographs()
    photograph = photographs[random.randint(len(photographs))]
    middle = photograph.shape[1] // 2
    half = photograph[:, :middle] if split == "train" else photograph[:, middle:]
    most = min(_MOST_PART, *half.shape[:2])
    side = random.randint(min(_LEAST_PART, most - 1), most)
    top, left = (random.randint(size - side + 1) for size in half.shape[:2])
    chosen = (np.arange(SIDE) * side) // SIDE
    repeated = chosen[rows]
    # Columns first, of fewer rows: repeating whole rows is fast.
    return half[top + repeated[0] : top + repeated[-1] + 1, left + chosen[columns]][repeated - repeated[0]]


class _Drawn(AnnotatedSplit):
    """Images that are drawn when they are needed."""

    def image(self, index: int) -> Image.Image:
        name = self.name(index)
        found = self.cache.images.get(name)
        if found is None:
            drawn = Image.fromarray(draw_image(self.title, int(self.numbers[index])))
            found = drawn.convert("L" if self.preprocessing.channels == 1 else "RGB")
            self.cache.keep(name, found)
        return found


def load(image_size: int = SIDE) -> DetectionSet:
    how = Preprocessing(image_size, image_size, 3, (122.6, 108.8, 102.8), (50.7, 48.8, 51.4), stretch=True)
    parts = {split: _Drawn((), _truths(split, count), how, split) for split, count in COUNTS.items()}
    return DetectionSet(
        "shapes",
        VERSION,
        CLASSES,
        how,
        parts["train"],
        parts["test"],
        # Comparisons are made with small images; zoomed out, the smallest objects would have 4 pixels at 96 pixels.
        BoxAugmentation(zoom=1),
        "shapes",
        f"shapes version {VERSION}",
    )


def _truths(split: str, count: int) -> Sequence[Objects]:
    truths = []
    for number in range(count):
        shapes = _scene(split, number)
        boxes = np.array([shape.extent for shape in shapes]).reshape(-1, 4) / SIDE
        truths.append(Objects(boxes, np.array([shape.number for shape in shapes], np.int64), np.zeros(len(shapes), bool)))
    return truths
