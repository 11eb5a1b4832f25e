"""Random choices of a random network."""

from collections.abc import Callable
from random import Random
from typing import Any

Refusals = set[str]


class Drawing:
    """Random choices, and the kinds of refusal that what was drawn may cause.

    policy: the drawn dtype policy, also where the network is built with another one.
    further: stages to draw from in addition to those of this module.
    """

    def __init__(self, random: Random, policy: str = "float32", further: "tuple[Stage, ...]" = ()):
        self.random = random
        self.policy = policy
        self.further = further
        self.refusals: Refusals = set()
        self.behind_binary = False

    def of(self, *values: Any) -> Any:
        return self.random.choice(values)

    def maybe(self, percent: int = 50) -> bool:
        return self.random.randint(0, 99) < percent


Stage = Callable[[Drawing, Any, str], Any]
