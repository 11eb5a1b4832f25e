"""The fourteen networks of Larq Zoo by name. Does not import TensorFlow.

They differ from the networks of `el_larq.models.network_registry` in that their binarization is part of their definition: no
method, link, width or stem applies. In return, Larq Zoo's published weights fit them, and its published figures are theirs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from el_larq.by_name import load_by_name
from el_larq.errors import unknown_name
from el_larq.published import Published, of_zoo

PREFIX = "zoo:"
"""Distinguishes these names from those of other networks, files and data sets."""


@dataclass(frozen=True)
class ZooNetwork:
    """A network of Larq Zoo.

    title: its name there.
    reference: the paper that introduced it, and ``summary``: its binarization in a line.
    builder: "module:function" of a function ``(input, num_classes, **arguments)`` from a Keras input to the logits, or to the
        features without the top if ``num_classes`` is None.
    arguments: the arguments that distinguish this member of the family from the others.
    binary: whether LCE can run its convolutions as binary ones.
    """

    name: str
    title: str
    summary: str
    reference: str
    builder: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    binary: bool = True

    @property
    def published(self) -> Published:
        """ "top-1", "top-5", "parameters" and "size", each with its source."""
        return of_zoo(self.name)

    def load_builder(self) -> Callable[..., Any]:
        return load_by_name(self.builder)


_QUICKNET = "Bannink et al.: Larq Compute Engine, MLSys 2021, arXiv 2011.09398"
_DENSENET = "Bethge, Yang, Bornstein, Meinel: Back to Simplicity: How to Train Accurate BNNs from Scratch?, arXiv 1906.08637"


def _quicknet(name: str, title: str, filters: tuple[int, ...], blocks: tuple[int, ...]) -> ZooNetwork:
    summary = f"blocks {list(blocks)} of {list(filters)} channels, with a ReLU before each normalization"
    arguments = {"filters": filters, "blocks": blocks}
    return ZooNetwork(name, title, summary, _QUICKNET, "el_larq.models.zoo.zoo_quicknet:quicknet", arguments)


def _densenet(
    name: str, title: str, layers: tuple[int, ...], reductions: tuple[float, ...], dilations: tuple[int, ...] = (1, 1, 1, 1)
) -> ZooNetwork:
    dilated = "" if max(dilations) == 1 else f", dilated by {list(dilations)} in place of pooling"
    summary = f"dense layers {list(layers)} of growth 64, transitions reducing by {list(reductions)}{dilated}"
    arguments = {"layers": layers, "reductions": reductions, "dilations": dilations}
    return ZooNetwork(name, title, summary, _DENSENET, "el_larq.models.zoo.zoo_densenet:densenet", arguments)


ZOO = {
    network.name: network
    for network in (
        _quicknet("quicknet_small", "QuickNetSmall", (32, 64, 256, 512), (4, 4, 4, 4)),
        _quicknet("quicknet", "QuickNet", (64, 128, 256, 512), (4, 4, 4, 4)),
        _quicknet("quicknet_large", "QuickNetLarge", (64, 128, 256, 512), (6, 8, 12, 6)),
        ZooNetwork(
            "binary_alexnet",
            "BinaryAlexNet",
            "AlexNet with every kernel binary, including those of the first convolution and of the classifier",
            "Hubara, Courbariaux, Soudry, El-Yaniv, Bengio: Binarized Neural Networks, NIPS 2016",
            "el_larq.models.zoo.alexnet:binary_alexnet",
        ),
        ZooNetwork(
            "birealnet",
            "BiRealNet",
            "ResNet18 with one shortcut per convolution; kernels scaled by their mean magnitude",
            "Liu, Wu, Luo, Yang, Liu, Cheng: Bi-Real Net, ECCV 2018, arXiv 1808.00278",
            "el_larq.models.zoo.zoo_resnet:birealnet",
        ),
        ZooNetwork(
            "binary_resnet_e18",
            "BinaryResNetE18",
            "ResNet18 with one shortcut per convolution; kernels without scales",
            _DENSENET,
            "el_larq.models.zoo.zoo_resnet:resnet_e18",
        ),
        _densenet("binary_densenet28", "BinaryDenseNet28", (6, 6, 6, 5), (2.7, 2.7, 2.2)),
        _densenet("binary_densenet37", "BinaryDenseNet37", (6, 8, 12, 6), (3.3, 3.3, 4)),
        _densenet("binary_densenet37_dilated", "BinaryDenseNet37Dilated", (6, 8, 12, 6), (3.3, 3.3, 4), (1, 1, 2, 4)),
        _densenet("binary_densenet45", "BinaryDenseNet45", (6, 12, 14, 8), (2.7, 3.3, 4)),
        ZooNetwork(
            "real_to_binary_net",
            "RealToBinaryNet",
            "ResNet18 whose binary convolutions are scaled by channel from their real-valued input",
            "Martinez, Yang, Bulat, Tzimiropoulos: Training Binary Neural Networks with Real-to-Binary Convolutions, ICLR 2020, "
            "arXiv 2003.11535",
            "el_larq.models.zoo.real_to_binary_net:real_to_binary_net",
        ),
        ZooNetwork(
            "xnornet",
            "XNORNet",
            "AlexNet with real-valued first and last layers; kernels scaled by their mean magnitude",
            "Rastegari, Ordonez, Redmon, Farhadi: XNOR-Net, ECCV 2016, arXiv 1603.05279",
            "el_larq.models.zoo.alexnet:xnornet",
        ),
        ZooNetwork(
            "dorefanet",
            "DoReFaNet",
            "AlexNet with activations of 2 bits, so LCE runs all its convolutions real-valued; binary kernels with one scale each",
            "Zhou, Wu, Ni, Zhou, Wen, Zou: DoReFa-Net, arXiv 1606.06160",
            "el_larq.models.zoo.alexnet:dorefanet",
            binary=False,
        ),
        ZooNetwork(
            "meliusnet22",
            "MeliusNet22",
            "blocks that append 64 channels and then improve them by a second binary convolution",
            "Bethge, Bartz, Yang, Chen, Meinel: MeliusNet, arXiv 2001.05936",
            "el_larq.models.zoo.meliusnet:meliusnet",
            {"blocks": (4, 5, 4, 4), "transitions": (160, 224, 256)},
        ),
    )
}


def get_zoo_network(name: str) -> ZooNetwork:
    """The network of that name, with or without "zoo:" in front.

    Raises:
        UsageError: there is none; the nearest name is offered.
    """
    bare = name.removeprefix(PREFIX)
    if bare not in ZOO:
        raise unknown_name("network of Larq Zoo", bare, ZOO)
    return ZOO[bare]
