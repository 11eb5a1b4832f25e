"""Random choices of a random network."""

import el_larq  # isort: skip  # noqa: F401  (first: it selects Keras 2)

from collections.abc import Callable
from random import Random
from typing import Any

import tf_keras

Refusals = set[str]


class Drawing:
    """Random choices, and the kinds of refusal that what was drawn may cause.

    policy: the drawn dtype policy, also where the network is built with another one.
    further: stages to draw from in addition to those of this module.
    keras: the Keras whose layers the network has, tf_keras or Keras 3, for which there are no layers of Larq.
    """

    def __init__(self, random: Random, policy: str = "float32", further: "tuple[Stage, ...]" = (), keras: Any = tf_keras):
        self.random = random
        self.keras = keras
        self.policy = policy
        self.further = further
        self.refusals: Refusals = set()
        self.behind_binary = False

    @property
    def layers(self) -> Any:
        return self.keras.layers

    @property
    def has_larq(self) -> bool:
        return self.keras is tf_keras

    def of(self, *values: Any) -> Any:
        return self.random.choice(values)

    def maybe(self, percent: int = 50) -> bool:
        return self.random.randint(0, 99) < percent


Stage = Callable[[Drawing, Any, str], Any]
