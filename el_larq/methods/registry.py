"""Every method by name. Adding one takes its file and one line here."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from el_larq.errors import unknown_name
from el_larq.links.registry import get_link
from el_larq.methods import (
    abc,
    bbg,
    binary,
    bireal,
    cibcnn,
    el,
    float_,
    genetic,
    mobinet,
    options,
    reactnet,
    real_to_binary,
    resnete,
    tbn,
    xnor,
    xnor_pp,
)
from el_larq.methods.method import Method

MODULES = {
    module.METHOD.name: module
    for module in (
        float_,
        binary,
        bireal,
        bbg,
        el,
        reactnet,
        xnor,
        cibcnn,
        genetic,
        abc,
        mobinet,
        tbn,
        xnor_pp,
        resnete,
        real_to_binary,
    )
}

METHODS: dict[str, Method] = {name: module.METHOD for name, module in MODULES.items()}


def list_methods() -> list[str]:
    """The names of all methods."""
    return list(METHODS)


def get_maker(name: str) -> Callable[..., Method] | None:
    """``make`` of the method's file, which takes its options; None where it has none."""
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return getattr(MODULES[name], "make", None)


def parse_options(name: str, texts: Iterable[str]) -> dict[str, Any]:
    """A method's options from the command line's NAME=VALUE."""
    return options.parse(name, get_maker(name), texts)


def get_method(name: str, link: str | None = None, chosen: Mapping[str, Any] | None = None) -> Method:
    """The method of that name, with its own link or the one named, and with options of its own."""
    maker = get_maker(name)
    method = options.apply(name, maker, chosen) if chosen else METHODS[name]
    # Its own link by name stays as its options made it.
    return method if link in (None, method.link.name) else method.with_link(get_link(link))
