import larq
import pytest
import tf_keras as keras
from structure import has, inputs_of, layers_of, small

from el_larq.errors import UsageError
from el_larq.layers import ElasticLink


def test_the_streams_are_the_shortcuts_of_a_residual_link():
    model = small("resnet26", "bireal", variant="two_stream")
    # Inside a stage: the 3x3's output of the last block, and that block's output.
    assert inputs_of(model, "stage1_block2_conv1_shortcut") == ["stage1_block1_conv2_link", "stage1_block2_conv1_norm"]
    assert inputs_of(model, "stage1_block2_conv1_conv") == ["stage1_block1_conv3_shortcut"]
    assert inputs_of(model, "stage1_block2_conv2_link") == ["stage1_block2_conv1_shortcut", "stage1_block2_conv2_norm"]
    assert inputs_of(model, "stage1_block2_conv3_shortcut") == ["stage1_block1_conv3_shortcut", "stage1_block2_conv3_norm"]


def test_where_a_stage_starts_the_streams_change_shape():
    model = small("resnet26", "bireal", variant="two_stream")
    assert inputs_of(model, "stage2_block1_conv1_shortcut") == ["stage2_block1_narrow_conv", "stage2_block1_conv1_norm"]
    assert inputs_of(model, "stage2_block1_narrow_conv") == ["stage1_block2_conv2_link"]
    assert model.get_layer("stage2_block1_narrow_conv").kernel.shape == (1, 1, 8, 16)
    assert inputs_of(model, "stage2_block1_conv2_shortcut") == ["stage2_block1_conv2_pool", "stage2_block1_conv2_norm"]
    assert inputs_of(model, "stage2_block1_conv3_shortcut")[0] == "stage2_block1_downsample_norm"
    assert inputs_of(model, "stage2_block1_downsample_pool") == ["stage1_block2_conv3_shortcut"]


def test_the_networks_first_convolution_is_real_valued_behind_a_leaky_clip():
    model = small("resnet26", "bireal", variant="two_stream")
    first = model.get_layer("stage1_block1_conv1_conv")
    assert not isinstance(first, larq.layers.QuantConv2D)
    assert inputs_of(model, first.name) == ["stage1_block1_leaky_clip"]
    assert not has(model, "stage1_block1_conv1_shortcut")
    assert len(layers_of(model, larq.layers.QuantConv2D)) == 23


@pytest.mark.parametrize(("method", "additions", "links"), [("binary", 23, 0), ("bireal", 18, 5), ("el", 15, 23 + 1)])
def test_each_convolution_but_the_first_has_a_shortcut(method: str, additions: int, links: int):
    """Seven at conv1, eight at conv3, and eight at conv2, of which an identity is five and an elastic link is all."""
    model = small("resnet26", method, variant="two_stream")
    shortcuts = [layer for layer in layers_of(model, keras.layers.Add) if layer.name.endswith("_shortcut")]
    assert len(shortcuts) == additions
    assert sum(layer.name.endswith("_link") for layer in model.layers) == links
    assert len(layers_of(model, ElasticLink)) == (links if method == "el" else 0)


def test_binary_downsample_convolutions_go_with_the_streams():
    model = small("resnet26", "el", variant="two_stream", downsample="binary")
    assert isinstance(model.get_layer("stage1_block1_downsample_conv"), larq.layers.QuantConv2D)


def test_basic_blocks_have_no_two_streams():
    with pytest.raises(UsageError, match="'resnet18' has no block variant 'two_stream'; it offers none"):
        small("resnet18", "bireal", variant="two_stream")
