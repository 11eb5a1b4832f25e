"""Classifies images with a .tflite on a device, and compares its outputs with those of this machine."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from el_larq.data.stated import Statements, stated
from el_larq.devices.remote_inference import RemoteInference, RemoteProgram
from el_larq.devices.target import Target
from el_larq.errors import ElLarqError, UsageError
from el_larq.evaluation.open_model import open_tflite
from el_larq.evaluation.predict import Classifier, Prediction, find_images
from el_larq.model_outputs import Asked, choose, of_graph
from el_larq.tflite.interpreter import RawRun
from el_larq.tflite.postprocess import output_positions


@dataclass(frozen=True)
class DevicePrediction:
    """One image: what the device says of it, and what this machine says.

    difference: the largest difference of the outputs, divided by the largest absolute output of this machine.
    """

    device: Prediction
    host: Prediction
    difference: float

    @property
    def agrees(self) -> bool:
        """Whether both name the same most probable class."""
        return self.device.top[0][0] == self.host.top[0][0]


def agreement_error(predictions: Sequence[DevicePrediction], target: str) -> str:
    """The failure to report if the classes differ for more images than rounding explains; "" if they agree.

    Two implementations of a binary network cannot agree to the last digit (see `verify`): one image in a hundred may have another
    class, one of several in any case.
    """
    different = [prediction for prediction in predictions if not prediction.agrees]
    if len(different) <= (0 if len(predictions) == 1 else max(1, len(predictions) // 100)):
        return ""
    first = different[0]
    return (
        f"{target}: the class differs from this machine's for {len(different)} of {len(predictions)} images, first "
        f"{first.device.image} ({first.device.top[0][0]}, not {first.host.top[0][0]}); check that the program is of the LCE "
        "release that converted the model"
    )


def predict_on_device(
    model: Path,
    images: Sequence[str | Path],
    target: Target,
    program: RemoteProgram,
    *,
    output: Asked = None,
    top: int = 5,
    trust: bool = False,
    note: Callable[[str], None] = lambda line: None,
    notify: Callable[[str], None] = lambda line: None,
    **statements: Unpack[Statements],
) -> list[DevicePrediction]:
    """Classify image files on a device. They are prepared here; the device gets the model's inputs and returns its outputs.

    Arguments: as for `el_larq.predict`, and
        model: a .tflite file.
        program: docs/embed's program classify for this device.
        notify: called with lines about the device.

    Raises:
        UsageError: the model is not a .tflite or its card does not say how images are prepared, or the program is none.
        ElLarqError: a file is not an image, the model cannot be run, or the device or the program on it fails.
    """
    if model.suffix != ".tflite":
        raise UsageError(f"{model}: only a .tflite runs on a device; make one with el-larq convert")
    files = find_images(images)
    with ExitStack() as stack:
        interpreter, model_card = open_tflite(model, trust, stack)
        if output_positions(interpreter.graph, str(model)) is not None:
            raise UsageError(f"{model}: is a detector; --target compares classes: omit it")
        position = choose(of_graph(interpreter.graph), output, str(model)).position
        model_card, notes = stated(**statements).onto(model_card, interpreter.input_shape, str(model))
        for line in notes:
            note(line)
        classifier = Classifier.of(model, interpreter.input_shape, model_card)
        remote = stack.enter_context(RemoteInference(target, model, program, notify))
        found: list[DevicePrediction] = []
        step = remote.batch(4 * int(np.prod(interpreter.input_shape)))
        for first in range(0, len(files), step):
            batch = files[first : first + step]
            here = interpreter.run_raw(np.stack([classifier.preprocessing.load(path) for path in batch]), position)
            there = here.dequantize(remote.run(here.inputs, here.outputs)[position])
            found += _compare(classifier, batch, here, there, top, target.name)
    return found


def _compare(
    classifier: Classifier, images: list[Path], here: RawRun, there: np.ndarray, top: int, target: str
) -> list[DevicePrediction]:
    wanted = np.stack([classifier.check_output(output) for output in here.real])
    if not np.isfinite(there).all():
        raise ElLarqError(
            f"{target}: the outputs of the device are NaN or Inf, those of this machine are not; check that the program is of the "
            "LCE release that converted the model"
        )
    largest = np.maximum(np.abs(wanted).max(axis=1), np.finfo(np.float32).tiny)
    differences = np.abs(there - wanted).max(axis=1) / largest
    devices, hosts = (classifier.predictions(images, outputs, top) for outputs in (there, wanted))
    return [
        DevicePrediction(device, host, float(difference))
        for device, host, difference in zip(devices, hosts, differences, strict=True)
    ]
