"""What accompanies a training without an effect on its result. Does not import TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

CHECKPOINT_SECONDS = 60.0

Notify = Callable[[str], None]


def ignore(_line: str) -> None:
    """Take no notice of a line."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a training is watched and saved.

    trust: load the models of ``init_from`` and of a teacher including any code in them (docs/safety.md).
    console: where to draw a progress bar, if it is a terminal; None is the standard error.
    notify: called with a line when the training starts, with anything else a user should know and, if there is no bar, with a
        line at the end of each epoch and once a minute.
    checkpoint_seconds, checkpoint_steps: a state to resume from is saved about this often, in addition to those at the ends of
        epochs. If saving is slow, checkpoint_seconds is extended so that saving takes at most a twentieth of the time.
    """

    trust: bool = False
    console: Console | None = None
    notify: Notify = ignore
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    checkpoint_steps: int | None = None
