"""The fixed low-pass filter of QuickNet's transitions."""

from typing import Any

import numpy as np
import tf_keras as keras


def blur_kernel(channels: int) -> Any:
    """The initializer of a depthwise 3x3 kernel: a binomial low-pass filter of sum 1 for each channel.

    Reference: Zhang: Making Convolutional Networks Shift-Invariant Again, ICML 2019.
    """
    row = np.array([0.25, 0.5, 0.25])
    kernel = np.tile(np.outer(row, row)[:, :, None, None], (1, 1, channels, 1))
    # As a list it is part of the saved configuration, so loading does not need a class of this module.
    return keras.initializers.Constant(kernel.tolist())  # pyright: ignore[reportArgumentType]
