"""Links: what carries real-valued features around a binary convolution. Importing this module imports no TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from el_larq.errors import unknown_name

if TYPE_CHECKING:
    import tensorflow as tf

    from el_larq.methods.method import Conv

# Where a block has a shortcut as well, links of gamma 1 would carry the same features a second time, so that they double with
# every block; without one they are all that gets through, and less than 1 fades out over the depth. docs/measurements.md has
# what was tried.
BESIDE_SHORTCUT = 0.5


@dataclass(frozen=True)
class Link:
    """A link by name, with the options of its layer.

    residual: the link alone is the residual of each convolution (Bi-Real: one shortcut per convolution), so a block of
    convolutions that keep their shape needs no shortcut of its own.
    cost: what it costs at inference after folding, in words. "" is nothing.
    """

    name: str
    summary: str
    residual: bool = False
    cost: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def with_options(self, **options: Any) -> "Link":
        return replace(self, options={**self.options, **options})

    def attach(self, x: "tf.Tensor", z: "tf.Tensor", conv: "Conv") -> "tf.Tensor":
        """z with x's features added to it, as this link does it."""
        if self.name == "none":
            return z
        import tf_keras as keras

        from el_larq.layers import ElasticLink, GatedLink, gamma_start

        name = f"{conv.name}_link"
        if self.name == "identity":
            return keras.layers.Add(name=name)([x, z]) if x.shape[1:] == z.shape[1:] else z
        if self.name == "gated":
            # Other channels go through the network's own shortcut, whose normalization is a gate already.
            if x.shape[-1] != z.shape[-1]:
                return z
            return GatedLink(strides=conv.strides, name=name, **self.options)([x, z])
        options = dict(self.options)
        if conv.bypassed:
            channels = x.shape[-1]
            assert channels is not None
            start = BESIDE_SHORTCUT * gamma_start(channels, conv.filters)
            options.setdefault("gamma_initializer", keras.initializers.Constant(start))  # pyright: ignore[reportArgumentType]
        return ElasticLink(strides=conv.strides, name=name, **options)([x, z])


LINKS = {
    link.name: link
    for link in (
        Link("none", "nothing"),
        Link(
            "identity",
            "the input itself where the shapes agree, nothing where they do not (Bi-Real Net)",
            residual=True,
            cost="one addition a value",
        ),
        Link(
            "gated",
            "the input, pooled by the stride and weighted by a gate a channel, where the channels agree (BBG)",
            residual=True,
            cost="one addition a value; one multiplication a value for at most one gate in a run of equal widths",
        ),
        Link(
            "elastic",
            "the input, squeezed or expanded to fit and weighted by a learnable gamma (Elastic-Link)",
            cost="one addition a value, and those of a squeeze or pooling",
        ),
    )
}


def get_link(name: str) -> Link:
    if name not in LINKS:
        raise unknown_name("link", name, LINKS)
    return LINKS[name]
