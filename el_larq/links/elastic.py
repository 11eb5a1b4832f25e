"""The Elastic-Link: y = z + gamma * align(x), for any pair of shapes; see `el_larq.layers.elastic_link`."""

from typing import TYPE_CHECKING, Any

from el_larq.conv import Conv
from el_larq.links.link import Link
from el_larq.links.link_option import LinkOption

if TYPE_CHECKING:
    import tensorflow as tf

# Where a block also has a shortcut, a link with gamma 1 would carry the same features a second time, so that they double with
# every block. Without a shortcut the link is the only path, and with gamma below 1 the features fade with depth. The values tried
# are in docs/measurements.md.
WITH_SHORTCUT = 0.5


def _join(x: "tf.Tensor", z: "tf.Tensor", conv: Conv, **options: Any) -> "tf.Tensor":
    import tf_keras as keras

    from el_larq.layers import ElasticLink, gamma_start

    if conv.bypassed:
        channels = x.shape[-1]
        assert channels is not None
        start = WITH_SHORTCUT * gamma_start(channels, conv.filters)
        options.setdefault("gamma_initializer", keras.initializers.Constant(start))  # pyright: ignore[reportArgumentType]
    return ElasticLink(strides=conv.strides, name=f"{conv.name}_link", **options)([x, z])


def _constant(value: float) -> dict[str, Any]:
    """Keras' description of the initializer with this value."""
    return {"class_name": "Constant", "config": {"value": value}}


def _value_of(initializer: Any) -> Any:
    return initializer.get("config", {}).get("value") if isinstance(initializer, dict) else initializer


LINK = Link(
    name="elastic",
    summary="the input, squeezed or expanded to fit and weighted by a learnable gamma (Elastic-Link)",
    join=_join,
    placeable=True,
    cost="one addition per value, and those of a squeeze or pooling",
    declares=(
        LinkOption(
            "gamma_initializer",
            float,
            "Initial value of the elastic link's gamma. [default: min(1, C_out / C_in); half of it next to a shortcut]",
            flag="gamma",
            to_stored=_constant,
            from_stored=_value_of,
        ),
        LinkOption("per_channel", bool, "One gamma per channel instead of one per link.", flag="gamma_per_channel"),
        LinkOption("trainable", bool),
    ),
)
