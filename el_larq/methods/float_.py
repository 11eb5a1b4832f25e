"""The real-valued baseline: the network before anything is binarized."""

from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

METHOD = Method(
    name="float",
    summary="real-valued convolutions with ReLU: the baseline to measure the loss against",
    reference="He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016",
    year=2016,
    link=LINKS["none"],
    activation="relu",
)
