"""Published figures of others, not this project's own, each with its source. No other source file contains any.

Accuracies are ImageNet top-1 in percent; "BOPs", "FLOPs" and "OPs" are multiply-accumulates at 224x224 pixels.

The table is table 1 of the poster for Hu, Wu, Tan, Lu, Zeng, Wu: Elastic-Link for Binarized Neural Networks, AAAI 2022,
arXiv 2112.10149. It includes methods that this project does not have.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SOURCE = "Elastic-Link poster, table 1"

COLUMNS = ("resnet26", "resnet50", "mobilenet", "resnet18", "resnet34")
"""The table's columns, under this project's names."""

NOT_CONVERGED = "not converge"
"""The table's entry for a training that did not converge. None stands for its dash."""

Figure = float | str | None


@dataclass(frozen=True)
class PublishedRow:
    """A row of the table, with the label it has there.

    method: this project's name for the method; None if it does not have it.
    note: what a reader must know about the row.
    """

    label: str
    year: int | None
    top1: tuple[Figure, Figure, Figure, Figure, Figure]
    method: str | None
    note: str = ""


_N = NOT_CONVERGED

TABLE = (
    PublishedRow("Full precision", None, (72.5, 75.9, 70.6, 69.3, 71.5), "float"),
    PublishedRow("XNOR", 2016, (52.1, 54.2, _N, 51.2, 53.2), "xnor"),
    PublishedRow(
        "ABC-Net", 2017, (45.2, 52.9, _N, 42.7, 52.4), "abc", "one basis for weights and activations (M = N = 1), as recalled"
    ),
    PublishedRow("TBN", 2018, (None, None, None, 55.6, 58.2), "tbn", "ternary activations"),
    PublishedRow("Bi-Real", 2018, (57.8, 62.7, _N, 56.4, 62.2), "bireal"),
    PublishedRow("BinaryE", 2019, (57.9, 61.2, _N, 56.7, 59.5), "resnete"),
    PublishedRow("CI-Net", 2019, (None, None, None, 56.7, 62.4), "cibcnn"),
    PublishedRow("XNOR++", 2019, (None, None, None, 57.1, None), "xnor_pp"),
    PublishedRow(
        "GBCN", 2019, (None, None, None, 57.8, None), None, "its formulas are not available; method genetic is another search"
    ),
    PublishedRow("MoBiNet", 2020, (None, None, 54.4, None, None), "mobinet"),
    PublishedRow("EL", 2022, (64.0, 65.6, 56.4, 60.1, 63.2), "el"),
    PublishedRow("Real-to-Bin", 2020, (64.8, 65.9, 54.8, 65.4, 66.1), "real_to_binary", "trained in stages with a teacher"),
    PublishedRow(
        "EL†", 2022, (67.1, 68.9, 61.2, 65.7, 66.5), None, "EL with the training of Real-to-Bin, by its place in the table"
    ),
)


Published = Mapping[str, tuple[float | str, str]]
"""Figures by what they measure, each with its source. A string is a figure under other conditions, which cannot be compared."""

_BIREAL = "Bi-Real Net's repository"
_BBG = "paper, as listed on paperswithcode"
_REACTNET_CODE = "ReActNet's repository"

_BY_METHOD: dict[str, Published] = {
    "bbg": {"resnet18": (59.4, _BBG), "resnet34": (62.6, _BBG)},
    "bireal": {
        "resnet18": (56.4, _BIREAL),
        "resnet34": (62.2, _BIREAL),
        "resnet50": (62.6, f"{_BIREAL}; two-stream bottleneck, 62.7 in the Elastic-Link poster"),
    },
    "mobinet": {"mobilenet": (54.4, "paper's abstract; K = 4 channels per group, as recalled")},
    "reactnet": {
        "resnet18": (65.9, f"{_REACTNET_CODE}; its ReAct-ResNet18, two-stage training with distillation"),
        "reactnet_resnet18": (65.9, _REACTNET_CODE),
        "reactnet_a": (69.5, f"{_REACTNET_CODE}; 69.4 in the paper"),
    },
}
"""Top-1 accuracy by network, from sources other than the poster."""


def _costs(bops: float, flops: float, ops: float | str, source: str) -> Published:
    return {"BOPs": (bops, source), "FLOPs": (flops, source), "OPs": (ops, source)}


# The OPs are in the README of ReActNet's repository; BOPs and FLOPs are recalled from memory.
_BIREAL18 = _costs(1.68e9, 1.39e8, 1.63e8, "Bi-Real Net's in ReActNet, ECCV 2020, as recalled; the repository agrees on OPs")
_REACTNET_A = "ReActNet, ECCV 2020, as recalled; the repository agrees on A's OPs"
_REACTNET = "ReActNet, ECCV 2020, as recalled"
_ZOO = "Larq Zoo's documentation"
_WIKI = "BMXNet-v2's wiki"


def _zoo(top1: float, top5: float, parameters: int, size: str) -> Published:
    return {"top-1": (top1, _ZOO), "top-5": (top5, _ZOO), "parameters": (parameters, _ZOO), "size": (size, _ZOO)}


