r"""BinaryE, as ResNetE and BinaryDenseNet have it: plain signs whose gradients are clipped later, and a shortcut a convolution.

Forward, of one convolution with input x:

    z = conv(sign(x), sign(W))
    y = BN(z) + x               the identity link, where the shapes agree

Gradient. Both signs have the slope 1 where their argument is at most `clip` in magnitude, 1.3 by default, and 0 outside.

Its authors hold that scaling factors and custom gradients matter little, but shortcuts, and a real-valued convolution where the
shape changes, do: networks take the latter with ``downsample="real"``, their default.

Reference: Bethge, Yang, Bornstein, Meinel: Back to Simplicity, 2019, arXiv 1906.08637, and the authors' framework BMXNet.

What was left open, and what was chosen:

- `clip` = 1.3 (default) is the value of the authors' extended runs; their framework's default is 1. Latent kernels are clipped to
  [-clip, clip] after each step, so that none comes to rest where its gradient is zero.
- BMXNet pads with -1 and counts the equal bits of a window, (z + n) / 2; a normalization follows, which makes it the same as z.
  Here the padding is +1: LCE knows no other binary value.
- Normalization of the input image and around the stem is a network's matter, not the method's.

Deployment: the normalization is the multiplier and bias of `LceBconv2d`, the link an ADD. Nothing else is left: a converted
ResNet18 has 16 `LceBconv2d` and 16 ADD.
"""

from el_larq.errors import UsageError
from el_larq.links.registry import LINKS
from el_larq.methods.method import Method


def make(clip: float = 1.3) -> Method:
    if not 0 < clip < float("inf"):
        raise UsageError(f"option clip must be positive; got {clip:g}")

    def quantizer() -> object:
        import larq

        return larq.quantizers.SteSign(clip_value=clip)

    def constraint() -> object:
        import larq

        return larq.constraints.WeightClip(clip_value=clip)

    return Method(
        name="resnete",
        summary="plain signs with gradients clipped at 1.3, an identity shortcut around each convolution",
        reference="Bethge, Yang, Bornstein, Meinel: Back to Simplicity: How to Train Accurate BNNs from Scratch?, 2019, "
        "arXiv 1906.08637",
        year=2019,
        link=LINKS["identity"],
        input_quantizer=quantizer,
        kernel_quantizer=quantizer,
        kernel_constraint=constraint,
        options={"clip": clip},
    )


METHOD = make()
