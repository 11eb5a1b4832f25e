"""What a link is, as data. Importing this module does not import TensorFlow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from el_larq.conv import Conv

if TYPE_CHECKING:
    import tensorflow as tf

Join = Callable[..., "tf.Tensor"]
"""``join(x, z, conv, **options)``: z (N, H', W', filters) with the features of x (N, H, W, C) added to it."""


@dataclass(frozen=True)
class Link:
    """A link carries real-valued features around a binary convolution. It includes the options of its layer.

    join: adds the input's features to the convolution's output; see `Join`.
    residual: the link alone is the residual of each convolution (as in Bi-Real Net: one shortcut per convolution), so a block of
        convolutions that keep their shape needs no shortcut of its own.
    cost: what the link costs at inference after folding, in words. "" means nothing.
    """

    name: str
    summary: str
    join: Join
    residual: bool = False
    cost: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def with_options(self, **options: Any) -> "Link":
        return replace(self, options={**self.options, **options})

    def attach(self, x: "tf.Tensor", z: "tf.Tensor", conv: Conv) -> "tf.Tensor":
        """Add the features of a convolution's input x to its output z (before or after normalization)."""
        return self.join(x, z, conv, **self.options)
