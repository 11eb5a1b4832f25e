"""Networks of Keras Applications from files of Keras 2 and Keras 3: converted, verified, inspected and evaluated.

Two of them a day, one of each Keras. EL_LARQ_SAMPLE=all takes all; a name (EL_LARQ_SAMPLE=ResNet50) takes that one.
"""

import el_larq  # isort: skip  (first: it selects Keras 2)

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
from PIL import Image

from el_larq.converters.job import Options
from el_larq.converters.rules.rule_registry import check_graph
from el_larq.converters.verify import OUTPUT_TOLERANCE
from el_larq.evaluation.scores import Scores
from el_larq.tflite.reader import parse

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# At 32 pixels, the last maps of ResNet50 are single pixels, and rounding alone comes near the limit of fold's proof.
SIZE, CLASSES = 64, 10
NAMES = ("MobileNetV2", "ResNet50", "EfficientNetB0", "DenseNet121")
FORMS = (("tf_keras", ".h5"), ("tf_keras", ".keras"), ("tf_keras", ""), ("keras", ".h5"), ("keras", ".keras"), ("keras", ""))
_SAMPLE = os.environ.get("EL_LARQ_SAMPLE", "all")


def _cases() -> list[tuple[str, str, str]]:
    if _SAMPLE == "all" or _SAMPLE in NAMES:
        return [(name, *form) for name in NAMES if _SAMPLE in ("all", name) for form in FORMS]
    of_the_day = random.Random(_SAMPLE)
    names = of_the_day.sample(NAMES, 2)
    return [(names[0], *of_the_day.choice(FORMS[:2])), (names[1], *of_the_day.choice(FORMS[2:]))]


def _trained(keras: Any, name: str) -> Any:
    """A network whose normalizations have the statistics of random images, and parameters of no initializer."""
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, input_shape=(SIZE, SIZE, 3), classes=CLASSES)
    values = np.random.default_rng(0)
    norms = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    for layer in norms:
        channels = layer.gamma.shape[0]
        layer.gamma.assign(values.uniform(0.7, 1.3, channels).astype(np.float32))
        layer.beta.assign(values.normal(0, 0.3, channels).astype(np.float32))
        layer.momentum = 0.0  # the statistics become those of the next batch
    model(values.standard_normal((16, SIZE, SIZE, 3), np.float32), training=True)
    for layer in norms:
        layer.momentum = 0.99
        layer.moving_variance.assign(np.asarray(layer.moving_variance) * values.uniform(0.8, 1.25) + 1e-3)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module", "suffix"), _cases())
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_network_of_keras_applications(name: str, module: str, suffix: str, tmp_path: Path) -> None:
    model = _trained(tf_keras if module == "tf_keras" else pytest.importorskip("keras", minversion="3"), name)
    source, target = tmp_path / f"model{suffix}", tmp_path / "model.tflite"
    if module == "keras" and not suffix:
        model.export(source, verbose=False)
    else:
        model.save(source)

    job = el_larq.convert(source, target, options=Options(verify_images=8))
    steps = {entry.step: entry for entry in job.report}
    assert steps["verify"].details["max_difference"] <= OUTPUT_TOLERANCE
    assert not steps["fold"].details["left_out"]
    graph = parse(target.read_bytes())
    assert not [finding for finding in check_graph(graph) if finding.severity == "error"]
    inspected = el_larq.inspect(target)
    assert inspected.macs[32] > 1e6
    if module == "tf_keras":
        macs = dict(el_larq.inspect(source).macs)
        if any(o.name == "CONV_2D" and o.inputs[1] and o.inputs[1].shape == (64, 7, 4, 6) for o in graph.operators):
            macs[32] += 7 * 3 * 64 * (SIZE // 2) ** 2  # the zero column of a 7x7 stem that reads pairs of pixels
        assert macs == inspected.macs

    pixels = np.random.default_rng(1).integers(0, 256, (2, CLASSES, SIZE, SIZE, 3)).astype(np.uint8)
    for split, images in zip(("train", "test"), pixels, strict=True):
        for number, image in enumerate(images):
            (tmp_path / "images" / split / f"c{number}").mkdir(parents=True)
            Image.fromarray(image).save(tmp_path / "images" / split / f"c{number}" / "0.png")
    scored = el_larq.evaluate(target, f"dir:{tmp_path / 'images'}", out=tmp_path / "scored", range=(-1, 1), workers=1)
    chosen = np.argmax(model(pixels[1].astype(np.float32) / 127.5 - 1, training=False), axis=-1)
    assert isinstance(scored.scores, Scores)
    assert scored.scores.top1 == np.mean(chosen == np.arange(CLASSES))

    if name in ("MobileNetV2", "ResNet50"):
        np.save(tmp_path / "inputs.npy", np.random.default_rng(2).standard_normal((16, SIZE, SIZE, 3), np.float32))
        job = el_larq.quantize(source, calibrate=str(tmp_path / "inputs.npy"), calibration_images=16)
        found = next(entry.details for entry in job.report if entry.step == "quantize")
        assert found["sqnr"] >= found["minmax"]["sqnr"] > 5
        assert not found["warning"]
