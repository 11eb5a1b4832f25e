"""Each network and each method from training to a verified .tflite."""

import itertools
from pathlib import Path
from typing import Any

import binary_models as models
import numpy as np
import pytest
import tf_keras as keras

import el_larq
from el_larq.converters.job import Options
from el_larq.errors import UsageError
from el_larq.methods.registry import METHODS
from el_larq.models import counts
from el_larq.models.registry import NETWORKS, check_pair

SIZE = 16
CLASSES = 10

# Each network once and each method once: the shorter of the two lists starts again.
_LONGER = max(len(NETWORKS), len(METHODS))
PAIRS = list(itertools.islice(zip(itertools.cycle(NETWORKS), itertools.cycle(METHODS), strict=False), _LONGER))


def _train(model: keras.Model) -> None:
    """Three steps on random data, then normalization statistics that no initializer gives."""
    random = np.random.default_rng(0)
    x = random.standard_normal((48, SIZE, SIZE, 1), np.float32)
    y = random.integers(0, CLASSES, 48)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.legacy.Adam(1e-3), loss)
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)  # pyright: ignore[reportArgumentType]
    for layer in counts.leaf_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.gamma.assign(layer.gamma * random.uniform(0.8, 1.2, shape))
            layer.beta.assign(layer.beta + random.uniform(-0.2, 0.2, shape))
            layer.moving_mean.assign(layer.moving_mean + random.uniform(-0.1, 0.1, shape))


def _train_and_convert(folder: Path, network: str, method: str, link: str | None = None, **options: Any) -> None:
    keras.utils.set_random_seed(0)
    shape = (SIZE, SIZE, 1)
    model = el_larq.build(network, method, link=link, input_shape=shape, num_classes=CLASSES, width=0.125, **options)
    _train(model)
    path = models.save(keras.Model(model.inputs, model.outputs, name=model.name), folder / "model.h5")
    loaded = el_larq.load_model(path)
    x = models.images(2, SIZE)
    np.testing.assert_array_equal(loaded(x, training=False), model(x, training=False))

    job = el_larq.convert(path, folder / "model.tflite", options=Options(verify_images=64))
    details = {entry.step: entry.details for entry in job.report}
    binary = [layer for layer in counts.count(model).layers if layer.binary]
    assert bool(binary) == METHODS[method].binary
    assert details["audit"]["binary"] == details["audit"]["meant_binary"] == len(binary)
    rows = [row for row in details["audit"]["convolutions"] if row["kernel_bits"] == 1]
    assert {row["layer"] for row in rows} == {layer.name for layer in binary}
    assert sum(row["macs"] for row in rows) == counts.count(model).bops
    assert details["verify"]["failures"] == ()
    assert details["verify"]["images"] == 64
    assert (folder / "model.tflite").stat().st_size == details["write"]["bytes"]


@pytest.mark.parametrize(("network", "method"), PAIRS)
def test_from_training_to_a_verified_tflite(tmp_path: Path, network: str, method: str) -> None:
    _train_and_convert(tmp_path, network, method)


@pytest.mark.slow
@pytest.mark.parametrize("downsample", ["real", "binary"])
@pytest.mark.parametrize("link", ["none", "identity", "elastic"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_combination_from_training_to_a_verified_tflite(
    tmp_path: Path, network: str, method: str, link: str, downsample: str
) -> None:
    try:
        METHODS[method].with_link(next(m.link for m in METHODS.values() if m.link.name == link))
        check_pair(NETWORKS[network], link, method)
    except UsageError as error:
        pytest.skip(str(error))
    _train_and_convert(tmp_path, network, method, link, downsample=downsample)
