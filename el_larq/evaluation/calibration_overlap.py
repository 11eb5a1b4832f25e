"""Whether an int8 model may have been calibrated on the images that it is scored on, which would make its score worthless."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from el_larq import card
from el_larq.data.dataset import Dataset, View
from el_larq.data.dataset_registry import check_dataset, parse_name
from el_larq.data.npy_file import open_npy
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import UsageError
from el_larq.files import read_bytes
from el_larq.printable import printable
from el_larq.tflite.reader import parse

_CHUNK = 256


def check_calibrated_on(source: str) -> None:
    """Raise UsageError unless this is a .npy file or the name of a data set."""
    if not source.endswith(".npy"):
        check_dataset(source, None)  # of classifiers and detectors
    elif not Path(source).is_file():
        raise UsageError(f"there is no file {source}, on which the model is said to be calibrated")


def check_has_ranges(path: Path) -> None:
    """Raise UsageError unless this is a .tflite that computes with int8."""
    graph = parse(read_bytes(path), str(path)) if path.suffix == ".tflite" else None
    if graph is None or not any(tensor.type == "int8" and not tensor.constant for tensor in graph.tensors):
        raise UsageError(f"{path}: does not compute with int8, so no images gave it ranges; omit --calibrated-on")


def calibration_notes(
    model_card: card.Card, said: str | None, data: Dataset, view: View, preprocessing: Preprocessing
) -> tuple[str, ...]:
    """What to know of the images that the ranges of an int8 model are from.

    Arguments:
        said: a data set, of which the training split was used, or a .npy file of inputs, by someone who knows; None for what the
            card says.
        view: the images that the model is scored on. A file's images are compared with them.

    Raises:
        ElLarqError: the file cannot be read.
        UsageError: its images are not inputs of the model.
    """
    source = model_card.get("calibrated_on")
    known = str(source.get("file", source.get("dataset"))) if isinstance(source, dict) else None
    differs: tuple[str, ...] = ()
    if said is not None and known is not None and not _same(known, Path(said).name if said.endswith(".npy") else said):
        differs = (f"its card says that it was calibrated on {printable(known)}, not on {printable(said)}",)
    if said is not None and said.endswith(".npy"):
        return (*differs, _compared(Path(said), view, preprocessing))
    source = said if said is not None else known
    if source is None or _same(source, data.name):  # its training split
        return differs
    text = (
        f"its int8 ranges were calibrated on {printable(source)}; the score means little if that contains images of this test split"
    )
    return (*differs, text)


def _same(one: str, other: str) -> bool:
    """Whether two names are those of the same data set, which a card may state as it was typed."""
    return _images_of(one) == _images_of(other)


def _images_of(name: str) -> str:
    """The name without what does not say which images they are: its folder's spelling, version and augmentation."""
    try:
        return str(replace(parse_name(name), version=None, data_dir=None, augment=None))
    except UsageError:  # a file, or a data set that was given as an object
        return name


def _compared(path: Path, view: View, preprocessing: Preprocessing) -> str:
    if preprocessing.mean is None:
        return f"the images of {path} cannot be compared with the test split: each is scaled by its own mean and deviation"
    calibrated, found = _pictures(path, preprocessing), 0
    for start in range(0, len(view), _CHUNK):
        found += sum(_digest(image) in calibrated for image in view[start : start + _CHUNK])
    if not found:
        return f"none of the {len(view):,} images was found in {path}, pixel by pixel; resized or augmented ones would not be found"
    return (
        f"the model was calibrated on {found:,} of the {len(view):,} images that it is scored on ({path}); the score means little"
    )


def _pictures(path: Path, preprocessing: Preprocessing) -> set[bytes]:
    """Digests of the images, 0 to 255, that the inputs in a file were made of: x * std + mean, rounded."""
    inputs, shape = open_npy(path), preprocessing.input_shape
    if inputs.shape[1:] != shape or inputs.dtype != np.float32:
        wanted = f"float32 inputs of shape (N, {', '.join(map(str, shape))})"
        raise UsageError(f"{path} does not have {wanted}, on which the model can have been calibrated")
    if len(inputs) == 0:
        raise UsageError(f"{path} contains no images")
    mean, std = np.asarray(preprocessing.mean, np.float64), np.asarray(preprocessing.std, np.float64)
    order = slice(None, None, -1 if preprocessing.channel_order == "bgr" else 1)
    digests = set()
    for image in inputs:
        if not np.isfinite(image).all():
            raise UsageError(f"{path} contains NaN or Inf")
        values = np.clip(np.rint(image.astype(np.float64) * std + mean), 0, 255)
        digests.add(_digest(values.astype(np.uint8)[..., order]))
    return digests


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
