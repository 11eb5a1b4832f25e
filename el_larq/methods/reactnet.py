r"""ReActNet: learned thresholds before the sign, and an activation that learns where it turns.

Forward, of one convolution with input x:

    s = sign(x + t)                            RSign: one learned t a channel
    z = conv(s, alpha * sign(W))               alpha = mean|W| per filter
    u = BN(z) + x                              the identity link, where the shapes agree
    y = RPReLU(u + shortcut)                   f(u + b) + c, with f a PReLU; a, b, c learned by channel

The block's own shortcut, where the network hands one to this unit (at a change of shape), joins before the activation.

Gradient. The input's sign has the slope 2 - 2|v| where |v| < 1, with v = x + t, and 0 elsewhere. The slope of t is that
of x through the sign, summed over images and positions. Each kernel's sign has the slope alpha within one and 0 outside, with
alpha taken as a constant. `el_larq.layers.RPReLU` has the activation's.

Reference: Liu, Shen, Savvides, Cheng: ReActNet, ECCV 2020, arXiv 2003.03488, and the authors' code.

What was left open, and what was chosen:

- t, b and c start at 0; the slope of f at 0.25, PyTorch's default, which the code does not override.
- The code pads with 0 between the signs; here the padding is +1, which stays a binary value. The sign of 0 is +1, not 0.
- Kernels start as Glorot's normal distribution has it and are clipped to [-1, 1] after each step; the code starts them as
  0.001 times uniform numbers and clips nothing.
- A unit whose convolution stays real-valued (ReActNet-B and -C have such) has no t: there is no sign to shift.
- Its training in two stages, real-valued kernels first, under a distributional loss, is a matter of recipes and not part of
  this method.

Deployment: alpha and the normalization become the multiplier and bias of `LceBconv2d`. Of the shifts t, b and c, the step
`fold` leaves the ADD before the sign: b goes into the convolution's bias, c into t and into what else reads y. The PReLU stays a
PRELU, the link an ADD. A converted ResNet18 has 16 `LceBconv2d`, 16 PRELU and no MUL. Of its 35 ADD 16 are shortcuts, 16 shifts
before signs, and 3 shifts of what the real-valued shortcuts read.
"""

from typing import TYPE_CHECKING

from el_larq.conv import Conv
from el_larq.links.registry import LINKS
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
    extra_cost="one addition before the sign, one PReLU behind the link",
)
