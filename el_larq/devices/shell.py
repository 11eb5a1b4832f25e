"""Scripts for a device's POSIX shell. Arguments are quoted, so that the shell never interprets them."""

import os
import re
import shlex
from collections.abc import Sequence
from functools import cache
from importlib import resources

from el_larq.errors import UsageError

_PLAIN = re.compile(rb"[A-Za-z0-9 _./=:,+@\n-]")


@cache
def load(*names: str) -> str:
    """The text of scripts in `el_larq/devices/scripts`, by name and in this order, as one script.

    Comment lines are left out: adbd of Android 6 and older accepts no command of more than 4096 bytes.
    """
    folder = resources.files("el_larq.devices") / "scripts"
    lines = [line for name in names for line in (folder / f"{name}.sh").read_text("utf-8").splitlines()]
    return "\n".join(line for line in lines if not line.lstrip().startswith("#")) + "\n"


def make_script(source: str, arguments: Sequence[str] = ()) -> str:
    """A shell script whose positional parameters are ``arguments``.

    Raises:
        UsageError: an argument contains a NUL, which program arguments cannot contain.
    """
    if any("\0" in argument for argument in arguments):
        raise UsageError("a name contains a NUL character, which no device accepts; rename it")
    # shlex quotes with single quotes, between which no shell interprets anything.
    return f"set -- {' '.join(shlex.quote(argument) for argument in arguments)}\n{source}"


def quote_for_login_shell(source: str) -> str:
    """A command line that runs a script with sh, for any login shell: fish and csh quote differently.

    It consists of characters that have the same meaning in all of them; the others are octal escapes, which printf decodes.
    """
    encoded = "".join(chr(byte) if _PLAIN.match(bytes([byte])) and byte != 10 else f"\\0{byte:03o}" for byte in os.fsencode(source))
    return f"""sh -c 'eval "$(printf "%b" "{encoded}")"'"""
