"""A detector of a few layers, for tests of what happens behind its predictions."""

import el_larq  # isort: skip

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import larq
import numpy as np
import tf_keras as keras

from el_larq.data.dataset_registry import load_dataset
from el_larq.methods.method_registry import METHODS
from el_larq.models.ssd import predict_boxes

SIZE, LABELS = 32, ["disc", "square", "triangle"]


@dataclass(frozen=True)
class UntrainedDetector:
    """An untrained detector of shapes, with its card, as a Keras file and a .tflite; job: its conversion."""

    model: Any
    card: dict[str, Any]
    h5: Path
    tflite: Path
    job: Any


def build_detector(*, binary: bool = True) -> Any:
    """Two maps, of 8x8 and 4x4 cells with 4 anchors each, and 3 classes. Its scores and box codes vary as a trained one's do."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(32, 3, 4, "same", name="stem")(image)
    if binary:
        signs: dict[str, Any] = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
        y = larq.layers.QuantConv2D(32, 3, padding="same", pad_values=1.0, use_bias=False, name="binary", **signs)(x)
        x = keras.layers.BatchNormalization(name="norm")(y)
    small = keras.layers.AveragePooling2D(2, name="pool")(x)
    model = keras.Model(image, predict_boxes([x, small], len(LABELS), METHODS["float"]), name="untrained_detector")
    random = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.startswith("head") and layer.weights:
            kernel, bias = layer.get_weights()
            deviation = 0.15 if "classes" in layer.name else 0.05  # of sums of about 300 signs
            layer.set_weights([deviation * kernel, random.normal(0, 10 * deviation, bias.shape)])
    return model


def convert_detector(folder: Path) -> UntrainedDetector:
    from el_larq.card import save_with

    model, data = build_detector(), load_dataset("shapes", SIZE, task="detection")
    card = {
        "labels": LABELS,
        "preprocessing": data.preprocessing.to_dict(),
    }
    save_with(card, model, folder / "detector.h5")
    job = el_larq.convert(folder / "detector.h5", folder / "detector.tflite")
    return UntrainedDetector(model, card, folder / "detector.h5", folder / "detector.tflite", job)
