from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tf_keras as keras

from el_larq.errors import ElLarqError
from el_larq.loading.load import load_weights


def network(classes: int | None = 3, filters: int = 4) -> keras.Model:
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(filters, 3, use_bias=False)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3, trainable=False)(x)
    if classes:
        x = keras.layers.Dense(classes)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, x, name="network")
    random = np.random.default_rng(0)
    model.set_weights([random.standard_normal(weight.shape) for weight in model.get_weights()])
    return model


def zeroed(model: keras.Model) -> keras.Model:
    model.set_weights([0 * weight for weight in model.get_weights()])
    return model


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("whole", [False, True])
def test_weights_come_back_in_order_whatever_the_layers_names(tmp_path: Path, whole: bool) -> None:
    model, other = network(), zeroed(network())
    assert [layer.name for layer in model.layers] != [layer.name for layer in other.layers]
    model.compile()
    (model.save if whole else model.save_weights)(tmp_path / "weights.h5")
    load_weights(other, tmp_path / "weights.h5")
    for found, expected in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("saved", "target", "message"),
    [
        ({"classes": None}, {}, r"has weights for 3 layers, but network has 4; the first one without is dense.*without the top"),
        ({}, {"classes": None}, r"has weights for 4 layers, but network has 3; the first surplus one is dense.*with the top"),
        ({"filters": 5}, {}, r"not the weights of network: its layer 1, conv2d\S*, has weights of shape 3x3x1x5, but .* 3x3x1x4"),
        ({"classes": 2}, {}, r"its layer 4, .* has weights of shape 4x2, 2, but dense\S* needs 4x3, 3"),
    ],
)
def test_weights_of_another_network_are_refused_and_nothing_is_set(
    tmp_path: Path, saved: dict[str, Any], target: dict[str, Any], message: str
) -> None:
    network(**saved).save_weights(tmp_path / "weights.h5")
    model = zeroed(network(**target))
    with pytest.raises(ElLarqError, match=message):
        load_weights(model, tmp_path / "weights.h5")
    assert not any(weight.any() for weight in model.get_weights())


def test_other_files_are_named(tmp_path: Path) -> None:
    model = network()
    with pytest.raises(ElLarqError, match="no such file"):
        load_weights(model, tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("weights")
    with pytest.raises(ElLarqError, match="not an HDF5 file"):
        load_weights(model, tmp_path / "text.h5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(ElLarqError, match="does not contain weights as Keras 2 saves them"):
        load_weights(model, tmp_path / "empty.h5")
    model.save_weights(tmp_path / "cut.h5")
    content = (tmp_path / "cut.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(ElLarqError, match="damaged or truncated"):
        load_weights(model, tmp_path / "cut.h5")
    model.save_weights(tmp_path / "linked.h5")
    with h5py.File(tmp_path / "linked.h5", "a") as file:
        file["elsewhere"] = h5py.ExternalLink("text.h5", "/")
    with pytest.raises(ElLarqError, match="elsewhere is a link"):
        load_weights(model, tmp_path / "linked.h5")
