"""Variant linked_pair: one Elastic-Link around the first two convolutions of a bottleneck block."""

import numpy as np
import pytest
from structure import inputs_of, layers_of, small

from el_larq.errors import UsageError
from el_larq.layers import ElasticLink


def test_the_link_carries_the_input_of_the_block_over_two_convolutions():
    model = small("resnet26", variant="linked_pair")
    names = {link.name for link in layers_of(model, ElasticLink)}
    assert names == {f"stage{s}_block{b}_conv{c}_link" for s in (1, 2, 3, 4) for b in (1, 2) for c in (2, 3)}
    for block, source in (("stage2_block1", "stage1_block2"), ("stage2_block2", "stage2_block1")):
        assert inputs_of(model, f"{block}_conv2_link") == [f"{source}_conv3_shortcut", f"{block}_conv2_norm"]
        assert inputs_of(model, f"{block}_conv2_conv") == [f"{block}_conv1_norm"]
        assert inputs_of(model, f"{block}_conv3_link") == [f"{block}_conv2_link", f"{block}_conv3_norm"]


def test_its_output_is_that_of_the_definition():
    """z + gamma * x, with x averaged over the stride and the second half of its channels added to the first."""
    model = small("resnet26", variant="linked_pair")
    link = model.get_layer("stage2_block1_conv2_link")
    random = np.random.default_rng(0)
    x, z = (random.standard_normal(shape).astype(np.float32) for shape in ((2, 16, 16, 32), (2, 8, 8, 16)))
    averaged = x.reshape(2, 8, 2, 8, 2, 32).mean(axis=(2, 4))
    expected = z + float(link.gamma) * averaged.reshape(2, 8, 8, 2, 16).sum(3)
    np.testing.assert_allclose(link([x, z]), expected, rtol=1e-5, atol=1e-5)


def test_without_a_link_it_is_the_standard_block():
    ours, standard = (small("resnet26", "binary", variant=variant) for variant in ("linked_pair", None))
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in standard.weights]


def test_only_bottleneck_blocks_have_pairs():
    with pytest.raises(UsageError, match="'resnet18' has no block variant 'linked_pair'; it offers none"):
        small("resnet18", variant="linked_pair")
