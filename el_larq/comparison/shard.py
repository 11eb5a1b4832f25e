"""A share of a comparison's runs, for several processes or machines that work in the same folder. Does not import TensorFlow."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from el_larq.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Shard ``index`` of ``count``: of all runs in their order, every ``count``-th one, starting with number ``index`` (from 1).

    The selection is from all runs of the plan and not from the unfinished ones, so the shards never overlap, whatever the others
    have finished in the meantime. Their sizes differ by at most one run.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def select(self, runs: Sequence[T]) -> list[T]:
        return list(runs[self.index - 1 :: self.count])


def parse_shard(text: str) -> Shard:
    """The shard written as "K/N", for example "2/8".

    Raises:
        UsageError: the text has another form, or K is not between 1 and N.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not match:
        raise UsageError(f"invalid shard {text!r}; write K/N, for example 2/8 for the second of eight")
    index, count = map(int, match.groups())
    if not 1 <= index <= count:
        raise UsageError(f"invalid shard {text}: {index} is not between 1 and {count}; the first shard is 1/{max(count, 1)}")
    return Shard(index, count)
