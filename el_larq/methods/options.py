"""A method's own options: the keyword arguments of ``make`` in its file. Does not import TensorFlow.

The signature of ``make`` is their only description: a name, a default, and an annotation that is bool, int, float or a Literal of
the allowed words. ``make()`` returns the method with its defaults and checks ranges itself.
"""

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from el_larq.errors import UsageError, unknown_name


def choices(make: Callable[..., Any]) -> dict[str, str]:
    """Each option with its allowed values and default, in words: {"k": "off, 1x1, 3x3 or all; default off"}."""
    hints = typing.get_type_hints(make)
    return {
        name: f"{_describe(hints[name])}; default {_spell(parameter.default)}"
        for name, parameter in inspect.signature(make).parameters.items()
    }


def parse(method: str, make: Callable[..., Any] | None, texts: Iterable[str]) -> dict[str, Any]:
    """``["k=all"]`` to ``{"k": "all"}``, converted to the types in the signature of ``make``.

    Raises:
        UsageError: not NAME=VALUE, an option the method does not have, or a value of the wrong type.
    """
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"option {text!r} is not NAME=VALUE, as in k=all")
        _check_name(method, make, name)
        options[name] = _read(name, value, typing.get_type_hints(make)[name])
    return options


def apply(method: str, make: Callable[..., Any] | None, options: Mapping[str, Any]) -> Any:
    """The method with these options.

    Raises:
        UsageError: an option the method does not have, or an invalid value.
    """
    for name in options:
        _check_name(method, make, name)
    assert make is not None
    return make(**{name: _checked(name, value, typing.get_type_hints(make)[name]) for name, value in options.items()})


def _check_name(method: str, make: Callable[..., Any] | None, name: str) -> None:
    if make is None:
        raise UsageError(f"method {method!r} has no options of its own; omit {name!r}")
    known = list(inspect.signature(make).parameters)
    if name not in known:
        raise unknown_name(f"option of method {method!r}", name, known)


def _read(name: str, text: str, kind: Any) -> Any:
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return _checked(name, words.get(text.lower(), text), kind)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise UsageError(f"option {name} takes {_describe(kind)}; got {text!r}") from None
    return _checked(name, text, kind)


def _checked(name: str, value: Any, kind: Any) -> Any:
    allowed = typing.get_args(kind)
    if allowed:
        fits = value in allowed
    elif kind is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    else:
        fits = type(value) is kind
    if not fits:
        raise UsageError(f"option {name} takes {_describe(kind)}; got {value!r}")
    return value


def _describe(kind: Any) -> str:
    allowed = [_spell(value) for value in typing.get_args(kind)]
    if allowed:
        return " or ".join(filter(None, (", ".join(allowed[:-1]), allowed[-1])))
    return {bool: "yes or no", int: "an integer", float: "a number"}[kind]


def _spell(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
