r"""XNOR-Net: kernels scaled by their mean magnitude and, optionally, activations scaled by theirs.

Forward, for one convolution with input x, which is normalized first:

    v = BN(x)
    z = conv(sign(v), alpha * sign(W))       alpha = mean|W| per filter
    y = K * z                                where option `k` enables it, else y = z

K is, at each position, the mean of |v| over the channels and the kernel's window: A = mean over channels of |v|,
then K = A convolved with a box filter of the kernel's size whose values sum to one. For a 1x1 convolution K = A.

Gradient. The input's sign has the slope 1 where |v| <= 1, else 0. K is differentiated exactly. The gradient of a kernel has
three forms (option `gradient`), with g = dL/d(alpha * sign(W)), n weights in a filter, c_i = 1 where |W_i| <= 1, else 0:

    derived    (1 / n) * sign(W_i) * sum_j g_j * sign(W_j) + alpha * c_i * g_i      the first factor sign(W_i) is 0 at W_i = 0
    released   (alpha * c_i + 1 / n) * (1 - 1 / C_in) * g_i
    detached   alpha * c_i * g_i

Reference: Rastegari, Ordonez, Redmon, Farhadi: XNOR-Net, ECCV 2016, arXiv 1603.05279, and the released code.

What the source leaves open, and the choices made here:

- `k` = off (default), 1x1, 3x3 (all kernels larger than 1x1) or all. The released AlexNet does not use K, so it is off.
  Elastic-Link's authors study where K helps; their result is not available.
- For a depthwise convolution, K is the box filter of each channel's own |v|, since that is all its filter sees. With groups there
  is one K per group. A convolution that stays real-valued has no K, since it needs none.
- A is padded with zeros, as in the formula; the binary convolution itself is padded with +1, which is a binary value.
- `gradient` = derived (default), since it is the gradient of what is computed. The released form keeps one term of the sum. Its
  factor of C_in exists because the code subtracts the mean over the input channels from the kernel at each step. That subtraction
  is omitted here, and the factor is dropped where there is one input channel. The code's additional factor n for SGD is left to
  the learning rate.
- The normalization has scale and shift; the released AlexNet's has neither, and uses an epsilon of 1e-4 instead of 1e-5.
- No activation function follows the convolution, and there is no link: the only shortcut is the block's own.

Deployment: alpha is the multiplier of `LceBconv2d`. The normalization before the sign becomes one ADD if all its
scales are positive, else a MUL and an ADD; directly after another binary convolution, without K and link, it is folded into that.
A converted ResNet18 has 16 `LceBconv2d` and 16 ADD, 8 of which are the blocks' shortcuts, and no MUL. With K, which also needs the
magnitudes, each normalization is a MUL and an ADD. K itself takes ABS, MEAN (not for depthwise), for kernels larger than 1x1
PAD and AVERAGE_POOL_2D, and a MUL of the whole output.
"""

from typing import TYPE_CHECKING, Literal

from el_larq.conv import Conv
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

if TYPE_CHECKING:
    import tensorflow as tf


def make(
    k: Literal["off", "1x1", "3x3", "all"] = "off", gradient: Literal["derived", "released", "detached"] = "derived"
) -> Method:
    def quantizer() -> object:
        from el_larq.quantizers import ScaledSign

        return ScaledSign(gradient)

    def convolve(x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
        from el_larq.methods import stages

        return stages.scale_by_input(y, stages.convolve(method, y, conv), conv, k)

    extra = "at most one addition before the sign"
    if k != "off":
        which = "" if k == "all" else " of 1x1 kernels" if k == "1x1" else " of larger kernels"
        extra = f"normalization before the sign, K{which}: channel means, a box filter, one multiplication"
    method = Method(
        name="xnor",
        summary="kernels scaled by their mean magnitude, normalization before the sign; activations scaled by K as an option",
        reference="Rastegari, Ordonez, Redmon, Farhadi: XNOR-Net, ECCV 2016, arXiv 1603.05279",
        year=2016,
        link=LINKS["none"],
        input_quantizer="ste_sign",
        kernel_quantizer=quantizer,
        kernel_constraint="weight_clip",
        order=("norm", "conv", "link", "shortcut", "activation"),
        stages={"conv": convolve},
        options={"k": k, "gradient": gradient},
        extra_cost=extra,
    )
    return method


METHOD = make()
