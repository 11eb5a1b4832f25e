"""The real-valued baseline: what a network is before anything is binarized."""

from el_larq.methods.link import LINKS
from el_larq.methods.method import Method

METHOD = Method(
    name="float",
    summary="real-valued convolutions with ReLU: the baseline to measure the loss against",
    reference="He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016",
    year=2016,
    link=LINKS["none"],
    activation="relu",
    published={
        "mobilenet": (70.6, "Elastic-Link poster, table 1"),
        "resnet18": (69.3, "Elastic-Link poster, table 1"),
        "resnet34": (71.5, "Elastic-Link poster, table 1"),
        "resnet26": (72.5, "Elastic-Link poster, table 1"),
        "resnet50": (75.9, "Elastic-Link poster, table 1"),
    },
)
