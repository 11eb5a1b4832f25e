"""Elastic-Link: the real-valued input of every binary convolution, squeezed or expanded to fit, is added to its output.

    z = conv(sign(x), sign(W))
    y = BN(z) + gamma * align(x)         placement "after_norm", the default here
    y = BN(z + gamma * align(x))         placement "before_norm"

`el_larq.layers.elastic_link` defines the link. The paper's text is not available: where the link joins, the initial value
and shape of gamma, the quantizers and the alignment at stride 2 are choices of this project, available as options. gamma starts at
min(1, C_out / C_in), which makes the sum of a squeeze a mean. In a block that also has a shortcut it starts at half of that, since
features that are carried twice would grow with every block.
"""

from el_larq.links.registry import LINKS
from el_larq.methods.method import Method

METHOD = Method(
    name="el",
    summary="the input of each binary convolution, squeezed or expanded and weighted by gamma, added to its output",
    reference="Hu, Wu, Tan, Lu, Zeng, Wu: Elastic-Link for Binarized Neural Networks, AAAI 2022, arXiv 2112.10149",
    year=2022,
    link=LINKS["elastic"],
    input_quantizer="ste_sign",
    kernel_quantizer="ste_sign",
    kernel_constraint="weight_clip",
)
