"""Networks of Larq Zoo, saved in each format and converted, at a small size."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import tf_keras as keras

import el_larq
from el_larq.converters.job import Options
from el_larq.keras_internals import leaf_layers
from el_larq.models.zoo.zoo_build import build_zoo
from el_larq.models.zoo.zoo_registry import ZOO

SIZE = 64
IMAGES = 8

SMALL = sorted(set(ZOO) - {"quicknet_large", "binary_densenet37", "binary_densenet45", "xnornet", "binary_alexnet", "dorefanet"})
OF_THE_DAY = random.Random(os.environ["EL_LARQ_SAMPLE"]).choice(SMALL)
"""Building, saving and converting one takes half a minute. All fourteen were converted at full size once."""


def _model(name: str) -> keras.Model:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = build_zoo(name, input_shape=(SIZE, SIZE, 3), num_classes=10)
    numbers = np.random.default_rng(0)
    for layer in leaf_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(0.1 * numbers.standard_normal(layer.moving_mean.shape))
    model.compile()
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_every_format_loads_and_converts_to_binary_convolutions(tmp_path: Path) -> None:
    model = _model(OF_THE_DAY)
    x = np.random.default_rng(1).standard_normal((2, SIZE, SIZE, 3)).astype(np.float32)
    expected = model(x, training=False)
    for name in ("model.h5", "model.keras", "saved_model"):
        model.save(tmp_path / name)
        np.testing.assert_allclose(el_larq.load_model(tmp_path / name)(x, training=False), expected, rtol=1e-6)
    job = el_larq.convert(tmp_path / "saved_model", tmp_path / "model.tflite", options=Options(verify_images=IMAGES))
    details = {entry.step: entry.details for entry in job.report}
    binary = [layer for layer in leaf_layers(model) if getattr(layer, "input_quantizer", None) is not None]
    assert details["audit"]["binary"] == len(binary) > 0
    assert [finding for finding in details["audit"]["findings"] if finding["severity"] == "error"] == []
    assert details["verify"]["failures"] == ()
