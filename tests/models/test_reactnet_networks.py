from typing import Any

import larq
import numpy as np
import pytest
import tf_keras as keras
from structure import has, inputs_of, layers_of, sizes, small

from el_larq.errors import UsageError
from el_larq.layers import ElasticLink
from el_larq.models.reactnets import BLOCKS
from el_larq.models.stems import apply_stem


def test_reactnets_map_and_channels():
    model = small("reactnet_a", "binary")
    assert sizes(model) == [16, 8, 4, 2, 1]
    channels = [model.get_layer(f"block{i + 1}_conv1_conv").input_shape[-1] for i in range(13)]
    assert channels == [4, 8, 16, 16, 32, 32, *[64] * 6, 128]
    assert model.get_layer("logits").input_shape == (None, 128)


@pytest.mark.parametrize(("size", "stem", "first"), [(16, None, 16), (64, None, 32), (16, "mobile", 8), (64, "imagenet", 16)])
def test_reactnets_stem(size: int, stem: str | None, first: int):
    image: Any = keras.Input((size, size, 1))
    assert apply_stem(stem, image, 4, 0.9, None, default="mobile").shape == (None, first, first, 4)


def test_without_a_link_every_convolution_has_the_shortcut_of_the_paper():
    model = small("reactnet_a", "binary")
    # Block 1 doubles 4 channels with two 1x1 convolutions on one input, side by side.
    assert inputs_of(model, "block1_conv1_shortcut") == ["stem_conv_norm", "block1_conv1_norm"]
    for half in "ab":
        assert inputs_of(model, f"block1_conv2{half}_conv") == ["block1_conv1_shortcut"]
        assert inputs_of(model, f"block1_conv2{half}_shortcut") == ["block1_conv1_shortcut", f"block1_conv2{half}_norm"]
    assert inputs_of(model, "block1_concatenate") == ["block1_conv2a_shortcut", "block1_conv2b_shortcut"]
    # Block 2 strides: its shortcut averages.
    assert inputs_of(model, "block2_conv1_shortcut") == ["block2_conv1_pool", "block2_conv1_norm"]
    assert inputs_of(model, "block2_conv1_pool") == ["block1_concatenate"]
    # Block 3 keeps its channels: one 1x1 convolution.
    assert inputs_of(model, "block3_conv2_shortcut") == ["block3_conv1_shortcut", "block3_conv2_norm"]
    assert len(layers_of(model, larq.layers.QuantConv2D)) == len(layers_of(model, keras.layers.Add)) == 2 * 13 + 5


@pytest.mark.parametrize("method", ["binary", "bireal", "el", "bbg"])
def test_each_convolution_has_one_shortcut_whatever_the_link(method: str):
    """With a link that goes around any of them none of the network's own; an identity cannot stride."""
    model = small("reactnet_a", method)
    shortcuts = [layer.name for layer in model.layers if layer.name.endswith("_shortcut")]
    links = [layer.name for layer in model.layers if layer.name.endswith("_link")]
    strided = [f"block{index + 1}_conv1_shortcut" for index, (_factor, strides) in enumerate(BLOCKS) if strides == 2]
    assert len(shortcuts) + len(links) == 31
    assert not {name.removesuffix("_shortcut") for name in shortcuts} & {name.removesuffix("_link") for name in links}
    assert {"binary": len(links) == 0, "bireal": shortcuts == strided}.get(method, not shortcuts)
    assert len(layers_of(model, ElasticLink)) == (31 if method == "el" else 0)


@pytest.mark.parametrize(("network", "real"), [("reactnet_a", 0), ("reactnet_b", 2 * 4), ("reactnet_c", 2)])
def test_b_and_c_double_channels_in_real_values(network: str, real: int):
    model = small(network, "binary")
    doubling = [index + 1 for index, name in enumerate(BLOCKS) if has(model, f"block{index + 1}_concatenate")]
    assert doubling == [1, 2, 4, 6, 12]
    for block in doubling:
        layers = [
            layer
            for layer in layers_of(model, keras.layers.Conv2D)
            if layer.name.startswith(f"block{block}_conv2") and not isinstance(layer, larq.layers.QuantConv2D)
        ]
        assert len(layers) == real
        # Norm and shortcut stay around a real-valued convolution.
        assert has(model, f"block{block}_conv2a_norm")
        assert has(model, f"block{block}_conv2a_shortcut")
    assert len(layers_of(model, larq.layers.QuantConv2D)) == (31 if network == "reactnet_a" else 21)


def test_reactnet_b_takes_multiples_of_four_channels():
    assert small("reactnet_b", "binary", width=0.01).get_layer("stem_conv").filters == 4
    assert small("reactnet_b", "binary", width=0.2).get_layer("stem_conv").filters == 8


@pytest.mark.parametrize("option", ["downsample", "depthwise"])
def test_an_option_that_the_network_does_not_have_is_refused(option: str):
    with pytest.raises(UsageError, match=f"'reactnet_a' has no option '{option}'; it takes stem"):
        small("reactnet_a", **{option: "real"})


def test_an_option_of_none_is_as_good_as_left_out():
    assert small("reactnet_a", "binary", stem=None, width=0.01).output_shape == (None, 10)


@pytest.mark.parametrize("method", ["binary", "bireal", "el"])
def test_reactnets_resnet18_has_one_shortcut_a_convolution(method: str):
    model = small("reactnet_resnet18", method)
    changing = [f"stage{stage}_block1_conv" for stage in (2, 3, 4)]
    for name in changing:
        stage = name.split("_")[0]
        assert inputs_of(model, f"{name}_shortcut")[0] == f"{stage}_block1_downsample_norm"
    shortcuts = [layer.name for layer in model.layers if layer.name.endswith("_conv_shortcut")]
    links = [layer.name for layer in model.layers if layer.name.endswith("_conv_link")]
    assert {"binary": (16, 0), "bireal": (3, 13), "el": (3, 16)}[method] == (len(shortcuts), len(links))


def test_a_reactnet_unit_by_numbers():
    """Block 3 of a network with known weights: y = BN(conv(sign(a))) + a, computed from its own arrays."""
    model = small("reactnet_a", "binary")
    names = ["block3_conv1_shortcut", "block3_conv2_shortcut"]
    image = np.random.default_rng(0).standard_normal((2, 16, 16, 1)).astype(np.float32)
    a, y = keras.Model(model.inputs, [model.get_layer(name).output for name in names])(image, training=False)
    a = np.asarray(a, np.float64)
    kernel = np.where(model.get_layer("block3_conv2_conv").kernel.numpy() >= 0, 1.0, -1.0)[0, 0]
    product = np.where(a >= 0, 1.0, -1.0) @ kernel
    # Fresh statistics: mean 0, variance 1.
    np.testing.assert_allclose(y, product / np.sqrt(1 + 1e-5) + a, rtol=1e-4, atol=1e-4)
