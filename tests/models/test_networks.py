import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from counted import binary_weights, real_weights
from structure import layers_of
from structure import small as common

from el_larq.counting.counts import Counts, count
from el_larq.errors import UsageError
from el_larq.layers import ElasticLink
from el_larq.methods.method_registry import METHODS, get_method
from el_larq.models.build import build
from el_larq.models.network_registry import NETWORKS, check_options, check_pair, get_network
from el_larq.models.stems import STEMS, apply_stem


def small(network: str, method: Any = "el", **arguments: Any) -> Any:
    """The network of `common`, built anew: also with methods that are made for a test."""
    return build(network, method, **{"input_shape": (16, 16, 1), "num_classes": 10, "width": 0.125} | arguments)


# --- Counts ---------------------------------------------------------------------------------------------------------------


@cache
def full_size(network: str, downsample: str) -> tuple[Counts, int]:
    """Counts at 224x224x3 with 1000 classes, and the number of binary convolutions."""
    model = build(network, "el", downsample=downsample)
    return count(model), len(layers_of(model, larq.layers.QuantConv2D))


# BOPs and FLOPs are multiply-accumulates, binary and real-valued; weights in millions: counted by hand, convolutions and
# classifier only, from the shapes in the papers.
FULL_SIZE = [
    # network, downsample, BOPs / 1e9, FLOPs / 1e8, OPs / 1e8, binary weights / 1e6, real weights / 1e6
    ("resnet18", "real", 1.676, 1.378, 1.640, 10.99, 0.69),
    ("resnet18", "binary", 1.696, 1.185, 1.450, 11.16, 0.52),
    ("resnet34", "real", 3.526, 1.378, 1.929, 21.09, 0.69),
    ("resnet26", "real", 1.863, 4.797, 5.088, 11.14, 4.83),
    ("resnet26", "binary", 2.222, 1.201, 1.548, 13.91, 2.06),
    ("resnet50", "real", 3.609, 4.797, 5.361, 20.68, 4.83),
    ("resnet50", "binary", 3.969, 1.201, 1.821, 23.45, 2.06),
]


@pytest.mark.parametrize(("network", "downsample", "bops", "flops", "ops", "binary_millions", "real_millions"), FULL_SIZE)
def test_operations_and_weights_at_full_size(
    network: str, downsample: str, bops: float, flops: float, ops: float, binary_millions: float, real_millions: float
):
    counts, _ = full_size(network, downsample)
    assert counts.bops / 1e9 == pytest.approx(bops, abs=0.000501)
    assert counts.flops / 1e8 == pytest.approx(flops, abs=0.000501)
    assert counts.ops / 1e8 == pytest.approx(ops, abs=0.000501)
    assert binary_weights(counts) / 1e6 == pytest.approx(binary_millions, abs=0.00501)
    assert real_weights(counts) / 1e6 == pytest.approx(real_millions, abs=0.00501)


@pytest.mark.parametrize(
    ("network", "downsample", "convolutions"),
    [
        ("resnet18", "real", 16),
        ("resnet34", "real", 32),
        ("resnet26", "real", 24),
        ("resnet26", "binary", 28),
        ("resnet50", "real", 48),
        ("resnet50", "binary", 52),
    ],
)
def test_number_of_binary_convolutions(network: str, downsample: str, convolutions: int):
    counts, binary = full_size(network, downsample)
    assert binary == convolutions
    assert sum(layer.binary for layer in counts.layers) == convolutions


def test_a_tiny_resnet18_counted_by_hand():
    """8x8x1, 4 filters in the first stage: stages of 4, 8, 16, 32 filters at 8x8, 4x4, 2x2, 1x1."""
    counts = count(small("resnet18", input_shape=(8, 8, 1), width=1 / 16, num_classes=2))
    stage1 = 4 * (9 * 4 * 4) * 64
    stage2 = ((9 * 4 * 8) + 3 * (9 * 8 * 8)) * 16
    stage3 = ((9 * 8 * 16) + 3 * (9 * 16 * 16)) * 4
    stage4 = ((9 * 16 * 32) + 3 * (9 * 32 * 32)) * 1
    assert counts.bops == stage1 + stage2 + stage3 + stage4 == 133_632
    stem, downsamples, logits = 9 * 1 * 4 * 64, 4 * 8 * 16 + 8 * 16 * 4 + 16 * 32 * 1, 32 * 2
    assert counts.flops == stem + downsamples + logits == 3_904
    assert counts.ops == 3_904 + 133_632 / 64
    assert binary_weights(counts) == 4 * 144 + (288 + 3 * 576) + (1152 + 3 * 2304) + (4608 + 3 * 9216) == 42_912
    assert real_weights(counts) == 36 + (32 + 128 + 512) + 64


