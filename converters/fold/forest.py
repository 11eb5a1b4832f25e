"""A maximum spanning forest of equations between the scales of tensors, for `scales`.

Each tensor has a positive factor per channel. Channels are treated in blocks of equal size, so that concatenations and copies
relate whole blocks. A component is a set of blocks whose factors are fixed relative to each other; unless it is anchored, all of
them may be multiplied by the same vector.
"""

import math
from dataclasses import dataclass

import numpy as np

from el_larq.converters.fold.ir import Node

ROUNDING = 1e-12
"""Relative tolerance for products of double-precision scales that should be 1."""


@dataclass
class Edge:
    """s_v = factor * s_u on as many channels of v as the factor has, from ``start`` on; s_u is repeated if it has fewer.

    s_v = 1 if u is None. cost: elements of the multiplication that is left if this does not hold.
    """

    cost: int
    u: Node | None
    v: Node
    factor: np.ndarray
    start: int = 0


@dataclass(eq=False)
class _Component:
    """blocks: node id and number of each block."""

    blocks: list[tuple[int, int]]
    anchored: bool = False


class Forest:
    """The scales of tensors. offset: by node id, (C,)."""

    def __init__(self, nodes: list[Node], edges: list[Edge]):
        self.offset = {id(node): np.ones(node.channels) for node in nodes}
        self._size = _block_sizes(nodes, edges)
        self._components = {
            key: [_Component([(key, number)]) for number in range(len(values) // self._size[key])]
            for key, values in self.offset.items()
        }

    def connect(self, edge: Edge) -> bool:
        """Satisfy an edge by multiplying components; False, with nothing changed, if that is impossible."""
        system = _System(np.ones(self._size[id(edge.v)]))
        for a, b, ratio in self._pairs(edge):
            if not system.relate(a, b, ratio):
                return False
        for members, anchored in system.solution():
            self._merge(members, anchored)
        return True

    def _pairs(self, edge: Edge) -> list[tuple[_Component | None, _Component, np.ndarray]]:
        """For each block of v: the components of u's block and of this one, and what the latter lacks relative to the former."""
        size, u, v = self._size[id(edge.v)], edge.u, edge.v
        length = len(edge.factor)
        known = np.ones(length) if u is None else np.tile(self.offset[id(u)], length // u.channels)
        lacking = (edge.factor * known / self.offset[id(v)][edge.start : edge.start + length]).reshape(-1, size)
        targets = self._components[id(v)][edge.start // size :]
        sources: list[_Component | None] = [None] if u is None else [*self._components[id(u)]]
        return [(sources[i % len(sources)], targets[i], ratio) for i, ratio in enumerate(lacking)]

    def _merge(self, members: list[tuple[_Component, np.ndarray]], anchored: bool) -> None:
        """Multiply components, and make one of them."""
        joined = _Component([], anchored)
        for component, factor in members:
            for key, number in component.blocks:
                self.offset[key][number * len(factor) : (number + 1) * len(factor)] *= factor
                self._components[key][number] = joined
            joined.blocks += component.blocks


class _System:
    """Equations m_b = ratio * m_a between the multipliers of components, 1 for an anchored one and where a is None."""

    def __init__(self, ones: np.ndarray):
        self._ones = ones
        self._members: dict[int, _Component] = {}
        # By a component's id (0: the anchor), another one and the multiplier relative to it; itself at the root.
        self._parents: dict[int, tuple[int, np.ndarray]] = {0: (0, ones)}

    def relate(self, a: _Component | None, b: _Component, ratio: np.ndarray) -> bool:
        """Add an equation; False if it contradicts others."""
        first, second = self._key(a), self._key(b)
        (root_a, factor_a), (root_b, factor_b) = self._find(first), self._find(second)
        relative = ratio * factor_a / factor_b
        if root_a == root_b:
            return bool(np.allclose(relative, 1, rtol=ROUNDING))
        if root_b == 0:  # the anchor stays a root
            root_a, root_b, relative = root_b, root_a, 1 / relative
        self._parents[root_b] = (root_a, relative)
        return True

    def _key(self, component: _Component | None) -> int:
        if component is None:
            return 0
        key = id(component)
        if key not in self._parents:
            self._members[key] = component
            self._parents[key] = (0 if component.anchored else key, self._ones)
        return key

    def _find(self, key: int) -> tuple[int, np.ndarray]:
        factor = self._ones
        while self._parents[key][0] != key:
            key, relative = self._parents[key][0], self._parents[key][1]
            factor = factor * relative
        return key, factor

    def solution(self) -> list[tuple[list[tuple[_Component, np.ndarray]], bool]]:
        """The components that belong together, with their multipliers, and whether they are anchored."""
        groups: dict[int, list[tuple[_Component, np.ndarray]]] = {}
        for key, component in self._members.items():
            root, factor = self._find(key)
            groups.setdefault(root, []).append((component, factor))
        return [(members, root == 0) for root, members in groups.items()]


def _block_sizes(nodes: list[Node], edges: list[Edge]) -> dict[int, int]:
    """By node id, the greatest common divisor of the channels of all tensors that edges connect to it."""
    parents = {id(node): id(node) for node in nodes}

    def root(key: int) -> int:
        while parents[key] != key:
            parents[key] = key = parents[parents[key]]
        return key

    for edge in edges:
        if edge.u is not None:
            parents[root(id(edge.u))] = root(id(edge.v))
    sizes: dict[int, int] = {}
    for node in nodes:
        sizes[root(id(node))] = math.gcd(sizes.get(root(id(node)), 0), node.channels)
    return {id(node): sizes[root(id(node))] for node in nodes}


def periodic(vector: np.ndarray, period: int) -> bool:
    """Whether a vector repeats its first ``period`` values."""
    return len(vector) % period == 0 and np.allclose(vector, np.tile(vector[:period], len(vector) // period), rtol=ROUNDING)
