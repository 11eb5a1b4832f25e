"""Annotated images, and what readers of annotations do with those that are wrong. Does not import TensorFlow.

A reader lists images with their boxes as the files state them; `collect_images` checks them. What is wrong is left out or clipped,
counted by kind, and reported in one line with the first case of each kind. With ``strict``, the first case raises.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, UnidentifiedImageError

from el_larq.data.preprocessing import image_formats, orientation
from el_larq.detection.boxes import areas, clip_boxes
from el_larq.errors import ElLarqError, summarize

BORDER = 0.01
"""A box that reaches beyond its image by at most this fraction of the image's side is clipped and not counted: tools round."""

MAX_OBJECTS = 1_000
"""The number of objects of one image, at most: matching them with 8,732 anchors takes a second and a gigabyte."""

KINDS = {
    "missing": ("image is missing", "images are missing", "left out"),
    "elsewhere": ("annotation names an image outside the folder", "annotations name images outside the folder", "left out"),
    "damaged": ("annotation cannot be read", "annotations cannot be read", "left out with the image"),
    "broken": ("box cannot be read", "boxes cannot be read", "left out"),
    "orphan": ("box belongs to no image", "boxes belong to no image", "left out"),
    "turned": (
        "image is turned by its EXIF data, and its boxes are of the stored image",
        "images are turned by their EXIF data, and their boxes are of the stored image",
        "left out",
    ),
    "mismatch": ("image has other proportions than stated", "images have other proportions than stated", "left out"),
    "sizeless": ("image has no size", "images have no size", "left out"),
    "empty": ("annotation has no boxes", "annotations have no boxes", "not used for training"),
    "background": ("image has no boxes", "images have no boxes", "not used for training"),
    "unknown": ("box is of an unknown class", "boxes are of an unknown class", "left out"),
    "outside": ("box is outside its image", "boxes are outside their images", "left out"),
    "flat": ("box has no area", "boxes have no area", "left out"),
    "repeated": ("box is repeated", "boxes are repeated", "left out"),
    "twice": ("box is stated twice", "boxes are stated twice", "kept, and each counts in scores"),
    "listed": ("name is listed twice", "names are listed twice", "used once"),
    "ambiguous": ("annotation fits several images", "annotations fit several images", "left out"),
    "clipped": ("box reaches beyond its image", "boxes reach beyond their images", "clipped"),
}
"""What can be wrong: the words for one case and for several, and what is done."""

_PROPORTIONS = 0.02
"""The relative difference between the aspect ratios of a stated size and of a file, at most: scaled copies round their sides."""

_MAX_SHOWN = 200
"""Characters of a name or of a text from an annotation in a message, at most."""

_ALLOWED = ("background",)
"""Kinds that ``strict`` accepts: in these formats, an image without boxes is how background is annotated."""


class Findings:
    """Counts what is wrong in annotations."""

    def __init__(self, strict: bool = False):
        self.strict = strict
        self.counts: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def report(self, kind: str, where: str, detail: str = "") -> None:
        """Count a case of a kind of `KINDS`; ``where`` is a file or an image. Raises ElLarqError with ``strict``."""
        text = ": ".join(_shortened(part) for part in (where, detail) if part)
        if self.strict and kind not in _ALLOWED:
            raise ElLarqError(f"{text} ({KINDS[kind][0]}); correct it, or omit --strict")
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._first.setdefault(kind, text)

    def summary(self) -> str | None:
        """One line about all cases; None if there are none."""
        parts = [
            f"{count:,} {KINDS[kind][count > 1]} ({KINDS[kind][2]}; {'the first: ' if count > 1 else ''}{self._first[kind]})"
            for kind, count in self.counts.items()
        ]
        return "; ".join(parts) or None


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


@dataclass(frozen=True)
class Objects:
    """The objects of an image.

    boxes: float64 (T, 4) in corner form, as fractions of the height and width of the upright image.
    classes: int64 (T,), from 0.
    ignored: bool (T,): difficult objects and crowds, which are not used for training, and neither required nor wrong in testing.
    """

    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __len__(self) -> int:
        return len(self.classes)

    def part(self, chosen: np.ndarray) -> "Objects":
        """The objects selected by a mask or by an array of indices."""
        return Objects(self.boxes[chosen], self.classes[chosen], self.ignored[chosen])

    @property
    def required(self) -> "Objects":
        """Those that are not ignored."""
        return self.part(~self.ignored)


@dataclass(frozen=True)
class StatedObject:
    """label: the name of its class. box: in corner form, in pixels, or as fractions if the image's size is (1, 1)."""

    label: str
    box: tuple[float, float, float, float]
    ignored: bool = False


