"""Builds a baseline network: what a user would otherwise deploy, to be measured together with their own models."""

import hashlib
from pathlib import Path

import numpy as np

from el_larq.errors import ElLarqError, unknown_name
from el_larq.files import read_bytes, write_bytes
from el_larq.model_outputs import of_graph
from el_larq.outputs import TFLITE
from el_larq.tflite.reader import parse

BASELINES = ("int8-mobilenetv2",)
CALIBRATION_IMAGES = 8
"""Number of random calibration images. They do not affect latency, and only the latency of this network is meaningful."""


def build_baseline(name: str, *, like: Path, folder: Path) -> tuple[Path, str]:
    """Build a baseline network with the input shape and the number of classes (first output) of a .tflite; returns its path and
    a note to print with its latency.

    MobileNetV2 (Sandler et al., CVPR 2018) with width multiplier 1, int8 from input to output, with random weights.

    Raises:
        UsageError: there is no such network. ElLarqError: the model is not an image classifier, or TensorFlow is not installed.
    """
    if name not in BASELINES:
        raise unknown_name("baseline network", name, BASELINES)
    graph = parse(read_bytes(like), str(like))
    shape = graph.inputs[0].shape if graph.inputs else ()
    output = next((graph.outputs[first.position].shape[1:] for first in of_graph(graph)), ())
    if len(shape) != 4 or len(output) != 1:
        raise ElLarqError(
            f"{like.name} is not an image classifier (input {shape}, output {output}), so no baseline network can be built for it; "
            "omit --against"
        )
    (_batch, height, width, channels), (classes,) = shape, output
    note = f"random weights: MobileNetV2 int8 for {height}x{width}x{channels} and {classes} classes, only its latency is meaningful"
    content = _build_mobilenetv2((height, width, channels), classes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ElLarqError(f"cannot write to {folder}: {error.strerror or error}") from error
    path = folder / f"int8-mobilenetv2-{height}x{width}x{channels}-{hashlib.sha256(content).hexdigest()[:8]}.tflite"
    write_bytes(path, content, TFLITE.check_replaceable)
    return path, note


def _build_mobilenetv2(shape: tuple[int, int, int], classes: int) -> bytes:
    try:
        import tensorflow as tf
        import tf_keras as keras
    except ImportError as error:
        raise ElLarqError(
            f"building a baseline network needs TensorFlow ({error}); build it on a PC, and give the file as a model"
        ) from error
    from el_larq.native_output import captured_stderr

    keras.utils.set_random_seed(0)
    try:
        model = keras.applications.MobileNetV2(shape, weights=None, classes=classes)  # pyright: ignore[reportArgumentType]
    except ValueError as error:
        raise ElLarqError(
            f"MobileNetV2 does not accept images of shape {shape}, only 32x32 pixels or more; omit --against"
        ) from error
    random = np.random.default_rng(0)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [random.uniform(-1, 1, (1, *shape)).astype(np.float32)] for _ in range(CALIBRATION_IMAGES)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with captured_stderr():
        return converter.convert()
