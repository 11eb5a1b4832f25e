r"""XNOR-Net++: one learned scale of the output in place of the two scales that XNOR-Net computes.

Forward, for one convolution with input x, which is normalized first, as in XNOR-Net:

    z = conv(sign(BN(x)), sign(W))
    y = Gamma * z

Gamma is learned and the same for every image. It has one of four shapes (option `shape`), with C, H, W those of the output:

    c          alpha[c]                         learned values: C
    chw        Gamma[h, w, c] itself            C * H * W
    c_hw       alpha[c] * beta[h, w]            C + H * W
    c_h_w      alpha[c] * beta[h] * delta[w]    C + H + W, the default

Gradient. Both signs have the slope 1 on [-1, 1] and 0 elsewhere. dL/dz = Gamma * dL/dy. With G = sum over images of z * dL/dy, the
gradient of a factor of Gamma is G times the other factors, summed over the axes that the factor does not have.

Reference: Bulat, Tzimiropoulos: XNOR-Net++, BMVC 2019, arXiv 1909.13863.

What the source leaves open, and the choices made here:

- The shapes are named after their factors, since sources number them differently. To our knowledge the paper's best is c_h_w.
- `start` = unit (default): Gamma starts at 1 / sqrt(n), n the number of terms of a product, so that the outputs have a variance of
  one and the first loss is of order 1. It is the first factor that starts there; the others start at one. `start=one`: all do.
- The position of the normalization was not available. After the convolution it would cancel alpha, so it is before the sign, as in
  XNOR-Net, whose scales Gamma replaces.
- A convolution that stays real-valued has no Gamma: its kernel already has a scale. A depthwise binary one has Gamma.
- There is no activation function and no link: the only shortcut is the block's own.
- All shapes except c need a fixed image size, during training too.

Deployment: alpha is the multiplier of `LceBconv2d`, so shape c costs nothing. Each of the others leaves one MUL on the whole
output: c_hw and c_h_w by H * W constants, chw by C * H * W, which at 56x56 with 64 channels are 0.8 MB per layer, more than the
binary kernel's 4.6 kB. The MUL is applied to a view of shape (positions, channels): directly after a binary convolution, LCE's
converter mistakes a factor of several dimensions for a per-channel one and writes a file that does not load. The normalization
before the sign becomes one ADD where all its scales are positive, else a MUL and an ADD. A converted ResNet18 with the default
shape has 16 `LceBconv2d`, 16 MUL by position and 24 ADD, 8 of which are the blocks' shortcuts.
"""

from typing import TYPE_CHECKING, Literal

from el_larq.conv import Conv
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

if TYPE_CHECKING:
    import tensorflow as tf


def make(shape: Literal["c", "chw", "c_hw", "c_h_w"] = "c_h_w", start: Literal["unit", "one"] = "unit") -> Method:
    def scale(x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
        from el_larq.layers import LearnedScale

        if conv.real:
            return y
        channels = x.shape[-1]
        assert channels is not None
        terms = conv.kernel_size**2 * (1 if conv.depthwise else channels // conv.groups)
        return LearnedScale(shape, terms**-0.5 if start == "unit" and not conv.real_kernel else 1.0, name=f"{conv.name}_scale")(y)

    return Method(
        name="xnor_pp",
        summary="the output of each binary convolution times a learned scale by channel, row and column",
        reference="Bulat, Tzimiropoulos: XNOR-Net++: Improved Binary Neural Networks, BMVC 2019, arXiv 1909.13863",
        year=2019,
        link=LINKS["none"],
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        order=("norm", "conv", "scale", "link", "shortcut", "activation"),
        stages={"scale": scale},
        options={"shape": shape, "start": start},
        extra_cost="one addition before the sign" + ("" if shape == "c" else ", one multiplication by position after it"),
    )


METHOD = make()
