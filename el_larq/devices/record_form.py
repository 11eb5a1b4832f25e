"""What a record's JSON must look like for others to compute with it and print it."""

from typing import Any

_LARGEST = 3.5e38
"""Of float32; numbers beyond have no place on the axis of a plot."""

Form = Any
"""A type; a form in a list, for lists of it; a dict of forms by key, for objects; a tuple, for one or the other.

Keys that end in "?" may be missing, and those that a form does not name are not looked at. ``float`` is any number that is finite
and of a float32's range, ``int`` a whole one; neither is a truth value.
"""

_TEMPERATURE = {"celsius?": (float, None)}

DEVICE = {
    "machine?": str,
    "bits?": (int, None),
    "kernel?": str,
    "board?": str,
    "android?": (str, None),
    "cpus?": (int, None),
    "big_cores?": [int],
    "governors?": [str],
    "celsius?": (float, None),
    "throttled?": (str, None),
    "clock_offset_s?": (float, None),
}

RECORD = {
    "time": str,
    "target": str,
    "model": {"path": str, "name?": str, "sha256": str, "bytes?": int},
    "device": DEVICE,
    "engine": {"name?": (str, None), "sha256?": (str, None)},
    "runtime": {"num_threads": int, "cores?": ([int], None), "profile?": (bool, None), "order?": int},
    "latency_metrics": {"avg_ms": float, **dict.fromkeys(("median_ms?", "min_ms?", "stddev_ms?", "iqr_ms?"), float)},
    "memory_metrics?": dict.fromkeys(("peak_mem_mb?", "overall_footprint_kb?"), float),
    "misc_metrics?": {"num_runs?": float},
    "command?": [str],
    "before?": _TEMPERATURE,
    "after?": _TEMPERATURE,
    "layers?": [
        {"layer": str, "operator": str, "index": (int, None), "bits": (int, None), "macs": int, "ms": float, "share": float}
    ],
    "marks?": [str],
}


def misfit(value: Any, form: Form, name: str = "it") -> str:
    """What is wrong with a value from JSON that should have a form, with the name of the part; empty if nothing is."""
    if isinstance(form, tuple):
        found = [misfit(value, one, name) for one in form]
        return "" if "" in found else found[0]
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{name} is not a list"
        return next(filter(None, (misfit(part, form[0], f"{name}[{at}]") for at, part in enumerate(value))), "")
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return f"{name} is not an object"
        for key, part in form.items():
            plain = key.removesuffix("?")
            if plain in value and (wrong := misfit(value[plain], part, f"{name}.{plain}")):
                return wrong
            if plain == key and plain not in value:
                return f"{name} has no {key}"
        return ""
    return "" if _fits(value, form) else f"{name} is not {_NAMES[form]}"


_NAMES = {str: "a text", float: "a number", int: "a whole number", bool: "true or false", None: "null"}


def _fits(value: Any, form: type | None) -> bool:
    if form in (float, int):
        whole = isinstance(value, int) and not isinstance(value, bool)
        return (whole or (form is float and isinstance(value, float))) and -_LARGEST <= value <= _LARGEST
    return value is None if form is None else isinstance(value, form)
