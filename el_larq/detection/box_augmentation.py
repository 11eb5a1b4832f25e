"""SSD's augmentation of images with boxes. Does not import TensorFlow.

In this order: brightness, contrast, saturation and hue change, each with probability 1/2; the image is zoomed out with probability
1/2, onto a canvas of up to 4 times its sides in the mean colour of the preprocessing (the training images', or that of a source
model); a part is cut out: all of it, or a random part with sides of 0.3 to 1 and an aspect ratio of 1/2 to 2 that has an IoU of at
least 0, 0.1, 0.3, 0.5, 0.7 or 0.9 with some object; it is mirrored with probability 1/2. Objects whose centre is outside the part
are left out, the others clipped.

Source: Liu et al.: SSD, ECCV 2016, section 2.2 ("Data augmentation") and, for the zoom, section 3.6; amounts from the authors'
code.

Cuts and zooms only choose which part of the image's plane is shown, so that pixels are interpolated once. Random numbers are a
function of (seed, position), as in `el_larq.data.augmentation`.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from el_larq.data.augmentation import uniform
from el_larq.data.preprocessing import Preprocessing
from el_larq.detection.annotations import Objects
from el_larq.detection.boxes import areas, clip_boxes, iou_matrix, to_centred

OVERLAPS = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""The choices for a cut: none, or the least IoU with some object."""

_TRIES = 50
_COLOURS, _ZOOM, _CUTS, _MIRROR = 0, 8, 12, 12 + 1 + 4 * _TRIES
_DRAWS = _MIRROR + 1
_LEAST_AREA = 1e-6
_GREY = (128.0, 128.0, 128.0)


@dataclass(frozen=True)
class BoxAugmentation:
    """colour: whether colours change. zoom: the largest factor of the canvas's sides; 1 for none. cuts: whether parts are cut out.
    mirror: whether images are mirrored at random."""

    colour: bool = True
    zoom: float = 4.0
    cuts: bool = True
    mirror: bool = True

    def apply(
        self, image: Image.Image, objects: Objects, how: Preprocessing, seed: int, position: int
    ) -> tuple[np.ndarray, Objects]:
        """A decoded image as uint8 (height, width, channels), and its objects, whose boxes are fractions of that part."""
        draws = uniform(seed, position, _DRAWS)
        part = self._zoomed(draws[_ZOOM : _ZOOM + 4])
        if self.cuts:
            part = self._cut(part, objects.boxes, draws[_CUTS:_MIRROR])
        found = _inside(objects, part)
        pixels = _render(image, part, how, draws[_COLOURS:_ZOOM] if self.colour and how.channels == 3 else None)
        if self.mirror and draws[_MIRROR] < 0.5:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            top, left, bottom, right = found.boxes.T
            found = Objects(np.stack([top, 1 - right, bottom, 1 - left], axis=1), found.classes, found.ignored)
        return pixels, found

    def _zoomed(self, draws: np.ndarray) -> np.ndarray:
        """The canvas in corner form, in fractions of the image, which lies somewhere on it."""
        if self.zoom <= 1 or draws[0] >= 0.5:
            return np.array([0.0, 0.0, 1.0, 1.0])
        side = 1 + draws[1] * (self.zoom - 1)
        top, left = -draws[2:] * (side - 1)
        return np.array([top, left, top + side, left + side])

    def _cut(self, canvas: np.ndarray, boxes: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """A part of the canvas in corner form; the canvas itself if none of the attempts fulfils the condition."""
        least = OVERLAPS[int(draws[0] * len(OVERLAPS))]
        if least is None or not len(boxes):
            return canvas
        side = canvas[2] - canvas[0]
        for height, width, y, x in draws[1:].reshape(_TRIES, 4):
            sides = np.array([0.3 + 0.7 * height, 0.3 + 0.7 * width])
            if not 0.5 <= sides[0] / sides[1] <= 2:
                continue
            corner = canvas[:2] + np.array([y, x]) * (1 - sides) * side
            part = np.concatenate([corner, corner + sides * side])
            if _centred_in(boxes, part).any() and iou_matrix(part[None], boxes).max() >= least:
                return part
        return canvas


def _centred_in(boxes: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Which boxes (N, 4) have their centre in a part, bool (N,)."""
    centres = to_centred(boxes)[:, :2]
    return ((centres > part[:2]) & (centres < part[2:])).all(axis=1)


def _inside(objects: Objects, part: np.ndarray) -> Objects:
    """The objects whose centres are in a part, as fractions of it."""
    origin, sides = np.tile(part[:2], 2), np.tile(part[2:] - part[:2], 2)
    boxes = clip_boxes((objects.boxes - origin) / sides)
    kept = _centred_in(objects.boxes, part) & (areas(boxes) > _LEAST_AREA)
    return Objects(boxes, objects.classes, objects.ignored).part(kept)


def _render(image: Image.Image, part: np.ndarray, how: Preprocessing, colours: np.ndarray | None) -> np.ndarray:
    """A part of an image's plane, in fractions of the image, as uint8 (height, width, channels).

    colours: the random numbers of `_coloured`, which changes the image and not the canvas; None for no change.
    """
    seen = clip_boxes(part)
    sides = part[2:] - part[:2]
    # The rows and columns of the output that the image covers.
    first = np.round((seen[:2] - part[:2]) / sides * (how.height, how.width)).astype(int)
    last = np.round((seen[2:] - part[:2]) / sides * (how.height, how.width)).astype(int)
    rows, columns = np.maximum(last - first, 1)
    y1, x1, y2, x2 = (float(value) for value in seen * (image.height, image.width, image.height, image.width))
    box = x1, y1, x2, y2
    if rows == how.height and columns == how.width:
        pixels = how.resize(image, box)
        return pixels if colours is None else _coloured(pixels, colours)
    mean = (
        how.mean if isinstance(how.mean, tuple) else (how.mean,) * how.channels if how.mean is not None else _GREY[: how.channels]
    )
    canvas = np.empty(how.input_shape, np.uint8)
    canvas[:] = np.round(mean[::-1] if how.channel_order == "bgr" else mean)
    within = Preprocessing(int(rows), int(columns), how.channels, resampling=how.resampling)
    top, left = min(int(first[0]), how.height - int(rows)), min(int(first[1]), how.width - int(columns))
    pixels = within.resize(image, box)
    canvas[top : top + rows, left : left + columns] = pixels if colours is None else _coloured(pixels, colours)
    return canvas


def _coloured(pixels: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Brightness by up to 32 of 255, contrast and saturation by 0.5 to 1.5, hue by up to 18 degrees, each with probability 1/2."""
    chosen, amounts = draws[::2] < 0.5, draws[1::2]
    if chosen[0]:
        pixels = np.clip(pixels.astype(np.int16) + round(64 * amounts[0] - 32), 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels)
    if chosen[1]:
        picture = ImageEnhance.Contrast(picture).enhance(0.5 + amounts[1])
    if chosen[2]:
        picture = ImageEnhance.Color(picture).enhance(0.5 + amounts[2])
    if chosen[3]:
        hue, saturation, value = picture.convert("HSV").split()
        shift = round((2 * amounts[3] - 1) * 18 / 360 * 256)
        picture = Image.merge("HSV", (hue.point([(level + shift) % 256 for level in range(256)]), saturation, value)).convert("RGB")
    return np.asarray(picture, np.uint8)
