"""The plain binary convolution: sign of the input, sign of the kernel, batch normalization, and no link.

Forward: z = conv(sign(x), sign(W)), y = BN(z). Gradient, for both signs, straight through on [-1, 1]:
dL/dx = dL/dsign(x) * 1[|x| <= 1]. It is the baseline that shows what a link adds.
"""

from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

METHOD = Method(
    name="binary",
    summary="sign on input and kernel, straight-through gradient, no link: the baseline to measure a link against",
    reference="Hubara, Courbariaux, Soudry, El-Yaniv, Bengio: Binarized Neural Networks, NIPS 2016",
    year=2016,
    link=LINKS["none"],
    input_quantizer="ste_sign",
    kernel_quantizer="ste_sign",
    kernel_constraint="weight_clip",
)
