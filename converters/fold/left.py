"""What the rewrites left: multiplications that no operator absorbs, by kind, and what they cost."""

import math
from dataclasses import dataclass

import numpy as np

from el_larq.converters.fold.ir import BINARIZE, SUMS, FoldGraph, Node, Readers, scale_of, shift_of
from el_larq.converters.fold.scales import multiplications

_SUMS = (*SUMS, "AddN")


@dataclass(frozen=True)
class Left:
    """Scales and normalizations of one kind that remain. operations: their multiplications and additions for one image."""

    kind: str
    places: int
    operations: int

    def __str__(self) -> str:
        what = "scale or normalization" if self.places == 1 else "scales or normalizations"
        return f"{self.places} {what} {self.kind}: {self.operations:,} multiplications and additions per image"


def left_over(graph: FoldGraph) -> tuple[Left, ...]:
    """The multiplications that remain in a rewritten graph, the most expensive kind first."""
    readers = Readers(graph)
    found: dict[str, list[int]] = {}
    for node in multiplications(graph):
        found.setdefault(_kind(node, readers), []).append(_operations(node))
    return tuple(sorted((Left(kind, len(each), sum(each)) for kind, each in found.items()), key=lambda left: -left.operations))


def _kind(node: Node, readers: Readers) -> str:
    if np.any(scale_of(node) <= 0):
        before_sign = any(reader.op == BINARIZE for reader in readers.of(node))
        return f"{'before a sign ' if before_sign else ''}with factors that are not all positive"
    if node.inputs[0].op in _SUMS and not readers.only_one(node.inputs[0]):
        return "of a sum that is read elsewhere too"
    return "that no operator absorbs"


def _operations(node: Node) -> int:
    """One multiplication for each value, and one addition if there is a shift."""
    return math.prod(size or 1 for size in node.shape) * (2 if np.any(shift_of(node)) else 1)
