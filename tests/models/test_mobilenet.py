from pathlib import Path
from typing import Any

import larq
import pytest
import tf_keras as keras
from structure import has, inputs_of, layers_of, sizes, small

import el_larq
from el_larq.conv import Conv
from el_larq.converters.job import Options
from el_larq.counting.counts import count
from el_larq.counting.real_valued_layers import without_operator
from el_larq.errors import ElLarqError, UsageError
from el_larq.layers import ElasticLink
from el_larq.methods.method_registry import METHODS
from el_larq.missing_operators import describe_missing


def test_every_depthwise_and_pointwise_convolution_is_a_linked_unit():
    model = small("mobilenet", depthwise="binary")
    assert sizes(model) == [16, 8, 4, 2, 1]
    assert len(layers_of(model, larq.layers.QuantDepthwiseConv2D)) == 13
    assert len(layers_of(model, larq.layers.QuantConv2D)) == 13
    assert len(layers_of(model, ElasticLink)) == 26
    strides = [model.get_layer(f"block{i + 1}_depthwise_conv").strides[0] for i in range(13)]
    assert [i + 1 for i, stride in enumerate(strides) if stride == 2] == [2, 4, 6, 12]
    filters = [model.get_layer(f"block{i + 1}_pointwise_conv").filters for i in range(13)]
    assert filters == [8, 16, 16, 32, 32, *[64] * 6, 128, 128]
    assert inputs_of(model, "block1_pointwise_link") == ["block1_depthwise_link", "block1_pointwise_norm"]


def test_mobilenets_operations_by_hand():
    """16x16x1 at width 1/8: the blocks' maps and channels; a depthwise convolution has 9 products a value it puts out."""
    plan = [(4, 8, 16), (8, 16, 8), (16, 16, 8), (16, 32, 4), (32, 32, 4), (32, 64, 2)]
    plan += [(64, 64, 2)] * 5 + [(64, 128, 1), (128, 128, 1)]
    depthwise, pointwise = (sum(f) for f in zip(*[(9 * m * s * s, m * n * s * s) for m, n, s in plan], strict=True))
    stem_and_logits = 9 * 4 * 16 * 16 + 128 * 10
    binary, real = (count(small("mobilenet", depthwise=kind)) for kind in ("binary", "real"))
    assert (binary.bops, binary.flops) == (depthwise + pointwise, stem_and_logits)
    assert (real.bops, real.flops) == (pointwise, stem_and_logits + depthwise)


def test_depthwise_convolutions_are_real_valued_unless_asked_for_and_keep_norm_and_link():
    model = small("mobilenet")
    convolutions = layers_of(model, keras.layers.DepthwiseConv2D)
    assert len(convolutions) == 13
    assert not any(isinstance(layer, larq.layers.QuantDepthwiseConv2D) for layer in convolutions)
    assert len(layers_of(model, ElasticLink)) == 26
    assert inputs_of(model, "block2_depthwise_link") == ["block1_pointwise_link", "block2_depthwise_norm"]


def test_what_lce_cannot_run_is_known_before_training():
    assert without_operator(small("mobilenet")) == {}
    found = without_operator(small("mobilenet", depthwise="binary"))
    assert found == {"binary-depthwise": [f"block{i + 1}_depthwise_conv" for i in range(13)]}
    line = describe_missing("binary-depthwise", found["binary-depthwise"])
    named = "block1_depthwise_conv, block2_depthwise_conv, block3_depthwise_conv and 10 more"
    assert line.startswith(f"LCE has no operator for binary depthwise convolutions: {named} will run real-valued")
    assert line.endswith("el-larq convert needs --allow binary-depthwise")
    signs: Any = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign"}
    cubes: Any = keras.Sequential(
        [
            keras.Input((4, 4, 4, 4)),
            larq.layers.QuantConv3D(4, 3, padding="same", name="binary", **signs),
            larq.layers.QuantConv3D(4, 3, kernel_quantizer="ste_sign", name="real_input"),
            larq.layers.QuantConv3D(4, 1, input_quantizer="ste_sign", kernel_quantizer="ste_tern", name="ternary"),
        ]
    )
    assert without_operator(cubes) == {"no-operator": ["binary"]}


def test_without_links_nothing_goes_around_a_convolution():
    model = small("mobilenet", "binary")
    assert not layers_of(model, keras.layers.Add)


def convert(folder: Path, method: Any, allow: tuple[str, ...] = ()) -> Any:
    """A MobileNet of one block, converted and verified."""
    keras.utils.set_random_seed(0)
    image: Any = keras.Input((8, 8, 4))
    x = method.unit(image, Conv("depthwise", 4, 3, 2, depthwise=True))
    x = method.unit(x, Conv("pointwise", 8, 1))
    model: Any = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    path = folder / "model.keras"
    model.save(path)
    job = el_larq.convert(path, folder / "model.tflite", options=Options(verify_images=16, allow=allow))
    return {entry.step: entry.details for entry in job.report}


