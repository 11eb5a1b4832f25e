from typing import Any

import larq
import pytest
from structure import inputs_of, layers_of, sizes, small

from el_larq.counting.counts import count
from el_larq.errors import UsageError
from el_larq.layers import ElasticLink
from el_larq.models.googlenet import MODULES


def test_every_convolution_of_a_module_is_a_linked_unit():
    model = small("googlenet")
    assert sizes(model) == [16, 8, 4, 2]
    binary = layers_of(model, larq.layers.QuantConv2D)
    assert len(binary) == len(layers_of(model, ElasticLink)) == 6 * 9
    assert all(layer.name.startswith("inception") for layer in binary)
    joined = ["inception3b_1x1_link", "inception3b_3x3_link", "inception3b_5x5_link", "inception3b_pooled_link"]
    assert inputs_of(model, "inception3b_concatenate") == joined
    for branch in ("1x1", "3x3_reduce", "5x5_reduce"):
        assert inputs_of(model, f"inception3b_{branch}_conv") == ["inception3a_concatenate"]
        assert inputs_of(model, f"inception3b_{branch}_link")[0] == "inception3a_concatenate"
    assert inputs_of(model, "inception3b_pooled_conv") == inputs_of(model, "inception3b_pooled_link")[:1] == ["inception3b_pool"]
    assert inputs_of(model, "inception4a_1x1_conv") == ["inception4a_input_pool"]
    assert model.get_layer("inception3a_5x5_conv").kernel_size == (5, 5)


def test_signs_do_not_follow_a_relu():
    """The stem's last convolution ends without one, which the pooling before the first module keeps."""
    model = small("googlenet", "binary")
    assert inputs_of(model, "inception3a_1x1_conv") == ["stem_pool2"]
    assert inputs_of(model, "stem_pool2") == ["stem_conv2_norm"]


def test_operations_by_hand():
    """16x16 in, so 8, 4 and 2 pixels in modules 3, 4 and 5; channels an eighth of the paper's."""
    bops, channels = 0, 24
    for name, plan in MODULES.items():
        one, three_reduce, three, five_reduce, five, pooled = (count // 8 for count in plan)
        area = {"3": 64, "4": 16, "5": 4}[name[0]]
        bops += area * (channels * (one + three_reduce + five_reduce + pooled) + 9 * three_reduce * three + 25 * five_reduce * five)
        channels = one + three + five + pooled
    assert channels == 128
    counts = count(small("googlenet"))
    assert counts.bops == bops
    assert counts.flops == 256 * (9 * 8 + 8 * 8 + 9 * 8 * 24) + 128 * 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"downsample": "binary"}, "'googlenet' has no option 'downsample'; it takes stem"),
        ({"stem": "nothing"}, "unknown stem 'nothing'"),
        ({"input_shape": (3, 3, 1), "stem": "imagenet"}, "use --stem cifar"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        small("googlenet", "binary", **arguments)
