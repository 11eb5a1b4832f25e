r"""XNOR-Net++: one learned scale of the output in place of XNOR-Net's two computed ones.

Forward, of one convolution with input x, normalized first as in XNOR-Net:

    z = conv(sign(BN(x)), sign(W))
    y = Gamma * z

Gamma is learned, the same for every image, and of one of four shapes (option `shape`), C, H, W those of the output:

    c          alpha[c]                         learned values: C
    chw        Gamma[h, w, c] itself            C * H * W
    c_hw       alpha[c] * beta[h, w]            C + H * W
    c_h_w      alpha[c] * beta[h] * delta[w]    C + H + W, the default

Gradient. Both signs have the slope 1 within one and 0 outside. z gets Gamma * dL/dy. With G = sum over images of z * dL/dy, a
factor of Gamma gets the sum, over the axes that it does not have, of G times the other factors.

Reference: Bulat, Tzimiropoulos: XNOR-Net++, BMVC 2019, arXiv 1909.13863.

What was left open, and what was chosen:

- The shapes go by what they are, since sources number them differently. The paper's best is, as far as known here, c_h_w.
- All factors start at one.
- Where the normalization stands was not available. Behind the convolution it would divide alpha out again; so it stands where
  XNOR-Net, whose factors Gamma replaces, has it: before the sign.
- A convolution that stays real-valued has no Gamma: its kernel has a scale already. A depthwise one has it as any other.
- No activation function, and no link: the block's own shortcut is the network's.
- All shapes but c need a fixed size of the image, in training already.

Deployment: alpha is the multiplier of `LceBconv2d`, so shape c costs nothing. Each of the others leaves one MUL on the whole
output: c_hw and c_h_w by H * W constants, chw by C * H * W, which at 56x56 with 64 channels are 0.8 MB a layer, more than the
binary kernel's 4.6 kB. The MUL is done on a view of positions by channels: right behind a binary convolution, LCE's converter
takes a factor of several dimensions for one by channel and makes a file that does not load. The normalization before the sign
becomes one ADD where all its scales are positive, else a MUL and an ADD. A converted ResNet18 has, with the default shape, 16
`LceBconv2d`, 16 MUL by position and 24 ADD, 8 of which are the blocks' shortcuts.
"""

from typing import TYPE_CHECKING, Literal

from el_larq.conv import Conv
from el_larq.links.registry import LINKS
from el_larq.methods.method import Method

if TYPE_CHECKING:
    import tensorflow as tf


def make(shape: Literal["c", "chw", "c_hw", "c_h_w"] = "c_h_w") -> Method:
    def scale(x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
        from el_larq.layers import LearnedScale

        return y if conv.real else LearnedScale(shape, name=f"{conv.name}_scale")(y)

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
        options={"shape": shape},
        extra_cost="one addition before the sign" + ("" if shape == "c" else ", one multiplication by position behind"),
    )


METHOD = make()
