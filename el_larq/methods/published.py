"""ImageNet top-1 accuracies as the Elastic-Link paper compares them: published figures, not this project's.

Source of the table: table 1 of the poster that goes with Hu, Wu, Tan, Lu, Zeng, Wu: Elastic-Link for Binarized Neural Networks,
AAAI 2022, arXiv 2112.10149. Other sources give other figures for some of its methods (`Method.published` names them); methods the
table has and this project has not are in it too.
"""

from dataclasses import dataclass

SOURCE = "Elastic-Link poster, table 1"

NETWORKS = ("resnet26", "resnet50", "mobilenet", "resnet18", "resnet34")
"""The table's columns, by this project's names."""

NOT_CONVERGED = "not converge"
"""What the table says where a training came to nothing. None is its dash."""

Figure = float | str | None


@dataclass(frozen=True)
class PublishedRow:
    """A row of the table, in its own words.

    method: this project's name of the method; None where it has none.
    note: what a reader must know of the row.
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


def spell(figure: Figure) -> str:
    """A figure in the table's words."""
    return "-" if figure is None else figure if isinstance(figure, str) else f"{figure:.1f}"


def top1(method: str, network: str) -> Figure:
    """What the table has for a method of this project; None where it has nothing."""
    if network not in NETWORKS:
        return None
    return next((row.top1[NETWORKS.index(network)] for row in TABLE if row.method == method), None)
