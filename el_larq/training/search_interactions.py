r"""The search of the method `cibcnn`: a policy gradient over the edges between channels.

For one layer with C channels a policy with the logits u (C,) of targets, v (C,) of sources and w (C, 3) of strengths draws a
change of the graph:

    target c       with probability softmax(u)_c
    strength s     with probability softmax(w_c)_s, of -1, 0, 1; 0, which removes the edge into c, only where there is one
    source c'      with probability softmax(v)_c', of all channels but c; not drawn for s = 0

With probability EPSILON each of them is drawn evenly instead. A proposal is K = max(1, C / CHANNELS) changes, one after another.
Its reward r is 1 where the loss on the training batches falls by more than TOLERANCE, -1 where it rises by more, else 0. A
proposal with r = 1 stays, any other is undone. Every change k then moves the logits it was drawn from (REINFORCE), after all
logits have faded towards an even policy, which keeps a few early rewards from deciding everything:

    logits *= FADING,   logits += RATE * DISCOUNT**(K - 1 - k) * r * d log p / d logits,   d log p_i / d logits = onehot_i - p

with p the softmax over what could be drawn. Where there would be an edge too many, the one into the linked channel with the
lowest u goes.
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

# Those of the released code: exploration, discount, and the loss change that counts.
EPSILON, DISCOUNT, TOLERANCE = 0.05, 0.99, 3e-3
# Ours. The released agent is a network that takes steps of 2e-5; these are bare logits, of which a search draws few.
RATE = 0.5
FADING = 0.9
# One edge of a wide layer hardly moves the loss: one change for so many channels is judged at once.
CHANNELS = 16
BATCHES = 1
_PURPOSE = 54


@dataclass
class Edges:
    """A layer's graph: into channel c from source[c] with strength[c]; 0 is no edge."""

    source: np.ndarray
    strength: np.ndarray

    def copy(self) -> "Edges":
        return Edges(self.source.copy(), self.strength.copy())

    def __len__(self) -> int:
        return int(np.count_nonzero(self.strength))


@dataclass(frozen=True)
class Draw:
    """One choice of a change: from which logits (their name and row), with which probabilities, and what was drawn."""

    logits: tuple[str, int | None]
    probabilities: np.ndarray
    index: int


Policy = dict[str, np.ndarray]
"""Logits by name: "target" (C,), "source" (C,), "strength" (C, 3)."""


def search(model: keras.Model, batches: Iterable[Any], seed: int, epoch: int) -> None:
    """Try some changes of the interactions in a model and keep those that lower its loss.

    Changes the variables of its `InteractedBitcount` layers, as a function of all variables, batches, seed and epoch. Costs as
    many forward passes as the layers say in ``proposals``, and one.
    """
    layers = [layer for layer in leaf_layers(model) if isinstance(layer, InteractedBitcount) and layer.channels > 1]
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
    """1 where the loss fell, -1 where it rose or is no number, 0 where it stayed within TOLERANCE."""
    if not abs(after - before) <= TOLERANCE:
        return 1 if after < before else -1
    return 0


def propose(policy: Policy, edges: Edges, max_edges: int, random: np.random.Generator) -> tuple[Edges, list[list[Draw]]]:
    """One proposal drawn from the policy: the graph after it, and the draws of each of its changes."""
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
    """Move the logits towards what was drawn, or away from it, in place."""
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