def test_resnet20_counted_by_hand():
    """32x32x3, 18 3x3 convolutions of 16, 32 and 64 channels, 6 on each of 32x32, 16x16, 8x8."""
    counts = count(build("resnet20", "el", num_classes=10))
    stage1 = 6 * 9 * 16 * 16 * 1024
    stage2 = (9 * 16 * 32 + 5 * 9 * 32 * 32) * 256
    stage3 = (9 * 32 * 64 + 5 * 9 * 64 * 64) * 64
    assert counts.bops == stage1 + stage2 + stage3 == 40_108_032
    assert counts.flops == 9 * 3 * 16 * 1024 + 16 * 32 * 256 + 32 * 64 * 64 + 64 * 10 == 705_152


def test_vgg_small_counted_by_hand():
    """32x32x3; maps are halved behind convolutions 2, 4 and 6; links fit wherever shapes agree, or everywhere if elastic."""
    model = build("vgg_small", "el", num_classes=10)
    counts = count(model)
    stages = (128 * 128 * 1024, (128 * 256 + 256 * 256) * 256, (256 * 512 + 512 * 512) * 64)
    assert counts.bops == 9 * sum(stages) == 603_979_776
    assert counts.flops == 9 * 3 * 128 * 1024 + 4 * 4 * 512 * 10 == 3_620_864
    assert len(layers_of(model, ElasticLink)) == 5
    assert len(layers_of(small("vgg_small", "bireal"), keras.layers.Add)) == 3


def test_a_real_valued_network_has_no_binary_operations():
    counts = count(common("resnet18", "float"))
    assert (counts.bops, binary_weights(counts)) == (0, 0)
    binary = count(common("resnet18", "el"))
    assert counts.flops == binary.flops + binary.bops
    assert real_weights(counts) == real_weights(binary) + binary_weights(binary)


def test_weights_that_meet_real_inputs_are_binary_but_their_operations_are_not():
    half = replace(METHODS["binary"], input_quantizer=None)
    counts = count(small("resnet18", half))
    assert counts.bops == 0
    assert binary_weights(counts) == binary_weights(count(common("resnet18", "binary")))


@pytest.mark.parametrize("method", ["bireal", "el", "bbg", "reactnet", "xnor"])
@pytest.mark.parametrize("network", ["resnet18", "resnet26"])
def test_links_shifts_and_scales_cost_no_counted_operations(network: str, method: str):
    ours, plain = count(common(network, method)), count(common(network, "binary"))
    assert (ours.bops, ours.flops, binary_weights(ours)) == (plain.bops, plain.flops, binary_weights(plain))


# --- Stems ----------------------------------------------------------------------------------------------------------------


def stem(name: str | None, size: int, filters: int = 64, channels: int = 3) -> Any:
    image: Any = keras.Input((size, size, channels))
    return keras.Model(image, apply_stem(name, image, filters, 0.9, "relu"))


@pytest.mark.parametrize(
    ("name", "size", "after"), [("imagenet", 64, 16), ("small", 64, 16), ("mobile", 64, 32), ("cifar", 64, 64)]
)
def test_stems_reduce_as_they_say(name: str, size: int, after: int):
    assert stem(name, size).output_shape == (None, after, after, 64)


@pytest.mark.parametrize("name", STEMS)
def test_stems_round_odd_sizes_up(name: str):
    after = {"cifar": 33, "mobile": 17}.get(name, 9)
    assert stem(name, 33, filters=4, channels=1).output_shape == (None, after, after, 4)


@pytest.mark.parametrize(("size", "after"), [(16, 16), (63, 63), (64, 16), (224, 56)])
def test_the_stem_is_chosen_by_the_images_size(size: int, after: int):
    assert stem(None, size, filters=4).output_shape == (None, after, after, 4)


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("small", 27 * 8 * 112**2 + 9 * 8 * 56**2 + 8 * 64 * 56**2),
        ("imagenet", 49 * 3 * 64 * 112**2),
        ("mobile", 27 * 64 * 112**2),
        ("cifar", 27 * 64 * 224**2),
    ],
)
def test_operations_of_the_stems(name: str, macs: int):
    assert count(stem(name, 224)).flops == macs


def test_the_small_stem_is_far_cheaper_than_the_usual_one():
    assert count(stem("small", 224)).flops == 4_540_928
    assert count(stem("imagenet", 224)).flops == 118_013_952


