"""Every method by name. Adding one takes its file and one line here."""

from el_larq.errors import unknown_name
from el_larq.methods import binary, bireal, el, float_
from el_larq.methods.link import get_link
from el_larq.methods.method import Method

METHODS = {module.METHOD.name: module.METHOD for module in (float_, binary, bireal, el)}


def get_method(name: str, link: str | None = None) -> Method:
    """The method of that name, with its own link or the one named."""
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    method = METHODS[name]
    return method if link is None else method.with_link(get_link(link))
