r"""ReActNet: learned thresholds before the sign, and an activation with a learned turning point.

Forward, for one convolution with input x:

    s = sign(x + t)                            RSign: one learned t per channel
    z = conv(s, alpha * sign(W))               alpha = mean|W| per filter
    u = BN(z) + x                              the identity link, where the shapes agree
    y = RPReLU(u + shortcut)                   f(u + b) + c, with f a PReLU; a, b, c learned per channel

The block's own shortcut, where the network passes one to this unit (at a change of shape), joins before the activation.

Gradient. The input's sign has the slope 2 - 2|v| where |v| < 1, with v = x + t, and 0 elsewhere. The gradient of t is that
of x through the sign, summed over images and positions. Each kernel's sign has the slope alpha where |W| <= 1 and 0 elsewhere, with
alpha as a constant. `el_larq.layers.RPReLU` gives the activation's gradient.

Reference: Liu, Shen, Savvides, Cheng: ReActNet, ECCV 2020, arXiv 2003.03488, and the authors' code.

What the source leaves open, and differences from the authors' code:

- t, b and c start at 0; the slope of f at 0.25, PyTorch's default, which the code does not override.
- The code pads with 0 between the signs; here the padding is +1, which is a binary value. The sign of 0 is +1, not 0.
- Kernels are initialized with Glorot's normal distribution and clipped to [-1, 1] after each step; the code initializes them with
  0.001 times uniform numbers and does not clip.
- A unit whose convolution stays real-valued (ReActNet-B and -C have some) has no t: there is no sign to shift.
- Its two-stage training, with real-valued kernels first and a distributional loss, is the recipe `two-stage`.

Deployment: alpha and the normalization become the multiplier and bias of `LceBconv2d`. Of the shifts t, b and c, the step
`fold` leaves the ADD before the sign: b moves into the convolution's bias, and c into t and the other consumers of y. The PReLU
remains a PRELU, the link an ADD. A converted ResNet18 has 16 `LceBconv2d`, 16 PRELU and no MUL. Its 35 ADD are 16 shortcuts, 16
shifts before signs, and 3 shifts of the inputs of the real-valued shortcuts.
"""

from typing import TYPE_CHECKING

from el_larq.conv import Conv
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

if TYPE_CHECKING:
    import tensorflow as tf


def _shift(x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
    from el_larq.layers import ChannelShift

    return y if conv.real else ChannelShift(name=f"{conv.name}_shift")(y)


def _rprelu(x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
    from el_larq.layers import RPReLU

    return RPReLU(name=f"{conv.name}_rprelu")(y)


METHOD = Method(
    name="reactnet",
    summary="a learned shift before each sign, an identity shortcut, and a PReLU shifted before and after",
    reference="Liu, Shen, Savvides, Cheng: ReActNet, ECCV 2020, arXiv 2003.03488",
    year=2020,
    link=LINKS["identity"],
    input_quantizer="approx_sign",
    kernel_quantizer="magnitude_aware_sign",
    kernel_constraint="weight_clip",
    order=("shift", "conv", "norm", "link", "shortcut", "rprelu"),
    stages={"shift": _shift, "rprelu": _rprelu},
    extra_cost="one addition before the sign, one PReLU after the link",
)
