"""MoBiNet: the binary convolutions of a MobileNet, each with a PReLU, in blocks with shortcuts.

    y = BN(PReLU(conv(sign(x), sign(W)))) + x          the shortcut where the block has one
    PReLU(z) = max(z, 0) + a * min(z, 0)               one trained slope per channel

Gradient, straight through on [-1, 1] for both signs; PReLU is differentiated exactly:

    dL/dx = dL/dsign(x) * 1[|x| <= 1] + dL/dy          the second term where there is a shortcut
    dL/dW = dL/dsign(W) * 1[|W| <= 1]
    dL/da = sum of dL/dPReLU(z) * min(z, 0)            over images and pixels

The block is the variant `mid` of the network `mobilenet`, which this method uses by default: a 3x3 convolution in groups with a
shortcut, a 1x1 convolution M -> N without one, and a 1x1 convolution N -> N with one.

Reference: Phan, Huynh, He, Savvides, Shen: MoBiNet: A Mobile Binary Network for Image Classification, WACV 2020, arXiv
1907.12629. Published ImageNet top-1: 54.4; from memory, with K = 4 channels per group of the 3x3 convolution.

The paper's text was not available and its authors released no code; the block follows the only implementation found, which is by
others. Choices made here:

- `norm`: "last" (default) puts PReLU before the normalization, the order of that implementation.
  "first" normalizes before PReLU, which costs less (below).
- `slope`: slopes start at 0.25, the value used by PReLU's authors and most libraries.
- The signs and their gradients are those of `binary`, without scales: a normalization follows.
- Latent weights are clipped to [-1, 1] after each step.

Deployment: one LceBconv2d per convolution, or per group of one: LCE's default kernel does not support grouped convolutions, and its
groups would need a multiple of 32 channels each; `mobilenet` describes how K is lowered. PReLU stays real-valued, one PRELU per
convolution. With the normalization last, it cannot become part of the convolution. By itself it is a MUL and an ADD in addition to
the PRELU; `fold` moves positive scales through the PReLU, which leaves PRELU and ADD. With the normalization first, it is part of
the convolution, and only the PRELU remains.
"""

from math import isfinite
from typing import TYPE_CHECKING, Literal

from el_larq.conv import Conv
from el_larq.errors import UsageError
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

if TYPE_CHECKING:
    import tensorflow as tf


def make(norm: Literal["last", "first"] = "last", slope: float = 0.25) -> Method:
    """MoBiNet with its normalization after the PReLU ("last") or before it ("first"), and slopes that start at ``slope``."""
    if not isfinite(slope):
        raise UsageError(f"option slope must be a finite number; got {slope:g}")

    def prelu(x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
        from el_larq.methods import stages

        return stages.prelu(y, conv.name, slope)

    middle = ("prelu", "norm") if norm == "last" else ("norm", "prelu")
    left = "PRELU, ADD (and MUL where a scale is not positive)" if norm == "last" else "PRELU"
    return Method(
        name="mobinet",
        summary="one PReLU per convolution, in MobileNet's mid-block: grouped 3x3, 1x1, 1x1 with shortcuts",
        reference="Phan, Huynh, He, Savvides, Shen: MoBiNet, WACV 2020, arXiv 1907.12629",
        year=2020,
        link=LINKS["identity"],
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        order=("conv", *middle, "link", "shortcut", "activation"),
        stages={"prelu": prelu},
        options={"norm": norm, "slope": slope},
        extra_cost=f"{left} after each convolution",
        variant="mid",
    )


METHOD = make()