def test_a_binary_depthwise_convolution_converts_only_where_that_is_allowed(tmp_path: Path):
    with pytest.raises(ElLarqError, match=r"\[binary-depthwise\] depthwise_conv: runs as DEPTHWISE_CONV_2D"):
        convert(tmp_path, METHODS["el"])
    details = convert(tmp_path, METHODS["el"], ("binary-depthwise",))
    assert (details["audit"]["binary"], details["audit"]["meant_binary"]) == (1, 2)
    assert details["verify"]["failures"] == ()


# --- MoBiNet's block ------------------------------------------------------------------------------------------------------


def test_the_mid_blocks_shortcuts():
    """unit(3x3) + skip, unit(1x1 M -> N) without, unit(1x1 N -> N) + skip, as long as the link is none."""
    model = small("mobilenet", "binary", variant="mid")
    assert inputs_of(model, "block3_conv1_shortcut") == ["block2_conv3_shortcut", "block3_conv1_norm"]
    assert inputs_of(model, "block2_conv1_shortcut")[0] == "block2_conv1_pool"
    assert inputs_of(model, "block3_conv2_conv") == ["block3_conv1_shortcut"]
    assert not has(model, "block3_conv2_shortcut")
    assert inputs_of(model, "block3_conv3_shortcut") == ["block3_conv2_norm", "block3_conv3_norm"]
    assert len(layers_of(model, keras.layers.Add)) == 26


def test_the_mid_block_with_a_residual_link_has_no_link_where_the_paper_has_no_skip():
    model = small("mobilenet", "bireal", variant="mid")
    # Block 3 keeps its 16 channels, so an identity would fit around its 1x1 M -> N as well.
    assert has(model, "block3_conv1_link")
    assert not has(model, "block3_conv2_link")
    assert has(model, "block3_conv3_link")
    assert has(model, "block2_conv1_shortcut")


def test_elastic_links_go_around_all_three_and_replace_the_skips():
    model = small("mobilenet", "el", variant="mid")
    assert len(layers_of(model, ElasticLink)) == 39
    assert not layers_of(model, keras.layers.Add)


@pytest.mark.parametrize(
    ("width", "arguments", "groups"), [(1 / 8, {}, 2), (1 / 32, {"channels_per_group": 8}, 2), (1 / 32, {}, 1)]
)
def test_k_channels_are_in_each_group(width: float, arguments: dict[str, Any], groups: int):
    """In block 8, of 64 channels at one eighth and 16 at one thirty-second; K is 32 unless given."""
    model = small("mobilenet", "binary", variant="mid", **({} if width == 1 / 8 else {"width": width}), **arguments)
    channels = round(512 * width)
    parts = [layer for layer in layers_of(model, larq.layers.QuantConv2D) if layer.name.startswith("block8_conv1_")]
    assert [layer.kernel.shape[:-1].as_list() for layer in parts] == [[3, 3, channels // groups]] * groups
    assert sum(layer.filters for layer in parts) == channels


def test_any_k_becomes_one_operator_a_group(tmp_path: Path):
    """Also K = 4, where LCE packs four channels into a word of 32."""
    method = METHODS["binary"]
    image: Any = keras.Input((6, 6, 8))
    x = method.unit(image, Conv("grouped", 8, 3, groups=2))
    model: Any = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    path = tmp_path / "model.keras"
    model.save(path)
    job = el_larq.convert(path, tmp_path / "model.tflite", options=Options(verify_images=16))
    details = {entry.step: entry.details for entry in job.report}
    assert details["audit"]["binary"] == details["audit"]["meant_binary"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depthwise": "reall"}, "unknown depthwise 'reall'; did you mean real"),
        ({"channels_per_group": 8}, "option of the block variant 'mid'; add --variant mid"),
        ({"variant": "mid", "depthwise": "real"}, "'mid' has no depthwise convolution; omit --depthwise"),
        ({"variant": "mid", "channels_per_group": 0}, "a group has at least 1 channel; got 0"),
        ({"variant": "mid", "channels_per_group": 3}, "block1: 4 channels cannot be divided into groups of 3"),
        ({"variant": "pre"}, "'mobilenet' has no block variant 'pre'; it offers mid"),
        ({"downsample": "real"}, "'mobilenet' has no option 'downsample'; it takes stem, depthwise, channels_per_group"),
        ({"stem": "quicknet"}, "unknown stem 'quicknet'"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        small("mobilenet", "binary", **arguments)
