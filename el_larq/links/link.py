"""What a link is, as data. Importing this module does not import TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from el_larq.conv import Conv
from el_larq.links.link_option import LinkOption

if TYPE_CHECKING:
    import tensorflow as tf

Join = Callable[..., "tf.Tensor"]
"""``join(x, z, conv, **options)``: z (N, H', W', filters) with the features of x (N, H, W, C) added to it."""

Shape = Sequence[int | None]
"""Height, width and channels."""


def any_shapes(_x: Shape, _z: Shape) -> bool:
    """Fits every convolution."""
    return True


def no_shapes(_x: Shape, _z: Shape) -> bool:
    """Fits no convolution."""
    return False


@dataclass(frozen=True)
class Link:
    """A link carries real-valued features around a binary convolution. It includes the options of its layer.

    join: adds the input's features to the convolution's output where the link fits; see `Join`.
    fits: a function of the shapes of a convolution's input and output: whether the link can join them. Elsewhere, the output stays
        as it is.
    residual: the link alone is the residual of each convolution (as in Bi-Real Net: one shortcut per convolution), so a block of
        convolutions that keep their shape needs no shortcut of its own.
    placeable: users may choose whether it joins before or after the normalization.
    cost: what the link costs at inference after folding, in words. "" means nothing.
    declares: the options that users may set.
    options: the values of those that are set.
    """

    name: str
    summary: str
    join: Join
    fits: Callable[[Shape, Shape], bool] = any_shapes
    residual: bool = False
    placeable: bool = False
    cost: str = ""
    declares: tuple[LinkOption, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether this is the absence of a link."""
        return self.fits is no_shapes

    def with_options(self, **options: Any) -> "Link":
        """This link with these keywords of its `join`; `el_larq.links.link_registry.set_options` checks them."""
        return replace(self, options={**self.options, **options})

    def attach(self, x: "tf.Tensor", z: "tf.Tensor", conv: Conv) -> "tf.Tensor":
        """Add the features of a convolution's input x to its output z (before or after normalization)."""
        before, after = x.shape.as_list()[1:], z.shape.as_list()[1:]
        return self.join(x, z, conv, **self.options) if self.fits(before, after) else z
