r"""The search of the method `cibcnn`: a policy gradient over the edges between channels.

For a layer with C channels, a policy with logits u (C,) for targets, v (C,) for sources and w (C, 3) for strengths draws a
change of the graph:

    target c       with probability softmax(u)_c
    strength s     with probability softmax(w_c)_s, of -1, 0, 1; 0, which removes the edge into c, only if there is one
    source c'      with probability softmax(v)_c', of all channels but c; not drawn for s = 0

With probability EPSILON, each of them is drawn uniformly instead. A proposal is a sequence of K = max(1, C // CHANNELS) changes.
Its reward r is 1 if the loss on the training batches falls by more than TOLERANCE, -1 if it rises by more than that or is NaN,
and 0 otherwise. A proposal with r = 1 is kept, any other is undone. Every change k then moves the logits it was drawn from
(REINFORCE), after all logits have decayed towards a uniform policy, so that a few early rewards do not decide everything:

    logits *= FADING,   logits += RATE * DISCOUNT**(K - 1 - k) * r * d log p / d logits,   d log p_i / d logits = onehot_i - p

where p is the softmax over what could be drawn. If a new edge would exceed the maximum, the edge into the linked channel with
the lowest u is removed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.keras_internals import leaf_layers
from el_larq.layers import InteractedBitcount
from el_larq.training.search_loss import generator, training_loss

STRENGTHS = (-1, 0, 1)

# As in the released code: exploration, discount, and the smallest change of the loss that counts.
EPSILON, DISCOUNT, TOLERANCE = 0.05, 0.99, 3e-3
# Chosen by this project. The released agent is a network with a learning rate of 2e-5; here the logits are the parameters, and
# a search draws only a few of them.
RATE = 0.5
FADING = 0.9
# A single edge of a wide layer hardly changes the loss, so a proposal has one change per this many channels.
CHANNELS = 16
BATCHES = 1
_PURPOSE = 54


@dataclass
class Edges:
    """A layer's graph: the edge into channel c comes from source[c] with strength[c]; strength 0 means no edge."""

    source: np.ndarray
    strength: np.ndarray

    def copy(self) -> "Edges":
        return Edges(self.source.copy(), self.strength.copy())

    def __len__(self) -> int:
        return int(np.count_nonzero(self.strength))


@dataclass(frozen=True)
class Draw:
    """One random choice in a change: the logits (name and row), the probabilities, and the index that was drawn."""

    logits: tuple[str, int | None]
    probabilities: np.ndarray
    index: int


Policy = dict[str, np.ndarray]
"""Logits by name: "target" (C,), "source" (C,), "strength" (C, 3)."""


def search(model: keras.Model, batches: Iterable[Any], seed: int, epoch: int) -> None:
    """Try changes of the interactions in a model and keep those that lower its loss.

    Changes the variables of its `InteractedBitcount` layers; the result is a function of all variables, batches, seed and epoch.
    Costs one forward pass more than the largest ``proposals`` of the layers.
    """
    counts = (layer for layer in leaf_layers(model) if isinstance(layer, InteractedBitcount) and layer.trainable)
    layers = [layer for layer in counts if layer.channels > 1]
    if not layers:
        return
    random = generator(seed, epoch, _PURPOSE)
    with training_loss(model, batches, BATCHES) as loss:
        best = loss()
        for _ in range(max(layer.proposals for layer in layers)):
            layer = layers[random.integers(len(layers))]
            policy, before = _read(layer)
            edges, draws = propose(policy, before, layer.max_edges, random)
            _set_edges(layer, edges)
            after = loss()
            earned = reward(best, after)
            if earned > 0:
                best = after
            else:
                _set_edges(layer, before)
            reinforce(policy, draws, earned)
            for name, logits in policy.items():
                getattr(layer, f"{name}_logits").assign(logits)


def reward(before: float, after: float) -> int:
    """1 if the loss fell by more than TOLERANCE, -1 if it rose by more than that or is NaN, otherwise 0."""
    if not abs(after - before) <= TOLERANCE:
        return 1 if after < before else -1
    return 0


def propose(policy: Policy, edges: Edges, max_edges: int, random: np.random.Generator) -> tuple[Edges, list[list[Draw]]]:
    """One proposal drawn from the policy: the resulting graph, and the draws of each change."""
    edges, draws = edges.copy(), []
    if max_edges < 1:
        return edges, draws
    for _ in range(max(1, len(edges.source) // CHANNELS)):
        everything = np.ones(len(edges.source), bool)
        target = _draw(("target", None), policy, everything, random)
        c = target.index
        strength = _draw(("strength", c), policy, np.array([True, edges.strength[c] != 0, True]), random)
        draws.append([target, strength])
        if STRENGTHS[strength.index] == 0:
            edges.source[c], edges.strength[c] = c, 0
            continue
        others = everything.copy()
        others[c] = False
        source = _draw(("source", None), policy, others, random)
        draws[-1].append(source)
        if edges.strength[c] == 0 and len(edges) >= max_edges:
            linked = np.flatnonzero(edges.strength)
            weakest = linked[np.argmin(policy["target"][linked])]
            edges.source[weakest], edges.strength[weakest] = weakest, 0
        edges.source[c], edges.strength[c] = source.index, STRENGTHS[strength.index]
    return edges, draws


def _draw(where: tuple[str, int | None], policy: Policy, allowed: np.ndarray, random: np.random.Generator) -> Draw:
    logits = np.where(allowed, _logits(policy, where), -np.inf)
    odds = np.exp(logits - logits.max())
    probabilities = odds / odds.sum()
    explore = random.random() < EPSILON
    index = int(random.choice(len(allowed), p=allowed / allowed.sum() if explore else probabilities))
    return Draw(where, probabilities, index)


def _logits(policy: Policy, where: tuple[str, int | None]) -> np.ndarray:
    name, row = where
    return policy[name] if row is None else policy[name][row]


def reinforce(policy: Policy, draws: list[list[Draw]], earned: int) -> None:
    """Decay the logits, then move them towards or away from what was drawn, in place."""
    for logits in policy.values():
        logits *= FADING
    for number, change in enumerate(draws):
        weight = RATE * DISCOUNT ** (len(draws) - 1 - number) * earned
        for draw in change:
            logits = _logits(policy, draw.logits)
            logits -= weight * draw.probabilities
            logits[draw.index] += weight


def _read(layer: InteractedBitcount) -> tuple[Policy, Edges]:
    policy = {name: getattr(layer, f"{name}_logits").numpy().astype(np.float64) for name in ("target", "source", "strength")}
    return policy, Edges(layer.source.numpy(), layer.strength.numpy())


def _set_edges(layer: InteractedBitcount, edges: Edges) -> None:
    layer.source.assign(edges.source)
    layer.strength.assign(edges.strength)
