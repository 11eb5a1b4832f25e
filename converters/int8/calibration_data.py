"""The images that ranges are calibrated on: of a data set's training split, or of a .npy file."""

from pathlib import Path
from typing import Any

import numpy as np

from el_larq import card
from el_larq.converters.job import Job
from el_larq.converters.steps import CALIBRATION_IMAGES
from el_larq.data.dataset_registry import check_dataset, load_dataset
from el_larq.data.npy_file import open_npy
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.stated import OPTIONS, describe
from el_larq.errors import UsageError
from el_larq.printable import counted

_BATCH = 32

_MARGIN = 0.05
"""By how much of the range of inputs values may lie outside it: interpolation overshoots."""


def check_calibration(calibrate: str) -> None:
    """Check the name of a data set or file, without reading images."""
    if calibrate.endswith(".npy"):
        if not Path(calibrate).is_file():
            raise UsageError(f"calibration: there is no file {calibrate}")
        return
    check_dataset(calibrate, None)


def calibration_images(job: Job) -> tuple[np.ndarray, dict[str, Any], str]:
    """Inputs of the model, float32 (N, ...), where they are from, as data for the card, and a warning or "".

    Raises:
        UsageError: the data do not fit the model, or there are fewer than requested.
        ElLarqError: a file cannot be read.
    """
    model, options = job.need_original(), job.options
    name, count = options.calibrate, options.calibration_images or CALIBRATION_IMAGES
    assert name is not None, "checked by the options"
    if len(model.inputs) > 1 or not model.inputs[0].dtype.is_floating:
        raise UsageError("calibration: needs a model with one input of real numbers")
    preprocessing = card.preprocessing(job.card, "calibration")
    shape = tuple(model.input_shape)
    warnings = []
    if name.endswith(".npy"):
        images, source = _of_file(Path(name), shape, preprocessing, count), {"file": Path(name).name}
    else:
        images, how = _of_dataset(name, job.task, shape, preprocessing, count)
        source = {"dataset": name, "split": "train"}
        if preprocessing is None:
            warnings.append(
                f"nothing says how images are prepared for the model; assumed: {describe(how)}; if wrong, give {OPTIONS}"
            )
    if len(images) < count:
        raise UsageError(
            f"calibration: {name} has {counted(len(images), 'image')}, fewer than the {count} to calibrate on; "
            f"give --calibration-images {len(images)} or more data"
        )
    if np.ptp(images) == 0:
        raise UsageError(
            f"calibration: all values of {name} are equal, so they say nothing of ranges; give images of the model's task"
        )
    from el_larq.converters.int8.input_statistics import unlike_training  # imports TensorFlow, which check_calibration does without

    warnings += [found] if (found := unlike_training(model, images)) else []
    return images, source | {"images": count}, "; ".join(warnings)


def _of_file(path: Path, shape: tuple[int, ...], preprocessing: Preprocessing | None, count: int) -> np.ndarray:
    """Images spread evenly over the file; only these are read."""
    images = open_npy(path, "calibration: ")
    if images.ndim == 0 or images.shape[1:] != shape:
        raise UsageError(f"calibration: {path} has the shape {images.shape}; the model takes (N, {', '.join(map(str, shape))})")
    if images.dtype != np.float32:
        raise UsageError(f"calibration: {path} has values of {images.dtype}; give preprocessed inputs of the model, as float32")
    if len(images) > count:
        images = images[np.linspace(0, len(images) - 1, count).astype(int)]
    images = np.asarray(images)
    if not np.isfinite(images).all():
        raise UsageError(f"calibration: {path} contains NaN or Inf")
    if preprocessing is not None and images.size and not _in_range(images, preprocessing):
        raise UsageError(_scale_message(path, images, preprocessing))
    return images


def _limits(preprocessing: Preprocessing) -> tuple[float, float]:
    """The inputs of black and white."""
    mean, std = np.asarray(preprocessing.mean, np.float64), np.asarray(preprocessing.std, np.float64)
    return float(((0 - mean) / std).min()), float(((255 - mean) / std).max())


def _in_range(images: np.ndarray, preprocessing: Preprocessing) -> bool:
    """Whether values lie where this preprocessing puts them, and take more than a hundredth of that range."""
    if preprocessing.mean is None:
        return bool(np.abs(images).max() <= 255)  # each image's own mean and deviation: sqrt(H * W * C) at most
    low, high = _limits(preprocessing)
    margin = _MARGIN * (high - low)
    return bool(images.min() >= low - margin and images.max() <= high + margin and np.ptp(images) > (high - low) / 100)


def _scale_message(path: Path, images: np.ndarray, preprocessing: Preprocessing) -> str:
    text = f"calibration: the values of {path} go from {images.min():.3g} to {images.max():.3g}"
    if preprocessing.mean is None:
        return f"{text}, but the model's inputs have mean 0 and standard deviation 1; scale them as the model's card says"
    low, high = _limits(preprocessing)
    return f"{text}, but the model's inputs from {low:.3g} to {high:.3g}; scale them as the model's card says"


def _of_dataset(
    name: str, task: str, shape: tuple[int, ...], preprocessing: Preprocessing | None, count: int
) -> tuple[np.ndarray, Preprocessing]:
    """Training images, and how they were prepared."""
    size = shape[0] if len(shape) == 3 and shape[0] == shape[1] else None
    fitting = preprocessing if preprocessing is not None and preprocessing.input_shape == shape else None
    data = load_dataset(name, size, preprocessing=fitting, task=task)
    if data.preprocessing.input_shape != shape:
        raise UsageError(f"calibration: {name} has images of {data.preprocessing.input_shape}, the model takes {shape}")
    if data.train_size < count:
        return np.zeros((data.train_size, *shape), np.float32), data.preprocessing  # the caller says how many there are
    size = min(_BATCH, count)
    parts = []
    with data.reading():
        for images, _ in data.training_batches(size, 1 + -(-count // data.train_size), seed=0).take(-(-count // size)):
            parts.append(images.numpy())
    return np.concatenate(parts)[:count], data.preprocessing
