"""All networks by name. A new one also needs its counts in `el_larq.counting.network_costs`. Does not import TensorFlow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from el_larq.by_name import load_by_name
from el_larq.errors import UsageError, unknown_name
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method
from el_larq.missing_operators import BINARY_DEPTHWISE, describe_missing
from el_larq.tables import TableList

DEFAULT_METHOD, REAL_VALUED = "el", "float"

DOWNSAMPLES = ("real", "binary")
DEPTHWISES = ("real", "binary")

HEADS = ("real", "binary")

_CHOICES = {"downsample": DOWNSAMPLES, "depthwise": DEPTHWISES, "heads": HEADS}
"""Options that take one of a few words, the same for every network that has the option."""


@dataclass(frozen=True)
class Network:
    """A macro-architecture.

    builder: "module:function" of a function ``(input, num_classes, method, *, width, **options, **arguments)`` from a Keras
        input tensor to the logits.
    arguments: the arguments that distinguish this member of the family from the others.
    image_size: height and width of the images in pixels, that it is built for by default, and that its costs are counted at.
    links: the links that the network supports; None for all.
    variants: the block variants offered in addition to the standard block; the builder takes one as ``variant``.
    allow: audit rules that conversion breaks with some of the options (``binary-depthwise``: LCE has no such convolution).
    options: the user's options in addition to width and variant; keywords of the builder.
    real_valued: nothing in it can be binarized, so it takes real-valued methods only, and is built with one by default.
    """

    name: str
    summary: str
    reference: str
    builder: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    image_size: int = 224
    links: tuple[str, ...] | None = None
    variants: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    options: tuple[str, ...] = ("stem", "downsample")
    real_valued: bool = False

    @property
    def default_method(self) -> str:
        """The method that it is built with if none is named."""
        return REAL_VALUED if self.real_valued else DEFAULT_METHOD

    @property
    def supported_links(self) -> tuple[str, ...]:
        return tuple(LINKS) if self.links is None else self.links

    def load_builder(self) -> Callable[..., Any]:
        return load_by_name(self.builder)


_RESNET = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016"


def _resnet(name: str, block: str, repeats: tuple[int, ...]) -> Network:
    return Network(
        name,
        f"{block} blocks {list(repeats)}",
        _RESNET,
        "el_larq.models.resnet:resnet",
        {"block": block, "repeats": repeats},
        variants=("two_stream", "linked_pair") if block == "bottleneck" else (),
    )


_QUICKNET = "Bannink, Hillier, Geiger, de Bruin, Overweel, Neeven, Helwegen: Larq Compute Engine, MLSys 2021, arXiv 2011.09398"


def _quicknet(name: str, filters: tuple[int, ...], repeats: tuple[int, ...]) -> Network:
    return Network(
        name,
        f"blocks {list(repeats)} of {list(filters)} channels; Larq Zoo's own definition is zoo:{name}",
        _QUICKNET,
        "el_larq.models.quicknet:quicknet",
        {"filters": filters, "repeats": repeats},
    )


_REACTNET = "Liu, Shen, Savvides, Cheng: ReActNet, ECCV 2020, arXiv 2003.03488"


def _reactnet(letter: str, expansion: str, doubling: str) -> Network:
    return Network(
        f"reactnet_{letter}",
        f"13 blocks of a 3x3 and a 1x1 convolution with a shortcut each, 1024 channels at the end; {doubling}",
        _REACTNET,
        "el_larq.models.reactnets:reactnet",
        {"expansion": expansion},
        options=("stem",),
    )


_BINARY_DENSENET = "Bethge, Yang, Bornstein, Meinel: Back to Simplicity: How to Train Accurate BNNs from Scratch?, arXiv 1906.08637"


def _densenet(name: str, layers: tuple[int, ...], reductions: tuple[float, ...]) -> Network:
    return Network(
        name,
        f"dense layers {list(layers)} of growth 64, transitions reducing by {list(reductions)}",
        _BINARY_DENSENET,
        "el_larq.models.densenet:densenet",
        {"layers": layers, "reductions": reductions, "growth": 64},
    )


NETWORKS = {
    network.name: network
    for network in (
        _resnet("resnet18", "basic", (2, 2, 2, 2)),
        _resnet("resnet26", "bottleneck", (2, 2, 2, 2)),
        _resnet("resnet34", "basic", (3, 4, 6, 3)),
        _resnet("resnet50", "bottleneck", (3, 4, 6, 3)),
        _quicknet("quicknet_small", (32, 64, 256, 512), (4, 4, 4, 4)),
        _quicknet("quicknet", (64, 128, 256, 512), (4, 4, 4, 4)),
        _quicknet("quicknet_large", (64, 128, 256, 512), (6, 8, 12, 6)),
        Network(
            "mobilenet",
            "MobileNetV1: 13 blocks of a depthwise 3x3 and a 1x1 convolution, each with its link; variant mid is MoBiNet's block",
            "Howard et al.: MobileNets, arXiv 1704.04861; mid: Phan et al.: MoBiNet, WACV 2020, arXiv 1907.12629",
            "el_larq.models.mobilenet:mobilenet",
            options=("stem", "depthwise", "channels_per_group"),
            variants=("mid",),
            allow=(BINARY_DEPTHWISE,),
        ),
        _reactnet("a", "binary", "all of them binary"),
        _reactnet("b", "grouped", "1x1 that double channels real-valued, in 4 groups"),
        _reactnet("c", "real", "1x1 that double channels real-valued"),
        Network(
            "reactnet_resnet18",
            "ResNet18 in Bi-Real Net's layout: 16 convolutions with a shortcut each",
            _REACTNET,
            "el_larq.models.resnet:resnet",
            {"block": "single", "repeats": (4, 4, 4, 4)},
        ),
        _densenet("densenet28", (6, 6, 6, 5), (2.7, 2.7, 2.2)),
        _densenet("densenet37", (6, 8, 12, 6), (3.3, 3.3, 4)),
        Network(
            "densenet121",
            "bottleneck layers [6, 12, 24, 16] of growth 32: 1x1 to 128 channels and 3x3 to 32, each with its link",
            "Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, CVPR 2017",
            "el_larq.models.densenet:densenet",
            {"layers": (6, 12, 24, 16), "reductions": (2, 2, 2), "growth": 32, "bottleneck": True},
        ),
        Network(
            "googlenet",
            "nine inception modules of 1x1, 3x3 and 5x5 convolutions side by side, each with its link",
            "Szegedy et al.: Going Deeper with Convolutions, CVPR 2015; with batch normalization",
            "el_larq.models.googlenet:googlenet",
            options=("stem",),
        ),
        Network(
            "resnet20",
            "basic blocks [3, 3, 3] from 16 channels on, for 32x32 pixels",
            f"{_RESNET}, section 4.2",
            "el_larq.models.resnet:resnet",
            {"block": "basic", "repeats": (3, 3, 3), "channels": 16},
            image_size=32,
        ),
        Network(
            "vgg_small",
            "six 3x3 convolutions of 128 to 512 channels and three poolings, without shortcuts, for 32x32 pixels",
            "Zhang, Yang, Ye, Hua: LQ-Nets, ECCV 2018, arXiv 1807.10029",
            "el_larq.models.vgg:vgg_small",
            image_size=32,
            options=("stem",),
        ),
        Network(
            "mobilenet_v2",
            "MobileNetV2, real-valued: 17 inverted residuals with ReLU6, with the layer names of Keras Applications' weights",
            "Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2, CVPR 2018, arXiv 1801.04381",
            "el_larq.models.mobilenet_v2:mobilenet_v2",
            links=("none",),
            options=(),
            real_valued=True,
        ),
    )
}

_SSD = "Liu, Anguelov, Erhan, Szegedy, Reed, Fu, Berg: SSD: Single Shot MultiBox Detector, ECCV 2016"

DETECTORS = {
    network.name: network
    for network in (
        Network(
            "ssd300",
            "SSD300: VGG16 with strided convolutions for max-pooling, dilated conv6, six maps from 38x38 to 1x1, 8,732 anchors",
            _SSD,
            "el_larq.models.ssd300:ssd300",
            image_size=300,
            options=("heads",),
        ),
        Network(
            "ssd_resnet18",
            "SSD on the last three stages of ResNet18 and three smaller maps",
            f"{_SSD}; {_RESNET}",
            "el_larq.models.ssd:ssd_resnet18",
            image_size=300,
            options=("stem", "downsample", "heads"),
        ),
        Network(
            "ssd_mobilenet",
            "SSD on two maps of MobileNetV1 and three smaller ones",
            f"{_SSD}; Howard et al.: MobileNets, arXiv 1704.04861",
            "el_larq.models.ssd:ssd_mobilenet",
            image_size=300,
            options=("stem", "depthwise", "channels_per_group", "heads"),
            variants=("mid",),
            allow=(BINARY_DEPTHWISE,),
        ),
    )
}
"""Networks for detection. Their outputs are not logits, so they are apart from `NETWORKS`, whose commands compare accuracies."""


OPTIONS = tuple(dict.fromkeys(option for network in (NETWORKS | DETECTORS).values() for option in (*network.options, "variant")))
"""The names of all options of networks, in addition to width."""


def list_networks() -> list[str]:
    """The names of all networks, those for detection last. A notebook shows them as a table with each network's summary."""
    return TableList(NETWORKS | DETECTORS, "networks", ("network", "summary"), _cells)