_BY_ZOO_NETWORK: dict[str, Published] = {
    "quicknet_small": _zoo(59.4, 81.8, 12_655_688, "4.00 MB"),
    "quicknet": _zoo(63.3, 84.6, 13_234_088, "4.17 MB"),
    "quicknet_large": _zoo(66.9, 87.0, 23_342_248, "5.40 MB"),
    "binary_alexnet": _zoo(36.30, 61.53, 61_859_192, "7.49 MB"),
    "birealnet": _zoo(57.47, 79.84, 11_699_112, "4.03 MB"),
    "binary_resnet_e18": _zoo(58.32, 80.79, 11_699_368, "4.03 MB"),
    "binary_densenet28": _zoo(60.91, 82.83, 5_150_504, "4.12 MB"),
    "binary_densenet37": _zoo(62.89, 84.19, 8_734_120, "5.25 MB"),
    "binary_densenet37_dilated": _zoo(64.34, 85.15, 8_734_120, "5.25 MB"),
    "binary_densenet45": _zoo(64.59, 85.21, 13_939_240, "7.54 MB"),
    "real_to_binary_net": _zoo(65.01, 85.72, 11_995_624, "5.13 MB"),
    "xnornet": _zoo(44.96, 69.18, 62_396_768, "22.81 MB"),
    "dorefanet": _zoo(53.39, 76.50, 62_403_912, "22.84 MB"),
    "meliusnet22": _zoo(62.4, 83.9, 6_944_584, "3.88 MiB"),
}


def _shape_of_zoo(name: str) -> Published:
    """Parameters and size, which a network shares with one of Larq Zoo even if its accuracy is not known."""
    return {what: figure for what, figure in _BY_ZOO_NETWORK[name].items() if what in ("parameters", "size")}


_BY_NETWORK: dict[str, Published] = {
    "resnet18": _BIREAL18,
    "quicknet_small": _shape_of_zoo("quicknet_small"),
    "quicknet": _shape_of_zoo("quicknet"),
    "quicknet_large": _shape_of_zoo("quicknet_large"),
    "mobilenet": {"OPs": ("0.52e8 with variant mid, K = 4", "MoBiNet, WACV 2020, as recalled")},
    "reactnet_a": {"top-1": (69.4, _REACTNET_A), **_costs(4.82e9, 0.12e8, 0.87e8, _REACTNET_A)},
    # The OPs said to be in the paper for B contradict its rule, FLOPs + BOPs / 64, applied to the other two figures of the row.
    "reactnet_b": {
        "top-1": (70.1, _REACTNET),
        **_costs(4.69e9, 0.44e8, "said to be Bi-Real Net's 1.63e8; FLOPs + BOPs / 64 make 1.17e8", _REACTNET),
    },
    "reactnet_c": {"top-1": (71.4, _REACTNET), **_costs(4.69e9, 1.40e8, 2.14e8, _REACTNET)},
    "reactnet_resnet18": {"top-1": (65.9, _REACTNET_CODE), **_BIREAL18},
    "densenet28": {
        "top-1": ("61.7 with binary convolutions without scales, normalized first", _WIKI),
        "OPs": (2.58e8, _WIKI),
        "parameters": (5_150_504, _ZOO),
        "size": ("4.04 MB", f"{_WIKI}; Larq Zoo: 4.12 MB"),
    },
    "densenet37": {
        "top-1": ("63.3 with binary convolutions without scales, normalized first", _WIKI),
        "OPs": (2.70e8, _WIKI),
        "parameters": (8_734_120, _ZOO),
        "size": ("5.13 MB", f"{_WIKI}; Larq Zoo: 5.25 MB"),
    },
}


def of_network(name: str) -> Published:
    """Published figures of a network, independent of method: "top-1", "BOPs", "FLOPs", "OPs", "parameters", "size"."""
    return _BY_NETWORK.get(name, {})


def of_zoo(name: str) -> Published:
    """Published figures of a network of Larq Zoo with its published weights: "top-1", "top-5", "parameters", "size"."""
    return _BY_ZOO_NETWORK.get(name, {})


def of_method(name: str) -> Published:
    """Top-1 accuracy of a method by network: the poster's, unless a source closer to the method's authors has it."""
    rows = [row for row in TABLE if row.method == name]
    poster = {
        network: (figure, f"{SOURCE}, as {row.label}" + (f": {row.note}" if row.note else ""))
        for row in rows
        for network, figure in zip(COLUMNS, row.top1, strict=True)
        if isinstance(figure, float)
    }
    return {**poster, **_BY_METHOD.get(name, {})}


def spell(figure: Figure) -> str:
    """A figure as the table shows it."""
    return "-" if figure is None else figure if isinstance(figure, str) else f"{figure:.1f}"


def top1(method: str, network: str) -> Figure:
    """The table's figure for a method of this project; None if it has none."""
    if network not in COLUMNS:
        return None
    return next((row.top1[COLUMNS.index(network)] for row in TABLE if row.method == method), None)
