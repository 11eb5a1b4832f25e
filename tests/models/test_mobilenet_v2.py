"""MobileNetV2 against that of Keras Applications, and what a real-valued network refuses."""

from typing import Any

import numpy as np
import pytest
import tf_keras as keras

import el_larq
from el_larq.errors import UsageError
from el_larq.methods.method_registry import METHODS
from el_larq.models.mobilenet_v2 import rounded_channels
from el_larq.models.network_registry import NETWORKS, fits
from el_larq.training.training_plan import make_plan


@pytest.mark.parametrize("width", [0.35, 1.4])
def test_it_computes_what_keras_applications_does_from_the_same_weights(width: float) -> None:
    keras.utils.set_random_seed(0)
    build: Any = keras.applications.MobileNetV2
    theirs = build(input_shape=(64, 64, 3), alpha=width, weights=None, classes=10, classifier_activation=None)
    ours: Any = el_larq.build("mobilenet_v2", "float", input_shape=(64, 64, 3), num_classes=10, width=width)
    numbers = np.random.default_rng(0)
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([w + numbers.uniform(0, 0.3, w.shape) for w in layer.get_weights()])
        if layer.weights:
            ours.get_layer(layer.name).set_weights(layer.get_weights())
    assert {layer.name for layer in ours.layers if layer.weights} == {layer.name for layer in theirs.layers if layer.weights}
    x = numbers.uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    wanted = theirs(x, training=False)
    assert np.ptp(wanted) > 0
    np.testing.assert_allclose(ours(x, training=False), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "rounded"), [(32 * 0.35, 16), (16 * 0.35, 8), (24 * 0.75, 24), (1, 8), (33.6, 32), (44.8, 48)]
)
def test_channels_are_multiples_of_eight_and_at_least_nine_tenths(channels: float, rounded: int) -> None:
    assert rounded_channels(channels) == rounded


def test_small_images_keep_their_size_in_the_stem() -> None:
    model: Any = el_larq.build("mobilenet_v2", "float", input_shape=(32, 32, 1), num_classes=10, width=0.35)
    assert model.get_layer("Conv1").output_shape == (None, 32, 32, 16)
    assert model.get_layer("Conv_1").output_shape == (None, 2, 2, 1280)


def test_a_real_valued_network_refuses_binary_methods_and_is_trained_with_float_by_default() -> None:
    assert [name for name, method in METHODS.items() if fits(NETWORKS["mobilenet_v2"], method)] == ["float"]
    with pytest.raises(
        UsageError, match="network 'mobilenet_v2' is real-valued: method 'el' has nothing to binarize; use --method"
    ):
        el_larq.build("mobilenet_v2", "el")
    with pytest.raises(UsageError, match="has no option 'stem'; it takes none"):
        el_larq.build("mobilenet_v2", "float", stem="cifar")
    assert make_plan("mobilenet_v2", dataset="digits").method.name == "float"
    assert make_plan("resnet18", dataset="digits").method.name == "el"
