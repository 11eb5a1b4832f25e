r"""Bi-Real Net: an identity shortcut around each binary convolution, and a closer gradient of the sign.

Forward: z = conv(sign(x), alpha * sign(W)), alpha = mean|W| per filter (detached), y = BN(z) + x where the shapes agree.
Gradient of the input's sign: 2 - 2|x| within one, the derivative of a piecewise quadratic. Gradient of the kernel's sign:
alpha within one.

Reference: Liu, Wu, Luo, Yang, Liu, Cheng: Bi-Real Net, ECCV 2018, arXiv 1808.00278, and the authors' repository.

What is chosen here: latent kernels are clipped to [-1, 1] after each step and start as Glorot's normal distribution has it; the
repository starts them as 0.001 times random numbers. Padding is +1, which stays a binary value. Bi-Real-50's two streams are the
bottleneck networks' block variant `two_stream`. Training is a recipe's matter.

Deployment: alpha and the normalization are the multiplier and bias of `LceBconv2d`, the link an ADD. Nothing else is left.
"""

from el_larq.links.registry import LINKS
from el_larq.methods.method import Method

METHOD = Method(
    name="bireal",
    summary="identity shortcut around each convolution, piecewise quadratic gradient, magnitude-aware kernels",
    reference="Liu, Wu, Luo, Yang, Liu, Cheng: Bi-Real Net, ECCV 2018, arXiv 1808.00278",
    year=2018,
    link=LINKS["identity"],
    input_quantizer="approx_sign",
    kernel_quantizer="magnitude_aware_sign",
    kernel_constraint="weight_clip",
)
