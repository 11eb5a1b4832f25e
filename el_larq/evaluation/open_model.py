"""Opens a model for images, Keras or .tflite, as a classifier or a detector."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from el_larq import card
from el_larq.data.stated import Statements, stated
from el_larq.detection.average_precision import Detections
from el_larq.detection.non_maximum_suppression import detect
from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.files import read_bytes
from el_larq.model_outputs import Asked, choose, of_graph, of_keras, pick
from el_larq.tflite.postprocess import class_count, output_positions

if TYPE_CHECKING:
    from el_larq.tflite.limited_interpreter import LimitedInterpreter

PredictImages = Callable[[np.ndarray], np.ndarray]
DetectImages = Callable[[np.ndarray], list[Detections]]


@dataclass(frozen=True)
class Opened:
    """A model that is ready to run.

    run: for a classifier, a function from images (N, H, W, C) to outputs (N, ...).
    detect: for a detector, a function from images to the detections in each, clipped to it. The other one is None.
    classes: a detector's number of classes. input_shape: that of one image. card: with the statements of the caller.
    """

    path: Path
    input_shape: tuple[int, ...]
    card: card.Card
    run: PredictImages | None = None
    detect: DetectImages | None = None
    classes: int = 0


@contextmanager
def open_model(
    path: Path, output: Asked = None, *, trust: bool = False, note: Callable[[str], None], **statements: Unpack[Statements]
) -> Iterator[Opened]:
    """Open a model with one input. A .tflite runs in a separate process, which ends with the context.

    Arguments:
        output: of a classifier with several outputs, the one that classifies.
        note: called with one line for each statement that contradicts the model's card.

    Raises:
        UsageError: an output is chosen of a detector, or none of a classifier with several; or the statements are invalid.
        ElLarqError: the model cannot be read.
    """
    given = stated(**statements)
    with ExitStack() as stack:
        opened = _open_tflite(path, output, trust, stack) if path.suffix == ".tflite" else _open_keras(path, output, trust)
        if opened.detect is not None and output is not None:
            raise UsageError(f"{path}: is a detector, of which all outputs are used; omit --output")
        model_card, notes = given.onto(opened.card, opened.input_shape, str(path), stretch=opened.detect is not None)
        for line in notes:
            note(line)
        yield Opened(path, opened.input_shape, model_card, opened.run, opened.detect, opened.classes)


def open_tflite(model: Path, trust: bool, stack: ExitStack) -> "tuple[LimitedInterpreter, card.Card]":
    """An interpreter of a .tflite with one input, and its card."""
    from el_larq.tflite.limited_interpreter import LimitedInterpreter

    interpreter = stack.enter_context(LimitedInterpreter(read_bytes(model), source=str(model), trust=trust))
    if len(interpreter.graph.inputs) != 1:
        raise ElLarqError(f"{model}: has {len(interpreter.graph.inputs)} inputs; only models with one can predict")
    return interpreter, card.of_metadata(interpreter.graph.metadata, str(model))


def _open_tflite(path: Path, output: Asked, trust: bool, stack: ExitStack) -> Opened:
    interpreter, model_card = open_tflite(path, trust, stack)
    positions = output_positions(interpreter.graph, str(path))
    if positions is None:
        if model_card.get("task") == "detection":
            raise ElLarqError(f"{path}: is a detector that puts out predictions for all anchors; convert it without --skip select")
        position = choose(of_graph(interpreter.graph), output, str(path)).position
        return Opened(path, interpreter.input_shape, model_card, lambda images: interpreter.run_real(images, position))
    classes = class_count(interpreter.graph, str(path))

    def run(images: np.ndarray) -> list[Detections]:
        outputs = interpreter.run_raw(images).outputs
        return read_detections([outputs[position] for position in positions], str(path))

    return Opened(path, interpreter.input_shape, model_card, detect=run, classes=classes)


def read_detections(outputs: list[np.ndarray], source: str) -> list[Detections]:
    """The detections in each of N images from the operator's outputs (N, ...), in its order."""
    boxes, classes, scores, counts = (np.asarray(output, np.float64) for output in outputs)
    if not (boxes.shape == (*scores.shape, 4) and classes.shape == scores.shape == (len(counts), *scores.shape[1:2])):
        raise ElLarqError(f"{source}: its boxes, classes and scores do not belong together; the file is damaged")
    found = []
    for index, count in enumerate(counts.reshape(len(counts), -1)[:, 0]):
        if not (np.isfinite(boxes[index]).all() and np.isfinite(scores[index]).all()):
            raise ElLarqError(
                f"{source}: its boxes are NaN or Inf; its weights are damaged, or its images need different preprocessing"
            )
        if not 0 <= count <= len(scores[index]):
            raise ElLarqError(f"{source}: it counts {count:g} boxes, and puts out {len(scores[index])}; the file is damaged")
        size = int(count)
        labels = classes[index, :size].astype(np.int64)
        found.append(Detections(boxes[index, :size], labels, scores[index, :size]).clipped())
    return found


def _open_keras(path: Path, output: Asked, trust: bool) -> Opened:
    from el_larq.loading.load import load_model
    from el_larq.models.detector_anchors import NOT_CLASSES, anchors_of

    model = load_model(path, trust=trust)
    if len(model.inputs or []) != 1:
        raise ElLarqError(f"{path}: has several inputs, or does not declare its input; only models with one can predict")
    shape = tuple(model.inputs[0].shape[1:])
    anchors = anchors_of(model)
    if anchors is None:
        position = choose(of_keras(model), output, str(path)).position
        return Opened(path, shape, card.read(path), lambda images: _run_keras(model, images, position, path))

    def run(images: np.ndarray) -> list[Detections]:
        predictions = _run_keras(model, images, 0, path)
        if not np.isfinite(predictions).all():
            raise ElLarqError(
                f"{path}: its output is NaN or Inf; its weights are damaged, or its images need different preprocessing"
            )
        return [detect(own, anchors).clipped() for own in predictions]

    return Opened(path, shape, card.read(path), detect=run, classes=model.outputs[0].shape[-1] - NOT_CLASSES)


def _run_keras(keras_model: Any, images: np.ndarray, position: int, model: Path) -> np.ndarray:
    try:
        return pick(keras_model(images, training=False), position)
    except Exception as error:  # TensorFlow's errors for inconsistent graphs have no common base class
        raise ElLarqError(f"{model}: cannot be run: {summarize(error)}") from error
