"""All links by name. To add one, write its file and add one line here. Does not import TensorFlow."""

from el_larq.errors import unknown_name
from el_larq.links import elastic, gated, identity, none
from el_larq.links.link import Link

LINKS: dict[str, Link] = {module.LINK.name: module.LINK for module in (none, identity, gated, elastic)}


def get_link(name: str) -> Link:
    if name not in LINKS:
        raise unknown_name("link", name, LINKS)
    return LINKS[name]
