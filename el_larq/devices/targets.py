"""Every target by name. Imports nothing heavy: the command line lists them."""

from el_larq.errors import unknown_name

TARGETS = {
    "local": "this machine, in-process with LCE's interpreter; an x86 latency says nothing about a BNN on ARM",
}


def check_target(name: str) -> str:
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS)
    return name
