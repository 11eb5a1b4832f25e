from dataclasses import replace
from typing import Any

import larq
import pytest
import tf_keras as keras
from structure import inputs_of, layers_of, sizes, small

from el_larq.errors import UsageError
from el_larq.layers import ElasticLink
from el_larq.methods.method_registry import METHODS
from el_larq.models.build import build
from el_larq.models.densenet import densenet


def test_every_layer_appends_to_its_input():
    model = small("densenet28")
    assert sizes(model) == [16, 8, 4, 2]
    assert inputs_of(model, "stage1_layer1_concatenate") == ["stem_conv_norm", "stage1_layer1_conv_link"]
    assert inputs_of(model, "stage1_layer2_conv_link") == ["stage1_layer1_concatenate", "stage1_layer2_conv_norm"]
    for stage, count in enumerate((6, 6, 6, 5)):
        channels = [model.get_layer(f"stage{stage + 1}_layer{i + 1}_conv_conv").input_shape[-1] for i in range(count)]
        assert channels == [channels[0] + 8 * i for i in range(count)]
    assert len(layers_of(model, ElasticLink)) == len(layers_of(model, larq.layers.QuantConv2D)) == 23


def test_transitions_round_to_multiples_of_32_times_the_width():
    """At full width 448 / 2.7 -> 160, 544 / 2.7 -> 192, 576 / 2.2 -> 256: eighths of these."""
    model = small("densenet28")
    assert [model.get_layer(f"transition{i}_conv").filters for i in (1, 2, 3)] == [20, 24, 32]
    order = ["transition1_norm", "transition1_pool", "transition1_relu", "transition1_conv"]
    assert [inputs_of(model, name)[0] for name in order] == ["stage1_layer6_concatenate", *order[:-1]]


def test_signs_follow_a_normalization_and_no_relu():
    """Behind a ReLU all signs are the same: only methods that normalize before the convolution have one there."""
    behind = small("densenet28")
    before: Any = build(
        "densenet28",
        replace(METHODS["binary"], order=("norm", "conv", "shortcut")),
        input_shape=(16, 16, 1),
        num_classes=10,
        width=0.125,
    )
    assert inputs_of(behind, "stage1_layer1_conv_conv") == ["stem_conv_norm"]
    assert inputs_of(behind, "stage2_layer1_conv_conv") == ["transition1_conv_norm"]
    assert inputs_of(before, "stage1_layer1_conv_norm") == ["stem_conv_activation"]
    assert inputs_of(before, "stage2_layer1_conv_norm") == ["transition1_conv"]
    assert inputs_of(before, "stage2_layer1_conv_conv") == ["stage2_layer1_conv_norm"]


def test_binary_transitions_are_units_on_values_of_both_signs():
    model = small("densenet28", downsample="binary")
    assert inputs_of(model, "transition1_conv") == ["transition1_pool"]
    assert inputs_of(model, "transition1_pool") == ["stage1_layer6_concatenate"]
    assert isinstance(model.get_layer("transition1_conv"), larq.layers.QuantConv2D)
    with pytest.raises(UsageError, match="unknown downsample 'bin'"):
        small("densenet28", downsample="bin")


def test_a_bottleneck_layer():
    """1x1 to four times the growth and 3x3 to the growth, both linked, whatever the ratio of their channels."""
    image: Any = keras.Input((8, 8, 1))
    model: Any = keras.Model(
        image, densenet(image, 10, METHODS["el"], layers=(2, 1), reductions=(2,), growth=32, bottleneck=True, width=0.125)
    )
    assert len(layers_of(model, larq.layers.QuantConv2D)) == len(layers_of(model, ElasticLink)) == 6
    assert model.get_layer("stage1_layer2_conv1_conv").kernel.shape == (1, 1, 12, 16)
    assert model.get_layer("stage1_layer2_conv2_conv").kernel.shape == (3, 3, 16, 4)
    assert inputs_of(model, "stage1_layer2_concatenate") == ["stage1_layer1_concatenate", "stage1_layer2_conv2_link"]


@pytest.mark.slow
def test_densenet121_at_full_depth():
    model = small("densenet121")
    assert len(layers_of(model, larq.layers.QuantConv2D)) == len(layers_of(model, ElasticLink)) == 2 * (6 + 12 + 24 + 16)
    assert [model.get_layer(f"transition{i}_conv").filters for i in (1, 2, 3)] == [16, 32, 64]
    assert model.get_layer("final_norm").output_shape[-1] == 128


@pytest.mark.parametrize(("size", "after"), [(2, [2, 1]), (5, [5, 3, 2, 1])])
def test_tiny_and_odd_maps_pass_the_transitions(size: int, after: list[int]):
    image: Any = keras.Input((size, size, 1))
    logits = densenet(image, 10, METHODS["binary"], layers=(1, 1, 1, 1), reductions=(2, 2, 2), growth=8)
    assert sizes(keras.Model(image, logits)) == after
