"""Elastic-Link: the real-valued input of every binary convolution, squeezed or expanded to fit, is added to its output.

    z = K * conv(sign(x), alpha * sign(W))
    y = BN(z) + gamma * align(x)         placement "after_norm", the default here
    y = BN(z + gamma * align(x))         placement "before_norm"

alpha = mean|W| per filter (detached from the gradient) with option `alpha`, else 1. K is XNOR-Net's scale of the activations where
option `k` enables it, see `el_larq.layers.activation_scale`, else 1. Both are off by default: after the norm, alpha does not change
the output, and before the norm both decide how z and the link compare in size.

`el_larq.layers.elastic_link` defines the link. The paper's text is not available, so these are choices of this project: where the
link joins, the initial value and shape of gamma (`--placement`, `--gamma`, `--gamma-per-channel`), the scales (the options `alpha`
and `k`), and, without an option, the quantizers and the average over the stride. gamma starts at min(1, C_out / C_in), which makes
the sum of a squeeze a mean. In a block that also has a shortcut it starts at half
of that, since features that are carried twice would grow with every block.
"""

from typing import TYPE_CHECKING, Literal

from el_larq.conv import Conv
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

if TYPE_CHECKING:
    import tensorflow as tf


def make(alpha: bool = False, k: Literal["off", "1x1", "3x3", "all"] = "off") -> Method:
    def convolve(x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
        from el_larq.methods import stages

        return stages.scale_by_input(y, stages.convolve(method, y, conv), conv, k)

    which = "" if k == "all" else " of 1x1 kernels" if k == "1x1" else " of larger kernels"
    method = Method(
        name="el",
        summary="the input of each binary convolution, squeezed or expanded and weighted by gamma, added to its output",
        reference="Hu, Wu, Tan, Lu, Zeng, Wu: Elastic-Link for Binarized Neural Networks, AAAI 2022, arXiv 2112.10149",
        year=2022,
        link=LINKS["elastic"],
        input_quantizer="ste_sign",
        kernel_quantizer="magnitude_aware_sign" if alpha else "ste_sign",
        kernel_constraint="weight_clip",
        stages={} if k == "off" else {"conv": convolve},
        options={"alpha": alpha, "k": k},
        extra_cost="" if k == "off" else f"K{which}: channel means, a box filter, one multiplication",
    )
    return method


METHOD = make()
