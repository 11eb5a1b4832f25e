"""Classifies pictures, or finds objects in them, with a .tflite of el-larq and LiteRT, without el-larq:

    python classify.py model.tflite picture.jpg ...

Needs NumPy, Pillow and one of the packages ai-edge-litert, tflite-runtime and tensorflow. LiteRT runs float models, such as the
float twin of a run, and int8 models without binary layers. It has no operators for binary layers: a model with these runs in
LCE's own interpreter, from the package larq-compute-engine, which this program uses if it is installed (it has no wheels for
Linux on ARM; there, use classify.cc).
"""

import importlib
import json
import math
import operator
import os
import struct
import sys
import warnings

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow knows more, some of which start other programs, such as EPS."""


def turned(image):
    """A picture as a camera meant it: turned by its EXIF orientation, in the formats of cameras."""
    return ImageOps.exif_transpose(image) if image.format in ("JPEG", "MPO", "WEBP", "TIFF") else image


def prepare(picture, how):
    """The network's input for a picture (an image of Pillow, or a file of one): float32 (height, width, channels).

    how: the card's "preprocessing". The result is bit for bit what el-larq gives the network in training, for pictures of 8 bits.
    """
    unknown = set(how) - {"height", "width", "channels", "mean", "std", "crop", "channel_order", "resampling", "stretch"}
    if unknown:
        raise ValueError(f"the model's card has a preprocessing that this program does not know: {', '.join(sorted(unknown))}")
    height, width, channels = how["height"], how["width"], how["channels"]
    crop = how.get("crop", 1.0)
    image = picture if isinstance(picture, Image.Image) else Image.open(picture, formats=FORMATS)
    if image.format in ("JPEG", "MPO"):  # a large one is decoded at a fraction of its size
        least = math.ceil(2 * max(width, height) / crop)
        image.draft(image.mode, (least, least))
    if image.mode.startswith("I"):
        raise ValueError("pictures of 16 bits are not supported; convert them to 8")
    image = turned(image)
    image = image.convert("L" if channels == 1 else "RGB")
    scale = min(image.width / width, image.height / height) * crop
    part_width, part_height = min(width * scale, image.width), min(height * scale, image.height)
    if how.get("stretch"):  # the whole picture, as detectors take it
        part_width, part_height = image.width, image.height
    left, top = (image.width - part_width) / 2, (image.height - part_height) / 2
    resampling = Image.Resampling[how.get("resampling", "bilinear").upper()]
    seen = image.resize((width, height), resampling, box=(left, top, left + part_width, top + part_height))
    values = np.asarray(seen, np.uint8).reshape(height, width, channels).astype(np.float32)
    if how.get("channel_order") == "bgr":
        values = values[..., ::-1]
    mean, std = how.get("mean"), how.get("std")
    if mean is None or std is None:  # the picture's own; a uniform one is not divided by zero
        return (values - values.mean()) / np.maximum(values.std(), np.float32(1))
    return (values - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


def quantize(values, scale, zero_point):
    """The input of an int8 model: x / scale + zero point, rounded, ties to even."""
    return np.clip(np.round(values / np.float32(scale) + np.float32(zero_point)), -128, 127).astype(np.int8)


def read_card(content):
    """The card in a .tflite's metadata, which interpreters do not give access to. The numbers are fields of TFLite's schema."""

    def field(table, number):
        fields = table - struct.unpack_from("<i", content, table)[0]
        if 4 + 2 * number >= struct.unpack_from("<H", content, fields)[0]:
            return 0
        offset = struct.unpack_from("<H", content, fields + 4 + 2 * number)[0]
        return table + offset if offset else 0

    def follow(position):
        return position + struct.unpack_from("<I", content, position)[0]

    def data(table, number):
        start = follow(field(table, number))
        return content[start + 4 : start + 4 + struct.unpack_from("<I", content, start)[0]]

    def tables(table, number):
        start = follow(field(table, number)) if field(table, number) else None
        count = 0 if start is None else struct.unpack_from("<I", content, start)[0]
        return [follow(start + 4 + 4 * index) for index in range(count)]

    model = follow(0)
    for entry in tables(model, 6):
        if data(entry, 0) == b"el_larq_card":
            buffer = struct.unpack_from("<I", content, field(entry, 1))[0]
            return json.loads(data(tables(model, 4)[buffer], 0))
    raise ValueError("the model has no card of el-larq")


class LiteRt:
    """LiteRT's interpreter, or TensorFlow Lite's, which it was before."""

    def __init__(self, content):
        interpreter = None
        for module, name in (
            ("ai_edge_litert.interpreter", "Interpreter"),
            ("tflite_runtime.interpreter", "Interpreter"),
            ("tensorflow", "lite.Interpreter"),
        ):
            try:
                interpreter = operator.attrgetter(name)(importlib.import_module(module))
                break
            except ImportError:
                continue
        if interpreter is None:
            raise ValueError("no interpreter: install ai-edge-litert, tflite-runtime or tensorflow")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorFlow's says that ai-edge-litert replaces it
            self._interpreter = interpreter(model_content=content)
        self._interpreter.allocate_tensors()
        (self._input,), self._outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()

    def run(self, values):
        """The outputs for one input, in the file's order and as the model puts them out."""
        if self._input["dtype"] == np.int8:
            values = quantize(values, *self._input["quantization"])
        self._interpreter.set_tensor(self._input["index"], values[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output["index"])[0] for output in self._outputs]


