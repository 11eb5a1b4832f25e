"""Builds a Keras model from the names of a network and a method."""

from dataclasses import replace
from typing import Any

import tf_keras as keras

from el_larq.errors import UsageError
from el_larq.links.registry import get_link
from el_larq.methods.method import Method
from el_larq.methods.registry import get_method
from el_larq.models.registry import check_options, check_pair, get_network, resolve_variant


def resolve_method(
    method: str | Method,
    link: str | None,
    placement: str | None,
    link_options: dict[str, Any],
    method_options: dict[str, Any] | None = None,
) -> Method:
    """The method with the given link, placement, link options and method options.

    Raises:
        UsageError: an unknown name, method options for a Method object, or options that do not apply to the link.
    """
    if isinstance(method, str):
        method = get_method(method, chosen=method_options)
    elif method_options:
        raise UsageError("options go with a method's name; a Method object has its own")
    if link is not None:
        method = method.with_link(get_link(link))
    if link_options or placement is not None:
        if method.link.name != "elastic":
            raise UsageError(f"placement and gamma are options of the elastic link; this method's link is {method.link.name!r}")
        method = replace(method, link=method.link.with_options(**link_options))
    return method if placement is None else method.with_placement(placement)


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

    Arguments:
        network, method, link: names from the registries; ``method`` may also be a Method object.
        input_shape: (height, width, channels); None is the network's default size, with three channels.
        num_classes: number of classes, 2 or more.
        width: factor for all channel counts, above 0.
        placement, link_options: options of an elastic link ("after_norm" or "before_norm"; ElasticLink's arguments).
        method_options: the method's own options, as listed by `el-larq list methods --json`.
        variant: a block variant of the network; None uses the one that the method needs, or the standard block.
        arguments: the network's own options (`el_larq.models.registry.Network.options`); None is the same as omitting the option.

    Raises:
        UsageError: an unknown name, an invalid option or value, or a network and a method that do not fit together.
    """
    entry = get_network(network)
    resolved = resolve_method(method, link, placement, link_options or {}, method_options)
    variant = resolve_variant(entry, resolved, variant)
    check_pair(entry, resolved.link.name, resolved.name)
    arguments = {name: value for name, value in arguments.items() if value is not None}
    check_options(entry, arguments)
    if variant is not None:
        arguments["variant"] = variant
    if not 0 < width < float("inf"):
        raise UsageError(f"width must be positive; got {width:g}")
    if num_classes < 2:
        raise UsageError(f"a classifier needs at least 2 classes; got {num_classes}")
    image = keras.Input(input_shape or (entry.image_size, entry.image_size, 3), name="image")
    logits = entry.load_builder()(image, num_classes, resolved, width=width, **entry.arguments, **arguments)
    return keras.Model(image, logits, name=entry.name)