@pytest.mark.parametrize("name", STEMS)
def test_stems_end_in_the_methods_activation(name: str):
    image: Any = keras.Input((16, 16, 1))
    bare, active = (keras.Model(image, apply_stem(name, image, 4, 0.9, activation)) for activation in (None, "relu"))
    names = [{layer.name for layer in model.layers if "activation" in layer.name} for model in (bare, active)]
    assert len(names[1] - names[0]) == 1
    assert names[0] == ({"stem_conv_activation"} if name == "small" else set())


def test_an_unknown_stem_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown stem 'imagnet'; did you mean imagenet"):
        small("resnet18", stem="imagnet")


@pytest.mark.parametrize("name", ["imagenet", "small", "mobile"])
def test_an_image_too_small_for_a_stem_is_refused(name: str):
    with pytest.raises(UsageError, match="use --stem cifar"):
        stem(name, 1 if name == "mobile" else 3)
    assert stem("cifar", 3).output_shape == (None, 3, 3, 64)


# --- Structure ------------------------------------------------------------------------------------------------------------


# At full depth; tests/converters/test_every_network.py has each method.
@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "densenet121"])
def test_every_network_builds(network: str):
    model = common(network, NETWORKS[network].default_method)
    assert model.name == network
    assert model.output_shape == (None, 10)
    logits = model(tf.zeros((2, 16, 16, 1)), training=False)
    assert np.all(np.isfinite(logits))


@pytest.mark.parametrize("network", NETWORKS)
def test_registered_networks_say_what_they_are(network: str):
    entry = NETWORKS[network]
    assert entry.name == network
    assert entry.summary
    assert entry.reference
    assert entry.real_valued or "elastic" in entry.supported_links, (
        "tests and stored counts build every network with el: support its link"
    )
    assert isinstance(entry.load_builder(), Callable)
    keywords = inspect.signature(entry.load_builder()).parameters
    assert {*entry.options, *entry.arguments} <= {*keywords}
    assert ("variant" in keywords) or not entry.variants


def adds(model: Any, suffix: str) -> list[str]:
    return [layer.name for layer in layers_of(model, keras.layers.Add) if layer.name.endswith(suffix)]


@pytest.mark.parametrize("method", ["bireal", get_method("el", "identity")], ids=["bireal", "el with identity"])
@pytest.mark.parametrize(("network", "convolutions"), [("resnet18", 16), ("resnet34", 32)])
def test_with_identity_links_basic_blocks_have_one_addition_a_convolution(network: str, convolutions: int, method: Any):
    model = small(network, method)
    assert len(layers_of(model, keras.layers.Add)) == convolutions
    changing = [f"stage{stage}_block1_conv1_shortcut" for stage in (2, 3, 4)]
    assert adds(model, "_shortcut") == changing
    assert len(adds(model, "_link")) == convolutions - len(changing)


@pytest.mark.parametrize("network", ["resnet18", "resnet26", "resnet34", "resnet50"])
def test_elastic_links_are_added_to_the_blocks_shortcuts(network: str):
    model = common(network, "el")
    repeats = NETWORKS[network].arguments["repeats"]
    last = "conv2" if NETWORKS[network].arguments["block"] == "basic" else "conv3"
    blocks = [f"stage{s + 1}_block{b + 1}_{last}_shortcut" for s, n in enumerate(repeats) for b in range(n)]
    assert adds(model, "") == blocks
    assert len(layers_of(model, ElasticLink)) == len(layers_of(model, larq.layers.QuantConv2D))


def test_without_links_only_the_blocks_shortcuts_add():
    assert len(layers_of(common("resnet18", "binary"), keras.layers.Add)) == 8
    assert len(layers_of(common("resnet18", "float"), keras.layers.Add)) == 8


@pytest.mark.parametrize("downsample", ["real", "binary"])
def test_the_shortcut_that_changes_shape_is_real_or_binary(downsample: str):
    model = small("resnet26", downsample=downsample)
    kinds = {layer.name: type(layer).__name__ for layer in model.layers if "downsample" in layer.name}
    convolution = "stage2_block1_downsample_conv"
    assert kinds[convolution] == ("QuantConv2D" if downsample == "binary" else "Conv2D")
    assert kinds["stage2_block1_downsample_pool"] == "AveragePooling2D"
    # The first stage of bottlenecks widens without a stride.
    assert "stage1_block1_downsample_conv" in kinds
    assert "stage1_block1_downsample_pool" not in kinds
    assert ("stage1_block1_downsample_link" in kinds) == (downsample == "binary")


def test_the_bottlenecks_stride_sits_on_the_three_by_three():
    model = common("resnet26", "el")
    strides = {index: model.get_layer(f"stage2_block1_conv{index}_conv").strides for index in (1, 2, 3)}
    assert strides == {1: (1, 1), 2: (2, 2), 3: (1, 1)}