def _cells(name: str) -> tuple[str, str]:
    return name, get_any_network(name).summary


def get_network(name: str) -> Network:
    """A classification network.

    Raises:
        UsageError: an unknown name, or that of a detector.
    """
    if name in DETECTORS:
        raise UsageError(f"{name} is a detector, and this takes classifiers; train it with el-larq train {name}")
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    return NETWORKS[name]


def get_any_network(name: str) -> Network:
    """A network for classification or for detection. Raises UsageError for an unknown name."""
    known = NETWORKS | DETECTORS
    if name not in known:
        raise unknown_name("network", name, known)
    return known[name]


def fits(network: Network, method: Method) -> bool:
    """Whether the network supports the method's link, offers the variant it needs, and can be binarized if the method does so."""
    return (
        not (network.real_valued and method.binary)
        and method.link.name in network.supported_links
        and method.variant in (None, *network.variants)
    )


def check_pair(network: Network, link: str, method: str) -> None:
    """Check that the network supports the method's link. The arguments ``link`` and ``method`` are names.

    Raises:
        UsageError: it does not.
    """
    if link not in network.supported_links:
        raise UsageError(
            f"network {network.name!r} does not support link {link!r} of method {method!r}; "
            f"its links are {', '.join(network.supported_links)}: choose one with --link"
        )


