"""The types that the values in a record's JSON must have."""

from typing import Any

_LARGEST = 3.5e38
"""The largest float32; larger numbers cannot be plotted."""

Form = Any
"""A type; a list of one form, for lists of it; a dict of forms by key, for objects; a tuple of alternatives.

Keys that end in "?" may be missing, and keys that the form does not have are ignored. ``float`` is any finite number in the range
of float32, ``int`` an integer in this range; a boolean is neither.
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


def find_misfit(value: Any, form: Form, name: str = "it") -> str:
    """Describe where a value from JSON differs from a form; empty if it does not."""
    if isinstance(form, tuple):
        found = [find_misfit(value, one, name) for one in form]
        return "" if "" in found else found[0]
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{name} is not a list"
        return next(filter(None, (find_misfit(part, form[0], f"{name}[{at}]") for at, part in enumerate(value))), "")
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return f"{name} is not an object"
        for key, part in form.items():
            plain = key.removesuffix("?")
            if plain in value and (wrong := find_misfit(value[plain], part, f"{name}.{plain}")):
                return wrong
            if plain == key and plain not in value:
                return f"{name} has no {key}"
        return ""
    return "" if _fits(value, form) else f"{name} is not {_NAMES[form]}"


_NAMES = {str: "a string", float: "a number", int: "an integer", bool: "a boolean", None: "null"}


def _fits(value: Any, form: type | None) -> bool:
    if form in (float, int):
        whole = isinstance(value, int) and not isinstance(value, bool)
        return (whole or (form is float and isinstance(value, float))) and -_LARGEST <= value <= _LARGEST
    return value is None if form is None else isinstance(value, form)