class Lce:
    """LCE's interpreter, which has the operators of binary layers."""

    def __init__(self, content):
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # Larq needs Keras 2
        try:
            lce = importlib.import_module("larq_compute_engine")
        except ImportError:
            raise ValueError(
                "the model has binary layers, which LiteRT cannot run; install larq-compute-engine, or use classify.cc"
            ) from None
        self._interpreter = lce.testing.Interpreter(content, use_indirect_bgemm=True, use_xnnpack=True)

    def run(self, values):
        """The outputs for one input, in the file's order and as the model puts them out."""
        if self._interpreter.input_types[0] == np.int8:
            values = quantize(values, self._interpreter.input_scales[0], self._interpreter.input_zero_points[0])
        outputs = self._interpreter.predict(values[None], verbose=0)
        return [output[0] for output in (outputs if isinstance(outputs, list) else [outputs])]


def main(model, *pictures):
    with open(model, "rb") as file:
        content = file.read()
    card = read_card(content)
    interpreter = (Lce if b"LceBconv2d" in content else LiteRt)(content)
    labels = card.get("labels") or []
    names = [output["name"] for output in card.get("outputs") or []]
    for picture in pictures:
        outputs = interpreter.run(prepare(picture, card["preprocessing"]))
        if {"boxes", "classes", "scores", "count"} <= set(names):
            found = dict(zip(names, outputs))  # noqa: B905  (Python 3.9 has no strict=)
            print_objects(picture, found, labels)
            continue
        if outputs[0].ndim != 1:
            raise ValueError("the model puts out a table, not a score per class; convert a detector without --skip select")
        best = int(np.argmax(outputs[0]))
        print(picture, best, labels[best] if best < len(labels) else "")


def print_objects(picture, found, labels):
    """A line for each object with a score of 0.5 or more: picture, score, left, top, right, bottom in pixels, label.

    For cards with "stretch": boxes are fractions of the whole picture.
    """
    with Image.open(picture, formats=FORMATS) as image:
        width, height = turned(image).size
    objects = zip(found["boxes"].reshape(-1, 4), found["classes"].astype(int), found["scores"])  # noqa: B905
    for box, number, score in list(objects)[: int(found["count"].reshape(-1)[0])]:
        if score >= 0.5:
            top, left, bottom, right = np.clip(box, 0, 1) * (height, width, height, width)
            label = labels[number] if 0 <= number < len(labels) else ""
            print(picture, f"{score:.4f} {left:.1f} {top:.1f} {right:.1f} {bottom:.1f} {label}".rstrip())


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python classify.py model.tflite picture.jpg ...")
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's for damaged pictures too
        sys.exit(f"classify.py: {error}")
    except (struct.error, IndexError, KeyError, TypeError):
        sys.exit(f"classify.py: {sys.argv[1]} has no card of el-larq that says how pictures are prepared, or is damaged")