@dataclass(frozen=True)
class StatedImage:
    """An image and its objects as the files state them.

    path: the image file. source: the annotation file, for messages.
    size: height and width that boxes refer to, (1, 1) for fractions; None if the annotation does not state it.
    """

    path: str
    source: str
    size: tuple[float, float] | None
    objects: Sequence[StatedObject]


@dataclass(frozen=True)
class AnnotatedImages:
    """The images of a split: paths of the files and the objects of each."""

    paths: tuple[str, ...]
    objects: tuple[Objects, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def part(self, chosen: Sequence[int]) -> "AnnotatedImages":
        return AnnotatedImages(tuple(self.paths[index] for index in chosen), tuple(self.objects[index] for index in chosen))


def class_names(images: Sequence[StatedImage]) -> tuple[str, ...]:
    """The classes that occur, sorted by name."""
    return tuple(sorted({item.label for image in images for item in image.objects}))


def collect_images(images: Sequence[StatedImage], labels: Sequence[str], findings: Findings, empty: str) -> AnnotatedImages:
    """Check the images of a split and turn their boxes into fractions.

    Arguments:
        labels: the names of the classes, in their order.
        empty: the kind of finding that an image without boxes is.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    paths, objects = [], []
    for image in images:
        size = _size(image, findings)
        if size is None:
            continue
        found = _objects(image, size, numbers, findings)
        if not image.objects:
            findings.report(empty, image.source)
        paths.append(image.path)
        objects.append(found)
    return AnnotatedImages(tuple(paths), tuple(objects))


def _size(image: StatedImage, findings: Findings) -> tuple[float, float] | None:
    """Height and width that boxes refer to. A stated size is compared with the file, whose header is read."""
    stated = image.size if image.size is not None and all(math.isfinite(side) and side > 0 for side in image.size) else None
    if stated == (1, 1):
        return stated
    try:
        with open(image.path, "rb") as file, Image.open(file, formats=image_formats()) as picture:
            stored = float(picture.height), float(picture.width)
            upright = (stored[1], stored[0]) if orientation(picture) >= 5 else stored
    except Exception as error:  # Pillow raises nearly every kind of error for damaged files
        if stated is not None:
            return stated  # the file is reported when it is decoded
        reason = "not an image that can be read" if isinstance(error, UnidentifiedImageError) else summarize(error, 120)
        findings.report("sizeless", image.path, f"neither its annotation nor the file has one: {reason}")
        return None
    if stated is None:
        return upright
    across, along = stated[0] * upright[1], stated[1] * upright[0]
    if stated == stored != upright or abs(across - along) > _PROPORTIONS * across:
        sizes = f"{stated[1]:g}x{stated[0]:g} stated, {upright[1]:g}x{upright[0]:g} as displayed"
        findings.report("turned" if stated == stored else "mismatch", image.source, sizes)
        return None
    return stated


def _objects(image: StatedImage, size: tuple[float, float], numbers: Mapping[str, int], findings: Findings) -> Objects:
    kept = []
    height, width = size
    unit = "of 1, as fractions" if size == (1, 1) else f"of {height:g} rows and {width:g} columns"
    seen = set()
    for item in image.objects:
        with np.errstate(over="ignore", invalid="ignore"):  # of a box whose numbers are too large for floating point
            box = np.array(item.box) / (height, width, height, width)
        if item.label not in numbers:
            findings.report("unknown", image.source, repr(item.label))
            continue
        if not (np.isfinite(box).all() and (box[2:] > box[:2]).all()):
            findings.report("flat", image.source, f"{item.label} {_shown(item.box)}")
            continue
        inside = clip_boxes(box)
        if not areas(inside) > 0:
            findings.report("outside", image.source, f"{item.label} {_shown(item.box)} {unit}")
            continue
        if np.abs(inside - box).max() > BORDER:
            findings.report("clipped", image.source, f"{item.label} {_shown(item.box)} {unit}")
        if item in seen:
            findings.report("twice", image.source, f"{item.label} {_shown(item.box)}")
        seen.add(item)
        kept.append((inside, numbers[item.label], item.ignored))
    if not kept:
        return Objects()
    boxes, classes, ignored = zip(*kept, strict=True)
    return Objects(np.stack(boxes), np.array(classes, np.int64), np.array(ignored, bool))


def _shown(box: Sequence[float]) -> str:
    top, left, bottom, right = box
    return f"from row {top:g}, column {left:g} to row {bottom:g}, column {right:g}"
