"""Detectors: their maps, anchors and predictions, with every method."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from larq.layers import QuantConv2D

import el_larq
from el_larq.data.dataset_registry import load_dataset
from el_larq.detection.anchors import SSD300, all_boxes
from el_larq.detection.detection_set import DetectionSet
from el_larq.errors import UsageError
from el_larq.layers import L2Normalize
from el_larq.methods.method_registry import METHODS
from el_larq.models.detector_anchors import anchors_of, model_anchors
from el_larq.models.network_registry import DETECTORS, NETWORKS, fits, get_network
from el_larq.training.multibox_loss import MultiboxLoss

SMALL: dict[str, Any] = {"input_shape": (96, 96, 3), "num_classes": 3, "width": 0.0625}


def layer_of(model: keras.Model, name: str) -> Any:
    return model.get_layer(name)


def test_ssd300_has_its_maps_and_anchors() -> None:
    model = el_larq.build("ssd300", "bbg", num_classes=20, width=0.0625)
    assert model.output_shape == (None, 8732, 25)
    np.testing.assert_array_equal(model_anchors(model), all_boxes(SSD300))
    sizes = [layer_of(model, f"head{index}_boxes_conv").output_shape[1:] for index in range(1, 7)]
    assert sizes == [(38, 38, 16), (19, 19, 24), (10, 10, 24), (5, 5, 24), (3, 3, 16), (1, 1, 16)]
    conv6 = layer_of(model, "conv6_conv")
    assert isinstance(conv6, QuantConv2D)
    assert conv6.dilation_rate == (6, 6)
    binary = {layer.name for layer in model.layers if isinstance(layer, QuantConv2D)}
    # 13 of VGG16 without the first, 4 strided ones, conv6, and two for each of four extra maps.
    assert len(binary) == 12 + 4 + 1 + 8
    assert "conv7_conv" not in binary
    assert not any(isinstance(layer, keras.layers.MaxPooling2D) for layer in model.layers)
    assert isinstance(layer_of(model, "stage4_l2"), L2Normalize)


def test_binary_heads_are_units_without_activation() -> None:
    model = el_larq.build("ssd300", "bireal", num_classes=2, width=0.0625, heads="binary")
    heads = [layer for layer in model.layers if layer.name.startswith("head") and isinstance(layer, QuantConv2D)]
    assert len(heads) == 12
    predictions = model(np.random.default_rng(0).random((1, 300, 300, 3), np.float32)).numpy()
    assert predictions.min() < 0 < predictions.max()


@pytest.mark.parametrize(("network", "sizes"), [("ssd_resnet18", [38, 19, 10, 5, 3, 1]), ("ssd_mobilenet", [19, 10, 5, 3, 1])])
def test_the_maps_of_smaller_detectors(network: str, sizes: list[int]) -> None:
    model = el_larq.build(network, num_classes=4, width=0.0625)
    found = [layer_of(model, f"head{index}_boxes").input_shape[1] for index in range(1, len(sizes) + 1)]
    assert found == sizes
    assert model.output_shape == (None, len(model_anchors(model)), 9)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_fits_a_detector(method: str) -> None:
    network = "ssd300" if fits(DETECTORS["ssd300"], METHODS[method]) else "ssd_mobilenet"
    model = el_larq.build(network, method, **SMALL)
    predictions = model(np.ones((1, 96, 96, 3), np.float32)).numpy()
    assert predictions.shape == (1, len(model_anchors(model)), 8)
    assert np.isfinite(predictions).all()


def test_predictions_are_in_the_order_of_the_anchors() -> None:
    """A bias that depends on the place in a cell, and a map that depends on the cell, come out where the anchors are."""
    model = el_larq.build("ssd_resnet18", "float", **SMALL)
    anchors = model_anchors(model)
    head = layer_of(model, "head1_boxes_conv")
    kernel = np.zeros(head.kernel.shape, np.float32)
    head.set_weights([kernel, np.arange(16, dtype=np.float32)])
    rows, columns, _ = head.output_shape[1:]
    boxes = model(np.zeros((1, 96, 96, 3), np.float32)).numpy()[0, : rows * columns * 4, -4:]
    np.testing.assert_array_equal(boxes, np.tile(np.arange(16).reshape(4, 4), (rows * columns, 1)))
    np.testing.assert_allclose(anchors[:4, :2], [[0.5 / rows, 0.5 / columns]] * 4, rtol=1e-6)
    np.testing.assert_allclose(anchors[4, :2], [0.5 / rows, 1.5 / columns], rtol=1e-6)


def test_a_saved_detector_predicts_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = el_larq.build("ssd300", "bbg", **SMALL)
    path = tmp_path_factory.mktemp("detector") / "model.keras"
    model.save(path)
    images = np.random.default_rng(0).normal(size=(2, 96, 96, 3)).astype(np.float32)
    np.testing.assert_array_equal(el_larq.load_model(path)(images).numpy(), model(images).numpy())


def test_l2_normalization_gives_each_pixel_the_length_of_the_scale() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    layer = L2Normalize(start=20)
    np.testing.assert_allclose(layer(x), 20 * x / np.sqrt((x**2).sum(axis=-1, keepdims=True)), rtol=1e-5)
    np.testing.assert_array_equal(layer(np.zeros((1, 1, 1, 5), np.float32)), 0)
    assert L2Normalize.from_config(layer.get_config()).start == 20


def test_detectors_are_refused_where_a_class_is_expected() -> None:
    assert not set(DETECTORS) & set(NETWORKS)
    with pytest.raises(UsageError, match="ssd300 is a detector, and this takes classifiers"):
        get_network("ssd300")
    with pytest.raises(UsageError, match="method 'float' does not binarize; omit --heads binary"):
        el_larq.build("ssd300", "float", heads="binary", **SMALL)
    with pytest.raises(UsageError, match="unknown heads 'ternary'"):
        el_larq.build("ssd300", heads="ternary", **SMALL)
    with pytest.raises(UsageError, match="needs at least 1 class; got 0"):
        el_larq.build("ssd300", **{**SMALL, "num_classes": 0})
    with pytest.raises(ValueError, match="no heads of a detector"):
        model_anchors(keras.Sequential([keras.layers.Dense(2, input_shape=(3,))]))


def test_layers_with_the_names_of_a_detector_do_not_make_one() -> None:
    """Sizes that cannot be anchors are not built: this map would have gigabytes of them."""

    def model(size: int | None, *, values: int = 8, anchors: int = 16, twice: bool = False) -> keras.Model:
        image = keras.Input((size, size, 16))
        head = keras.layers.Lambda(lambda x: tf.zeros((tf.shape(x)[0], anchors, values)), name="head1_boxes")
        x = head(image)
        if twice:
            x = keras.layers.Add()([x, head(keras.layers.ZeroPadding2D()(image))])
        return keras.Model(image, keras.layers.Activation("linear", name="predictions")(x))

    found = anchors_of(model(2))
    assert found is not None
    assert found.shape == (16, 4)
    for other in (model(None), model(2, values=5), model(2, anchors=17), model(100_000), model(2, twice=True)):
        assert anchors_of(other) is None
    assert anchors_of(keras.Sequential([keras.layers.Dense(2, input_shape=(3,), name="head1_boxes")])) is None


@pytest.mark.slow
def test_a_detector_learns_a_few_images() -> None:
    """The loss of eight images of `shapes` without augmentation falls; with the anchors of another model, nothing would."""
    data = load_dataset("shapes", 96, task="detection")
    assert isinstance(data, DetectionSet)
    keras.utils.set_random_seed(0)
    model = el_larq.build("ssd_resnet18", "bireal", input_shape=(96, 96, 3), num_classes=5, width=0.25)
    few = replace(data, train=data.train.part(np.arange(8)), augmentation=None).with_anchors(model_anchors(model))
    (batch,) = list(few.training_batches(8, 1, seed=0))
    model.compile(keras.optimizers.Adam(3e-3), MultiboxLoss())
    losses: list[Any] = [model.train_on_batch(*batch) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
