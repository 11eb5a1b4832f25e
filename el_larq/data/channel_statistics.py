"""Mean and standard deviation of the channels of 8-bit images, in one pass."""

import numpy as np
from PIL import Image

_VALUES = np.arange(256, dtype=np.float64)


class ChannelStatistics:
    """Counts how often each of the 256 values occurs in each channel.

    The counts are integers, so the results do not depend on the order of the images, and memory does not grow with their number.
    """

    def __init__(self, channels: int):
        self._counts = np.zeros((channels, 256), np.int64)

    def add(self, image: np.ndarray) -> None:
        """Add a uint8 image (H, W, C)."""
        channels = len(self._counts)
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        self._counts += np.array(picture.histogram(), np.int64).reshape(channels, 256)

    @property
    def mean(self) -> np.ndarray:
        """Per channel, in units of the 8-bit range: float64 (C,)."""
        return self._counts @ _VALUES / self._counts.sum(axis=1)

    @property
    def std(self) -> np.ndarray:
        """The standard deviation of the population, likewise."""
        squares = (_VALUES - self.mean[:, None]) ** 2
        return np.sqrt((self._counts * squares).sum(axis=1) / self._counts.sum(axis=1))
