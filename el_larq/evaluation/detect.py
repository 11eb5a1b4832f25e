"""Detection of objects in image files with a Keras model or a .tflite, and pictures of what was found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from PIL import Image

from el_larq import card
from el_larq.data.preprocessing import Preprocessing, open_image
from el_larq.data.stated import OPTIONS, Statements
from el_larq.detection.average_precision import Detections
from el_larq.detection.drawing import colour_of, draw_boxes
from el_larq.detection.non_maximum_suppression import SHOWN_SCORE
from el_larq.errors import ElLarqError, UsageError
from el_larq.evaluation.open_model import Opened, open_model
from el_larq.evaluation.predict import find_images
from el_larq.printable import counted, printable
from el_larq.tables import TableList, html_table
from el_larq.zoo.named_models import find_model


@dataclass(frozen=True)
class FoundObject:
    """An object in an image: the name of its class, its score from 0 to 1, and its box in pixels, (ymin, xmin, ymax, xmax)."""

    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class ImageObjects:
    """The objects found in an image, by descending score. height, width: its size in pixels."""

    image: str
    height: int
    width: int
    objects: tuple[FoundObject, ...]
    classes: tuple[int, ...]
    """Their numbers, for colours."""

    def __repr__(self) -> str:
        return f"ImageObjects({self.image!r}: {', '.join(f'{printable(o.label)} {o.score:.4f}' for o in self.objects) or 'none'})"

    def _repr_html_(self) -> str:
        return html_table(self.image, [_cells(one) for one in self.objects], ("score", "class", "ymin", "xmin", "ymax", "xmax"))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: boxes as objects with the names of their sides."""
        objects = [
            {"label": o.label, "score": o.score, "box": dict(zip(("ymin", "xmin", "ymax", "xmax"), o.box, strict=True))}
            for o in self.objects
        ]
        return {"image": self.image, "height": self.height, "width": self.width, "objects": objects}

    def picture(self) -> Image.Image:
        """The image with boxes, labels and scores."""
        image = open_image(self.image).convert("RGB")
        boxes = np.reshape([one.box for one in self.objects], (-1, 4)) / np.tile((self.height, self.width), 2)
        texts = [f"{one.label} {one.score:.2f}" for one in self.objects]
        # The surest are drawn last, on top of the others.
        draw_boxes(image, boxes[::-1], texts[::-1], [colour_of(number) for number in reversed(self.classes)])
        return image


def _cells(one: FoundObject) -> tuple[str, ...]:
    return f"{one.score:.4f}", one.label, *(f"{value:.1f}" for value in one.box)


def detect(
    model: str | Path,
    images: Sequence[str | Path],
    *,
    score_threshold: float = SHOWN_SCORE,
    trust: bool = False,
    note: Callable[[str], None] = lambda line: None,
    **statements: Unpack[Statements],
) -> list[ImageObjects]:
    """Find objects in image files. A .tflite runs in a separate process.

    Arguments:
        model: a .h5, .keras or .tflite file, a SavedModel or run folder, of a detector.
        images: paths of image files, and of folders of which all images are taken. They are resized and scaled as the model's card
            or the statements say.
        score_threshold: objects with a lower score are left out, 0 to 1. A .tflite leaves out some by itself: `Options.selection`.
        trust: run any code in a Keras file, and a .tflite without limits of memory and time.
        note: called with one line for each statement that contradicts the model's card.
        statements: the preprocessing of images for the model, and its classes: see `el_larq.data.stated`.

    Raises:
        UsageError: the model is not a detector, the preprocessing is neither stated nor on its card, the statements are invalid, or
            the threshold is out of range.
        ElLarqError: a file is not an image, the model cannot be run, or its outputs are NaN or Inf.
    """
    files = find_images(images)
    with open_model(find_model(model), trust=trust, note=note, **statements) as opened:
        return objects_in(opened, files, score_threshold)


def objects_in(opened: Opened, images: Sequence[Path], score_threshold: float = SHOWN_SCORE) -> list[ImageObjects]:
    """`detect` with a model that is open."""
    if opened.detect is None:
        raise UsageError(f"{opened.path}: is not a detector; use el_larq.predict, which returns classes")
    if not 0 <= score_threshold <= 1:
        raise UsageError(f"the threshold of scores is from 0 to 1; got {score_threshold:g}")
    preprocessing = card.preprocessing(opened.card, str(opened.path))
    if preprocessing is None:
        raise UsageError(f"{opened.path}: does not say how images are prepared for it; give {OPTIONS}")
    if preprocessing.input_shape != opened.input_shape:
        raise ElLarqError(f"{opened.path}: takes inputs of shape {opened.input_shape}; its card says {preprocessing.input_shape}")
    labels = card.labels(opened.card, str(opened.path))
    if labels is not None and len(labels) != opened.classes:
        raise ElLarqError(
            f"{opened.path}: there are {len(labels)} labels for its {opened.classes} classes; name them with --labels FILE"
        )
    names = labels or [str(number) for number in range(opened.classes)]
    found = []
    for path in images:
        (detections,) = opened.detect(preprocessing.load(path)[None])
        found.append(_in_image(path, detections, preprocessing, names, score_threshold))
    return TableList(found, str(opened.path), ("image", "objects"), lambda one: (one.image, counted(len(one.objects), "object")))


def _in_image(path: Path, detections: Detections, preprocessing: Preprocessing, names: list[str], threshold: float) -> ImageObjects:
    image = open_image(path)
    left, top, right, bottom = preprocessing.centre(image.width, image.height, preprocessing.crop)
    kept = np.flatnonzero((detections.scores >= threshold) & (detections.classes < len(names)) & (detections.classes >= 0))
    boxes = detections.boxes[kept] * np.tile((bottom - top, right - left), 2) + np.tile((top, left), 2)
    classes = tuple(int(number) for number in detections.classes[kept])
    objects = tuple(
        FoundObject(names[number], float(score), (float(box[0]), float(box[1]), float(box[2]), float(box[3])))
        for number, score, box in zip(classes, detections.scores[kept], boxes, strict=True)
    )
    return ImageObjects(str(path), image.height, image.width, objects, classes)
