"""All links by name. To add one, write its file and import and list it here. Does not import TensorFlow."""

from collections.abc import Mapping
from typing import Any

from el_larq.errors import UsageError, unknown_name
from el_larq.links import elastic, gated, identity, none
from el_larq.links.link import Link
from el_larq.links.link_option import LinkOption

LINKS: dict[str, Link] = {module.LINK.name: module.LINK for module in (none, identity, gated, elastic)}


def get_link(name: str) -> Link:
    if name not in LINKS:
        raise unknown_name("link", name, LINKS)
    return LINKS[name]


def flagged_options() -> dict[str, LinkOption]:
    """The options of all links that the command line offers, by its parameter."""
    return {option.flag: option for link in LINKS.values() for option in link.declares if option.flag is not None}


def set_options(link: Link, options: Mapping[str, Any]) -> Link:
    """The link with options that it declares.

    Raises:
        UsageError: an option that the link does not have, or a value of the wrong type.
    """
    declared = {option.name: option for option in link.declares}
    for name, value in options.items():
        if name not in declared:
            raise _undeclared(link, name)
        if declared[name].kind is bool and not isinstance(value, bool):
            raise UsageError(f"option {name!r} of link {link.name!r} is True or False; got {value!r}")
    return link.with_options(**options)


def _undeclared(link: Link, name: str) -> UsageError:
    owners = {other.name: option for other in LINKS.values() for option in other.declares if option.name == name}
    if owners:
        flag = next((option.flag for option in owners.values() if option.flag), None)
        shown = name if flag is None else "--" + flag.replace("_", "-")
        return UsageError(f"{shown} is an option of link {' and '.join(owners)}; this method's link is {link.name!r}")
    if not link.declares:
        return UsageError(f"link {link.name!r} has no options; omit {name!r}")
    return unknown_name(f"option of link {link.name!r}", name, [option.name for option in link.declares])
