"""What is known of a tensor's values after calibration: extremes, moving averages of them, and a histogram."""

import numpy as np

from el_larq.errors import ElLarqError

BINS = 4096
"""The number of bins, even, so that 0 is an edge."""


_SMALL = 2.0**-100
"""A limit below it takes float64: the inverse of a bin's width would overflow in float32."""


class Observer:
    """The values of one tensor, batch after batch, in constant memory.

    The histogram's bins are of equal width, from -limit to limit. The limit is a power of two above all magnitudes. It is doubled
    as often as needed, and pairs of bins are merged, so counts stay exact.

    count: the number of values. low, high: the extremes. average_low, average_high: moving averages of those of the batches,
    ``momentum`` of the old one in each step; the first batch starts them.
    """

    def __init__(self, name: str = "the tensor", momentum: float = 0.9):
        self.name, self._momentum = name, momentum
        self.count = 0
        self.low = self.high = self.average_low = self.average_high = 0.0
        self.limit = 0.0
        self.counts = np.zeros(BINS, np.int64)

    def update(self, values: np.ndarray) -> None:
        """Add a batch, in any shape.

        Raises:
            ElLarqError: a value is not finite, or there is none.
        """
        values = np.asarray(values).ravel()
        if values.dtype != np.float32:
            values = values.astype(np.float64)
        if not values.size:
            raise ElLarqError(f"calibration: a batch of {self.name} is empty")
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):  # NaN is in both
            raise ElLarqError(f"calibration: {self.name} has values that are not finite; check the images and their preprocessing")
        if self.count:
            keep = self._momentum
            self.low, self.high = min(self.low, low), max(self.high, high)
            self.average_low = keep * self.average_low + (1 - keep) * low
            self.average_high = keep * self.average_high + (1 - keep) * high
        else:
            self.low, self.high, self.average_low, self.average_high = low, high, low, high
        self.count += values.size
        self._widen(max(-low, high))
        if self.limit < _SMALL:
            values = values.astype(np.float64)
        if self.limit:
            # The limit is a power of two, so this is exact in float32 too.
            places = np.floor(values * values.dtype.type(BINS // 2 / self.limit)).astype(np.int64) + BINS // 2
            self.counts += np.bincount(places, minlength=BINS)
        else:
            self.counts[BINS // 2] += values.size

    def _widen(self, largest: float) -> None:
        if largest < self.limit or not largest:
            return
        limit = 2.0 ** float(np.frexp(largest)[1])
        while 0 < self.limit < limit:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(merged, BINS // 4)
            self.limit *= 2
        self.limit = limit

    @property
    def edges(self) -> np.ndarray:
        """The BINS + 1 edges of the bins."""
        return np.linspace(-self.limit, self.limit, BINS + 1)

    @property
    def centers(self) -> np.ndarray:
        """The middle of each bin; those of the outermost values are moved to the extremes where these are nearer to 0."""
        edges = self.edges
        return np.clip((edges[1:] + edges[:-1]) / 2, self.low, self.high)
