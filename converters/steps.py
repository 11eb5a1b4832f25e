"""The names of the conversion's steps, in order. Does not import TensorFlow, since the command line lists them."""

from el_larq.errors import UsageError, unknown_name

STEPS = {
    "load": "read the model and make its input static",
    "fold": "exact rewrites: the cheapest graph that computes the same",
    "lower": "LCE's converter makes a flatbuffer",
    "arrange": "identical results, fewer copies and calls: views in place, constants by rows",
    "audit": "each convolution meant to be binary is an LceBconv2d",
    "verify": "flatbuffer and model agree on real images, signs included",
    "write": "the file, with labels, preprocessing and provenance in it",
}
_OPTIONAL = ("fold", "arrange", "audit", "verify")

VIEWS = ("bitcast", "reshape")
"""What makes a view of a float tensor (`converters/bitcasts.py`). The first is the default."""


def check_skip(skip: tuple[str, ...]) -> None:
    for name in skip:
        if name not in STEPS:
            raise unknown_name("step", name, STEPS)
        if name not in _OPTIONAL:
            raise UsageError(f"step {name!r} cannot be skipped; these can: {', '.join(_OPTIONAL)}")
