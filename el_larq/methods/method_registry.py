"""All methods by name. To add one, write its file and import and list it here."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from el_larq.errors import UsageError, unknown_name
from el_larq.links.link_registry import get_link, set_options
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
from el_larq.tables import TableList

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
    """The names of all methods. A notebook shows them as a table with each method's year, bits and summary."""
    return TableList(METHODS, "methods", ("method", "year", "bits", "summary"), _cells)


def _cells(name: str) -> tuple[str, object, str, str]:
    method = METHODS[name]
    return name, method.year or "", method.bits, method.summary


def get_maker(name: str) -> Callable[..., Method] | None:
    """``make`` in the method's file, whose arguments are its options; None for a method without options."""
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return getattr(MODULES[name], "make", None)


def parse_options(name: str, texts: Iterable[str]) -> dict[str, Any]:
    """A method's options from the command line's NAME=VALUE."""
    return options.parse(name, get_maker(name), texts)


def get_method(name: str, link: str | None = None, chosen: Mapping[str, Any] | None = None) -> Method:
    """The method of that name, with its own link or the given one. ``chosen`` contains values of the method's own options."""
    maker = get_maker(name)
    method = options.apply(name, maker, chosen) if chosen else METHODS[name]
    # If the given link is the method's own, keep it as the method's options configured it.
    return method if link in (None, method.link.name) else method.with_link(get_link(link))


def resolve_method(
    method: str | Method,
    link: str | None = None,
    placement: str | None = None,
    link_options: Mapping[str, Any] | None = None,
    method_options: Mapping[str, Any] | None = None,
) -> Method:
    """The method with the given link, placement, link options and method options.

    Raises:
        UsageError: an unknown name, method options for a Method object, or a placement or options that the link does not have.
    """
    if isinstance(method, str):
        method = get_method(method, link, method_options)
    elif method_options:
        raise UsageError("options belong to a method's name; a Method object has its own")
    elif link is not None:
        method = method.with_link(get_link(link))
    if link_options:
        method = replace(method, link=set_options(method.link, link_options))
    if placement is None:
        return method
    if not method.link.placeable:
        raise UsageError(f"link {method.link.name!r} has no placement; omit it, or choose another link")
    return method.with_placement(placement)
