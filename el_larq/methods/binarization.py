"""How a convolution's input and kernel are binarized. Importing this module does not import TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Binarization:
    """The quantizers of a convolution's input and kernel, and the constraint on the latent kernel.

    Each is a name that Larq or Keras resolves, or a factory that returns a new object for each layer (an object shared between
    layers would not be saved and loaded as shared). None leaves the input or kernel real-valued.
    """

    input_quantizer: str | Callable[[], Any] | None = None
    kernel_quantizer: str | Callable[[], Any] | None = None
    kernel_constraint: str | Callable[[], Any] | None = None

    @property
    def binary(self) -> bool:
        return self.kernel_quantizer is not None