def test_link_options_reach_every_link():
    options = {"per_channel": True, "gamma_initializer": "zeros"}
    links = layers_of(small("resnet18", "bireal", link="elastic", placement="before_norm", link_options=options), ElasticLink)
    assert len(links) == 16
    for layer in links:
        np.testing.assert_array_equal(layer.gamma, np.zeros(layer.channels))


@pytest.mark.parametrize(
    ("network", "options", "expected"),
    [
        # Beside a block's shortcut half of what a link alone has: 1, or C_out / C_in where it squeezes.
        (
            "resnet26",
            {},
            {"stage2_block1_conv1": 0.25, "stage2_block1_conv2": 0.5, "stage2_block1_conv3": 0.5, "stage2_block2_conv1": 0.125},
        ),
        ("resnet26", {"downsample": "binary"}, {"stage2_block1_downsample": 1.0, "stage2_block1_conv3": 0.5}),
        ("resnet26", {"link_options": {"gamma_initializer": "ones"}}, {"stage2_block2_conv1": 1.0}),
        ("resnet18", {}, {"stage1_block1_conv1": 0.5, "stage2_block1_conv1": 0.5, "stage2_block1_conv2": 0.5}),
        ("reactnet_resnet18", {}, {"stage1_block1_conv": 1.0, "stage2_block1_conv": 0.5}),
        (
            "resnet26",
            {"variant": "two_stream"},
            {"stage1_block2_conv1": 0.125, "stage1_block2_conv2": 1.0, "stage1_block2_conv3": 0.5},
        ),
        ("quicknet", {}, {"stage1_block1": 0.5}),
        ("mobilenet", {}, {"block1_depthwise": 1.0, "block2_pointwise": 1.0}),
    ],
)
def test_gamma_starts_lower_next_to_a_shortcut(network: str, options: dict[str, Any], expected: dict[str, float]):
    model = small(network, "el", **options) if options else common(network, "el")
    assert {name: float(model.get_layer(f"{name}_link").gamma) for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"placement": "after_norm"}, "has no placement"),
        ({"link_options": {"per_channel": True}}, "--gamma-per-channel is an option of link elastic"),
        ({"link_options": {"wide": True}}, "has no options; omit 'wide'"),
    ],
)
@pytest.mark.parametrize("method", ["bireal", "binary", "float"])
def test_options_of_an_elastic_link_need_one(method: str, arguments: dict[str, Any], reason: str):
    with pytest.raises(UsageError, match=reason):
        small("resnet18", method, **arguments)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"per_chanel": True}, "unknown option of link 'elastic' 'per_chanel'; did you mean per_channel"),
        ({"per_channel": 1}, "option 'per_channel' of link 'elastic' is True or False; got 1"),
    ],
)
def test_a_wrong_option_of_a_link_is_named(options: dict[str, Any], reason: str):
    with pytest.raises(UsageError, match=reason):
        small("resnet18", "el", link_options=options)


# --- What is refused ------------------------------------------------------------------------------------------------------


def test_an_unknown_network_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown network 'resnet-26'; did you mean resnet26"):
        get_network("resnet-26")
    with pytest.raises(UsageError, match="unknown network"):
        build("alexnet")


def test_an_unknown_downsample_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown downsample 'bin'; did you mean binary"):
        small("resnet18", downsample="bin")


def test_a_link_that_a_network_has_no_place_for_is_refused_by_name():
    entry = replace(get_network("resnet18"), links=("none", "identity"))
    with pytest.raises(UsageError, match="'resnet18' does not support link 'elastic' of method 'el'; its links are none, identity"):
        check_pair(entry, "elastic", "el")
    check_pair(entry, "identity", "bireal")


def test_an_option_that_a_network_does_not_have_is_refused_by_name():
    with pytest.raises(UsageError, match="'resnet18' has no option 'depthwise'; it takes stem, downsample"):
        check_options(get_network("resnet18"), {"stem": None, "depthwise": None})
    check_options(get_network("mobilenet"), {"stem": None, "depthwise": "real"})
    with pytest.raises(UsageError, match="unknown depthwise 'rael'; did you mean real"):
        check_options(get_network("mobilenet"), {"depthwise": "rael"})


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf")])
def test_a_width_that_is_not_positive_is_refused(width: float):
    with pytest.raises(UsageError, match="width must be positive"):
        small("resnet18", width=width)


@pytest.mark.parametrize("num_classes", [1, 0, -3])
def test_fewer_than_two_classes_are_refused(num_classes: int):
    with pytest.raises(UsageError, match="at least 2 classes"):
        small("resnet18", num_classes=num_classes)


def test_a_width_near_zero_leaves_one_channel():
    assert small("resnet18", width=1e-6).get_layer("stem_conv").filters == 1
