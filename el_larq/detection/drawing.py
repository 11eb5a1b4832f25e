"""Boxes drawn on pictures. Does not import TensorFlow."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from el_larq.printable import counted

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#f032e6", "#808000", "#000075")
"""Of the classes, in turn; each is legible on white and with white on it."""

_LEAST_FONT, _FONTS_IN_PICTURE = 10, 40
"""The font's size in pixels, and how often it fits into the smaller side of a large picture."""


def draw_boxes(picture: Image.Image, boxes: np.ndarray, texts: Sequence[str], colours: Sequence[str]) -> None:
    """Draw boxes (N, 4) in corner form, fractions of the sides, on an RGB picture, each with a text at its upper left corner."""
    pen = ImageDraw.Draw(picture)
    line = max(1, round(min(picture.size) / 200))
    size = max(_LEAST_FONT, min(picture.size) // _FONTS_IN_PICTURE)
    font, letter = ImageFont.load_default(size), size + 1
    for (top, left, bottom, right), text, colour in zip(boxes, texts, colours, strict=True):
        # The last row and column of a box are part of it.
        x1, y1 = round(left * picture.width), round(top * picture.height)
        x2, y2 = max(round(right * picture.width) - 1, x1), max(round(bottom * picture.height) - 1, y1)
        pen.rectangle((x1, y1, x2, y2), outline=colour, width=line)
        text = " ".join(text.split())
        if text:
            width = pen.textlength(text, font)
            x, y = max(0, min(x1, picture.width - width - 2)), max(0, y1 - letter)
            pen.rectangle((x, y, x + width + 2, y + letter), fill=colour)
            pen.text((x + 1, y), text, "white", font)


def colour_of(number: int) -> str:
    """The colour of a class."""
    return COLOURS[number % len(COLOURS)]


def annotator(labels: Sequence[str]) -> Callable[[Image.Image, np.ndarray], str]:
    """For `el_larq.data.sheet.draw`: draws listed objects (see `DetectionSet`) and returns their number."""

    def annotate(picture: Image.Image, listed: np.ndarray) -> str:
        objects = listed[listed[:, 0] >= 0]
        numbers: list[int] = objects[:, 0].astype(int).tolist()
        draw_boxes(picture, objects[:, 1:], [labels[number] for number in numbers], [colour_of(number) for number in numbers])
        return counted(len(objects), "object")

    return annotate
