r"""BinaryE, as in ResNetE and BinaryDenseNet: plain signs with a wider gradient window, and one shortcut per convolution.

Forward, for one convolution with input x:

    z = conv(sign(x), sign(W))
    y = BN(z) + x               the identity link, where the shapes agree

Gradient. Both signs have the slope 1 where the magnitude of their argument is at most `clip`, 1.3 by default, and 0 elsewhere.

The authors conclude that scaling factors and custom gradients matter little, but that shortcuts do, and so does a real-valued
convolution where the shape changes: networks have the latter with ``downsample="real"``, their default.

Reference: Bethge, Yang, Bornstein, Meinel: Back to Simplicity, 2019, arXiv 1906.08637, and the authors' framework BMXNet.

What the source leaves open, and the choices made here:

- `clip` = 1.3 (default) is the value of the authors' extended runs; their framework's default is 1. Latent kernels are clipped to
  [-clip, clip] after each step, so that no weight gets stuck where its gradient is zero.
- BMXNet pads with -1 and counts the equal bits of a window, (z + n) / 2; the normalization that follows makes this equivalent to z.
  Here the padding is +1, the only binary padding value that LCE supports.
- Normalization of the input image and around the stem is up to the network, not the method.

Deployment: the normalization becomes the multiplier and bias of `LceBconv2d`, the link an ADD. Nothing else remains: a converted
ResNet18 has 16 `LceBconv2d` and 16 ADD.
"""

from el_larq.errors import UsageError
from el_larq.links.link_registry import LINKS
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
