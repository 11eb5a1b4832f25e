"""When states are saved between the ends of epochs. Does not import TensorFlow."""

import time

# Saving states between the ends of epochs may take at most this share of the time.
_SHARE = 0.05


class SaveSchedule:
    """States are saved about every ``every_seconds``, less often if saving is slow, and at multiples of ``every_steps``.

    Times are those of the monotonic clock, so a change of the system's time has no effect.
    """

    def __init__(self, every_seconds: float, every_steps: int | None = None):
        self.every_seconds, self.every_steps = every_seconds, every_steps
        self._saved_at, self._cost = time.monotonic(), 0.0

    def restart(self) -> None:
        """Count the time to the next state from now."""
        self._saved_at = time.monotonic()

    def saved(self, began: float) -> None:
        """A state was saved just now; ``began`` is the value of ``time.monotonic()`` before that."""
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - began

    def is_due(self, step: int) -> bool:
        """Whether a state is to be saved after this step."""
        if self.every_steps and step % self.every_steps == 0:
            return True
        return time.monotonic() - self._saved_at > max(self.every_seconds, self._cost / _SHARE)
