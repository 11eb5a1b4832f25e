"""Scripts for a device's POSIX shell: every name reaches it as data, whatever it holds."""

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

    Comment lines are left out: adbd of Android 6 and older takes no command of more than 4096 bytes.
    """
    folder = resources.files("el_larq.devices") / "scripts"
    lines = [line for name in names for line in (folder / f"{name}.sh").read_text("utf-8").splitlines()]
    return "\n".join(line for line in lines if not line.lstrip().startswith("#")) + "\n"


def script(source: str, arguments: Sequence[str] = ()) -> str:
    """A shell script whose positional parameters are ``arguments``.

    Raises:
        UsageError: an argument holds a NUL, which no argument of a program can.
    """
    if any("\0" in argument for argument in arguments):
        raise UsageError("a name holds a NUL character, which no device accepts; rename it")
    # Quoted with single quotes, the only form in which no shell interprets anything.
    return f"set -- {' '.join(shlex.quote(argument) for argument in arguments)}\n{source}"


def for_any_login_shell(source: str) -> str:
    """A command line that runs a script with sh, for a login shell that may be fish or csh and quotes in another way.

    Only characters that mean the same in all of them appear; the others are octal and are put back by printf.
    """
    encoded = "".join(chr(byte) if _PLAIN.match(bytes([byte])) and byte != 10 else f"\\0{byte:03o}" for byte in os.fsencode(source))
    return f"""sh -c 'eval "$(printf "%b" "{encoded}")"'"""
