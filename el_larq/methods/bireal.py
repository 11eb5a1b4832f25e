r"""Bi-Real Net: an identity shortcut around each binary convolution, and a closer approximation of the sign's gradient.

Forward: z = conv(sign(x), alpha * sign(W)), alpha = mean|W| per filter (detached), y = BN(z) + x where the shapes agree.
Gradient of the input's sign: 2 - 2|x| where |x| <= 1, the derivative of a piecewise quadratic. Gradient of the kernel's sign:
alpha where |W| <= 1.

Reference: Liu, Wu, Luo, Yang, Liu, Cheng: Bi-Real Net, ECCV 2018, arXiv 1808.00278, and the authors' repository.

Choices made here: latent kernels are clipped to [-1, 1] after each step and initialized with Glorot's normal distribution; the
repository initializes them with 0.001 times random numbers. Padding is +1, which is a binary value. The two streams of Bi-Real-50
are the block variant `two_stream` of the bottleneck networks. The training schedule is up to the recipe.

Deployment: alpha and the normalization become the multiplier and bias of `LceBconv2d`, the link an ADD. Nothing else remains.
"""

from el_larq.links.link_registry import LINKS
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
