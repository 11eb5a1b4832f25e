"""The names of the conversion's steps, in order. Does not import TensorFlow, since the command line lists them."""

from pathlib import Path

from el_larq.compression.ranges import RANGES
from el_larq.detection.non_maximum_suppression import Selection
from el_larq.errors import UsageError, unknown_name

STEPS = {
    "load": "read the model and make its input static",
    "fold": "exact rewrites: the cheapest graph that computes the same",
    "lower": "LCE's converter makes a flatbuffer",
    "quantize": "real-valued operators compute with int8, if that is asked for",
    "arrange": "identical results, fewer copies and calls: views in place, constants by rows, signs packed once",
    "store": "kernels of real-valued layers as int8 or float16, if that is asked for",
    "audit": "each convolution meant to be binary is an LceBconv2d",
    "verify": "flatbuffer and model agree on real images, signs included",
    "select": "a detector's boxes are selected in the file, by TFLite_Detection_PostProcess",
    "write": "the file, with labels, preprocessing and provenance in it",
}
ON_REQUEST = ("quantize", "store", "select")
"""Steps that run only if an option or the model asks for them."""

_OPTIONAL = ("fold", "arrange", "audit", "verify", "select")

INT8 = ("weights", "full", "io")
"""What is quantized to 8 bits, on request: kernels in the file (`converters/store.py`), all operators that can be
(`converters/int8`), and inputs and outputs in addition."""

CALIBRATION_IMAGES = 256
"""The number of images to calibrate on, by default."""

DEFAULT_RANGE = "mse"

CALIBRATED = ("full", "io")
"""The kinds of int8 that need calibration images."""

WEIGHTS = ("float32", "float16")
"""The types in which real-valued kernels are stored. The first is the default."""

MOST_DETECTIONS = 10_000

VIEWS = ("bitcast", "reshape")
"""What makes a view of a float tensor (`converters/bitcasts.py`). The first is the default."""


def check_skip(skip: tuple[str, ...]) -> None:
    for name in skip:
        if name not in STEPS:
            raise unknown_name("step", name, STEPS)
        if name not in _OPTIONAL:
            raise UsageError(f"step {name!r} cannot be skipped; these can: {', '.join(_OPTIONAL)}")


def check_selection(selection: Selection) -> None:
    """Raise UsageError for a threshold or a number that TFLite_Detection_PostProcess does not take."""
    if not 1 <= selection.most <= MOST_DETECTIONS:
        raise UsageError(f"the number of detections in an image is from 1 to {MOST_DETECTIONS:,}; got {selection.most}")
    if not 0 <= selection.score <= 1:
        raise UsageError(f"the threshold of scores is from 0 to 1; got {selection.score:g}")
    if not 0 < selection.iou <= 1:
        raise UsageError(f"the threshold of IoU is above 0 and at most 1; got {selection.iou:g}")


def check_stored(
    int8: str | None,
    weights: str,
    calibrate: str | None = None,
    calibration_images: int | None = None,
    ranges: str | None = None,
    views: str = VIEWS[0],
    int8_plot: Path | None = None,
) -> None:
    """Check what is quantized to 8 bits, the type in which kernels are stored, and that options that depend on these are used."""
    if int8 is not None and int8 not in INT8:
        raise unknown_name("kind of int8", int8, INT8)
    if weights not in WEIGHTS:
        raise unknown_name("type of weights", weights, WEIGHTS)
    if int8 is not None and weights != WEIGHTS[0]:
        raise UsageError(f"kernels are stored either as int8 or as {weights}; give one of --int8 and --weights")
    if int8 in CALIBRATED and calibrate is None:
        raise UsageError(f"--int8 {int8} needs --calibrate: a data set, or a .npy file of inputs, that ranges are measured on")
    given: dict[str, object] = {"--calibrate": calibrate, "--calibration-images": calibration_images, "--ranges": ranges}
    given["--int8-plot"] = int8_plot
    for option, value in given.items():
        if value is not None and int8 not in CALIBRATED:
            raise UsageError(f"{option} is for --int8 {' and '.join(CALIBRATED)}; give one of them or omit it")
    if int8 in CALIBRATED and views != VIEWS[0]:
        raise UsageError(f"--views is for files that compute in float32; with --int8 {int8} all views are RESHAPE: omit it")
    if ranges is not None and ranges not in RANGES:
        raise unknown_name("range estimator", ranges, RANGES)