def resolve_options(network: Network, method: Method, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given to a network, with the block variant that it is built with, if any.

    A value of None means that an option is not given.

    Raises:
        UsageError: the network does not support the method or its link, or lacks an option, or a value is not one of the option's
            words.
    """
    if network.real_valued and method.binary:
        raise UsageError(
            f"network {network.name!r} is real-valued: method {method.name!r} has nothing to binarize; use --method float"
        )
    given = {name: value for name, value in options.items() if value is not None}
    variant = resolve_variant(network, method, given.pop("variant", None))
    check_pair(network, method.link.name, method.name)
    check_options(network, given)
    return given if variant is None else given | {"variant": variant}


def check_width(width: float) -> None:
    if not 0 < width < float("inf"):
        raise UsageError(f"width must be positive; got {width:g}")


def check_options(network: Network, options: Mapping[str, Any]) -> None:
    """Check a network's options by name. A value of None means that the option is not given.

    Raises:
        UsageError: an option that the network does not have, or a value that is not one of the option's words.
    """
    for name, value in options.items():
        if name not in network.options:
            raise UsageError(f"network {network.name!r} has no option {name!r}; it takes {', '.join(network.options) or 'none'}")
        if value is not None and name in _CHOICES and value not in _CHOICES[name]:
            raise unknown_name(name, str(value), _CHOICES[name])


def runs_real(options: Mapping[str, Any]) -> str | None:
    """A one-line warning if the options binarize layers for which LCE has no operator, else None."""
    rules = needed_allowances(options)
    return describe_missing(rules[0]) if rules else None


def needed_allowances(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The audit rules that the conversion of a network with these options breaks, so that it needs them allowed."""
    return (BINARY_DEPTHWISE,) if options.get("depthwise") == "binary" else ()


def resolve_variant(network: Network, method: Method, variant: str | None) -> str | None:
    """The requested block variant, or the one that the method needs; None is the network's standard block.

    Raises:
        UsageError: the network does not offer it, or the method needs a different one.
    """
    if method.variant is not None and variant not in (None, method.variant):
        raise UsageError(f"method {method.name!r} needs block variant {method.variant!r}; omit --variant {variant}")
    wanted = variant or method.variant
    if wanted is not None and wanted not in network.variants:
        offer = ", ".join(network.variants) or "none"
        needs = f", which method {method.name!r} needs" if method.variant else ""
        raise UsageError(f"network {network.name!r} has no block variant {wanted!r}{needs}; it offers {offer}")
    return wanted
