"""Builds a Keras model from the names of a network and a method."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.errors import UsageError
from el_larq.methods.method import Method
from el_larq.methods.method_registry import resolve_method
from el_larq.models.network_registry import DETECTORS, Network, check_width, get_any_network, resolve_options


def build(
    network: str,
    method: str | Method = "el",
    *,
    link: str | None = None,
    input_shape: tuple[int, int, int] | None = None,
    num_classes: int = 1000,
    width: float = 1.0,
    placement: str | None = None,
    link_options: dict[str, Any] | None = None,
    method_options: dict[str, Any] | None = None,
    variant: str | None = None,
    **arguments: Any,
) -> keras.Model:
    """A Keras model from images (N, H, W, C) to logits (N, num_classes).

    That of a detector has predictions (N, A, num_classes + 5): for each anchor logits of the background and the classes, then an
    encoded box (`el_larq.models.ssd`).

    Arguments:
        network, method, link: names from the registries; ``method`` may also be a Method object.
        input_shape: (height, width, channels); None is the network's default size, with three channels.
        num_classes: number of classes, 2 or more; for a detector 1 or more, without the background.
        width: factor for all channel counts, above 0.
        placement: "after_norm" or "before_norm", where an elastic link joins.
        link_options: options that the link declares (`el_larq.links`), such as ``{"per_channel": True}`` of an elastic link.
        method_options: the method's own options, as listed by `el-larq list methods --json`.
        variant: a block variant of the network; None uses the one that the method needs, or the standard block.
        arguments: the network's own options (`el_larq.models.network_registry.Network.options`); None is the same as omitting
            the option.

    Raises:
        UsageError: an unknown name, an invalid option or value, or a network and a method that do not fit together.
    """
    entry = get_any_network(network)
    resolved = resolve_method(method, link, placement, link_options, method_options)
    options = resolve_options(entry, resolved, {"variant": variant, **arguments})
    check_width(width)
    least = 1 if entry.name in DETECTORS else 2
    if num_classes < least:
        kind = "detector needs at least 1 class" if least == 1 else "classifier needs at least 2 classes"
        raise UsageError(f"a {kind}; got {num_classes}")
    shape = input_shape or (entry.image_size, entry.image_size, 3)
    # Names stand for this project's layers and Larq's, which do not need AutoGraph; with it, building takes a third longer.
    construct = tf.autograph.experimental.do_not_convert(build_network) if isinstance(method, str) else build_network
    return construct(entry, resolved, shape, num_classes, width, options)


def build_network(
    network: Network, method: Method, input_shape: tuple[int, ...], num_classes: int, width: float, options: Mapping[str, Any]
) -> keras.Model:
    """The Keras model of a network and a method that fit together; the options are those of `resolve_options`."""
    image = keras.Input(input_shape, name="image")
    logits = network.load_builder()(image, num_classes, method, width=width, **network.arguments, **options)
    return keras.Model(image, logits, name=network.name)
