"""Evaluation of a model, Keras or .tflite, on a data set's test split: on all cores, and resumable."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from el_larq import __version__, card
from el_larq.data.dataset import Dataset, View
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.stated import OPTIONS, Statements, describe, stated
from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.evaluation.calibration_overlap import calibration_notes, check_has_ranges
from el_larq.evaluation.classes import class_order
from el_larq.evaluation.evaluate_detector import evaluate_detector, is_detector
from el_larq.evaluation.evaluated_data import evaluated_data, report_folder
from el_larq.evaluation.partial_outputs import PartialOutputs
from el_larq.evaluation.scores import Scores, score
from el_larq.evaluation.workers import Workers
from el_larq.files import read_bytes, write_json
from el_larq.model_outputs import Asked, Output, choose, of_graph, of_keras, pick
from el_larq.outputs import EVALUATION, SVG
from el_larq.printable import printable
from el_larq.tables import html_table
from el_larq.tflite.reader import parse
from el_larq.zoo.named_models import find_model, hash_model

# Images per chunk of a worker, and per batch of Keras; SAVE_EVERY is the number of seconds between saves of the state.
CHUNK = 32
BATCH = 256
# Maximum number of values in the largest tensor for a batch; the batch is smaller for models with larger tensors.
BATCH_VALUES = 2**27
SAVE_EVERY = 10.0

REPORT = "evaluation.json"

PredictBatches = Callable[[Any, int], Iterator[np.ndarray]]
"""A function from all images, in uint8 slices (n, H, W, C), and the first index to the outputs from there on, chunk by chunk."""


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    model: path of the model.
    dataset: complete name of the data set.
    folder: where evaluation.json and the plots are.
    scores: accuracy, calibration and confusion matrix, see `el_larq.evaluation.scores.Scores`; fractions are from 0 to 1.
    preprocessing: how images became inputs.
    output: name of the output that was scored.
    images_now, seconds: number of images computed by this call, and its time in seconds; other images come from an interrupted
        evaluation.
    notes: assumptions made about the model, and differences from its card.
    sha256: of the model's file, or of a SavedModel's files.
    """

    model: str
    output: str
    dataset: str
    folder: Path
    scores: Scores
    images_now: int
    seconds: float
    preprocessing: Preprocessing
    notes: tuple[str, ...] = ()
    sha256: str = ""

    def __repr__(self) -> str:
        scores = self.scores
        figures = f"top-1 {scores.top1:.4f}, ECE {scores.ece:.4f}, {scores.images:,} images"
        return f"Evaluation({self.model!r} on {printable(self.dataset)}: {figures})"

    def _repr_html_(self) -> str:
        scores = self.scores
        rows = [
            ("output", self.output),
            ("images", f"{scores.images:,}"),
            ("top-1", f"{scores.top1:.4f}"),
            *([("top-5", f"{scores.top5:.4f}")] if scores.top5 is not None else []),
            ("calibration error (ECE)", f"{scores.ece:.4f}"),
            ("plots and evaluation.json", self.folder),
            *(("note", note) for note in self.notes),
        ]
        return html_table(f"{self.model} on {self.dataset}", rows)

    def to_dict(self) -> dict[str, Any]:
        return {
            "el_larq": __version__,
            "model": self.model,
            "sha256": self.sha256,
            "output": self.output,
            "dataset": self.dataset,
            "images_now": self.images_now,
            "seconds": round(self.seconds, 3),
            "preprocessing": self.preprocessing.to_dict(),
            "notes": list(self.notes),
            **self.scores.to_dict(),
        }


@dataclass(frozen=True)
class _Opened:
    """A model that is ready to run. input_shape is that of one image.

    start: a function of the preprocessing and the position of the output; it returns a context manager that yields a
        `PredictBatches`.
    scales: the name of a layer inside the model that scales its inputs, if there is one.
    has_ranges: whether it computes with int8, with ranges from some images.
    """

    sha256: str
    input_shape: tuple[int, ...]
    card: card.Card
    outputs: list[Output]
    start: Callable[[Preprocessing, int], Any]
    scales: str | None = None


def evaluate(
    model: str | Path,
    dataset: str | Dataset | None = None,
    *,
    output: Asked = None,
    out: str | Path | None = None,
    images: int | None = None,
    workers: int | None = None,
    trust: bool = False,
    calibrated_on: str | None = None,
    notify: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda line: None,
    **statements: Unpack[Statements],
) -> "Evaluation | Any":
    """Score a model on the test split and write evaluation.json and plots into a folder.

    Arguments:
        model: a .h5, .keras or .tflite file, a SavedModel or run folder, of a classifier with one input (N, H, W, C) and outputs
            (N, classes), logits or probabilities; or of a detector (`el_larq.evaluation.evaluate_detector`).
        dataset: a name from the registry or a data set; None uses the one on the model's card. If that names a folder, the model
            must be in a run folder of this user that names the same data set.
        output: name or number (from 0) of the output to score, for a model with several.
        out: the folder; None creates evaluations/FOLDER-MODEL-DATASET, with the output's number for a model with several. An
            interrupted evaluation leaves its state there, and the next one with the same model, data, preprocessing, output and
            number of images resumes from it.
        images: maximum number of images, 1 or more, at even intervals over the split; None for all.
        workers: number of processes for a .tflite; None for one per core.
        trust: run any code in a Keras file, and a .tflite without limits of memory and time.
        calibrated_on: what the ranges of an int8 .tflite are from: a data set, of which the training split was used, or a .npy file
            of inputs. None for what its card says. A note warns if those may be images of the test split; the images of a file are
            compared with them.
        notify: called with the number of finished images and the total.
        note: called with each line of `Evaluation.notes`, before the computation starts.
        statements: the preprocessing of images for the model, and its classes: see `el_larq.data.stated`. What is neither stated
            nor on the model's card is assumed to be the data set's, with a note on the preprocessing.

    Returns:
        Of a detector, an `el_larq.evaluation.evaluate_detector.DetectionEvaluation`.

    Raises:
        UsageError: no data set is given or known, it is unknown or does not fit the model, the statements are invalid, or the
            model has several outputs and none is chosen.
        ElLarqError: the model cannot be run, or the folder cannot be written.
    """
    from el_larq.evaluation.pictures import CONFUSION, RELIABILITY, draw

    path = find_model(model)
    given = stated(**statements)
    if calibrated_on is not None:
        check_has_ranges(path)
    if is_detector(path):
        for option, value in (("output", output), ("workers", workers)):
            if value is not None:
                raise UsageError(f"{path}: is a detector, to which --{option} does not apply; omit it")
        return evaluate_detector(
            path,
            dataset,
            out=out,
            images=images,
            trust=trust,
            calibrated_on=calibrated_on,
            notify=notify,
            note=note,
            **statements,
        )
    opened = _open_tflite(path, workers, trust) if path.suffix == ".tflite" else _open_keras(path, trust)
    scored, several = choose(opened.outputs, output, str(path)), len(opened.outputs) > 1
    if len(opened.input_shape) != 3 or not opened.input_shape[0]:
        raise ElLarqError(f"{path}: takes inputs of shape {opened.input_shape}, which are not images")
    model_card, notes = given.onto(opened.card, opened.input_shape, str(path))
    preprocessing = card.preprocessing(model_card, str(path))
    data = evaluated_data(dataset, opened.input_shape, opened.card, preprocessing, path)
    if preprocessing is None:
        preprocessing = data.preprocessing
        notes += (_assumed(path, data, opened.scales),)
    order, differs = class_order(card.labels_of_dataset(model_card, data.labels, str(path)), data.labels, str(path), data.name)
    index = np.arange(data.test_size)
    if images is not None and images < len(index):
        index = np.linspace(0, len(index) - 1, images).astype(int)
    view = data.test_view(index)
    notes += (*differs, *card.notes_of_bits(model_card), *calibration_notes(model_card, calibrated_on, data, view, preprocessing))
    for line in notes:
        note(line)
    part = f"-output{opened.outputs.index(scored)}" if several else ""
    folder = report_folder(out, path, data, part, {REPORT: EVALUATION, CONFUSION: SVG, RELIABILITY: SVG})
    key = {
        "model": opened.sha256,
        "dataset": [data.name, data.version, data.fingerprint, data.test_size, *data.preprocessing.input_shape],
        "preprocessing": preprocessing.to_dict(),
        "images": len(index),
        "output": scored.position,
    }
    state = PartialOutputs(folder, key)
    start = time.monotonic()
    before = state.load()
    with opened.start(preprocessing, scored.position) as run:
        outputs = _compute(run, view, before, state, notify)
    if outputs.ndim != 2 or outputs.shape[1] != data.num_classes:
        what = (
            f"has shape {outputs.shape[1:]} for {data.num_classes} classes of {data.name}; name the model's data set with --dataset"
        )
        raise ElLarqError(f"{path}: output {scored.name} {what}, or another --output" if several else f"{path}: its output {what}")
    try:
        scores = score(outputs[:, order], view.labels, data.labels)
    except ValueError as error:
        raise ElLarqError(f"{path}: cannot be scored: {error}") from error
    now = len(index) - (0 if before is None else len(before))
    seconds = time.monotonic() - start
    result = Evaluation(str(path), scored.name, data.name, folder, scores, now, seconds, preprocessing, notes, opened.sha256)
    draw(scores, folder, f"{path.name}{f', output {scored.name},' if several else ''} on {data.name}")
    write_json(folder / REPORT, result.to_dict())
    state.remove()
    return result


def _assumed(path: Path, data: Dataset, scales: str | None) -> str:
    inside = f"; its layer {scales} scales inputs, so --range 0,255 may be right" if scales else ""
    return (
        f"{path}: its file does not say how images are prepared for it; assumed: inputs are {describe(data.preprocessing)}, "
        f"which is what {data.name} is trained with here; if that is wrong, so is the result: give {OPTIONS}{inside}"
    )


def _compute(
    run: PredictBatches, images: View, before: np.ndarray | None, state: PartialOutputs, notify: Callable[[int, int], None]
) -> np.ndarray:
    """All outputs, starting with those computed before. They are saved at intervals and when the computation is interrupted."""
    parts = [] if before is None else [before]
    done = sum(map(len, parts))
    saved, saved_at = done, time.monotonic()
    notify(done, len(images))
    try:
        # Closed at once on an interruption, instead of when Python collects it.
        with closing(run(images, done)) as chunks:  # pyright: ignore[reportArgumentType]
            for outputs in chunks:
                parts.append(outputs)
                done += len(outputs)
                notify(done, len(images))
                if time.monotonic() - saved_at > SAVE_EVERY:
                    state.save(np.concatenate(parts))
                    saved, saved_at = done, time.monotonic()
    finally:
        if saved < done < len(images):
            state.save(np.concatenate(parts))
    return np.concatenate(parts)


def _open_tflite(path: Path, workers: int | None, trust: bool) -> _Opened:
    content = read_bytes(path)
    graph = parse(content, str(path))
    if len(graph.inputs) != 1:
        raise ElLarqError(f"{path}: has {len(graph.inputs)} inputs; only models with one can be evaluated")
    model_card = card.of_metadata(graph.metadata, str(path))
    shape = tuple(graph.inputs[0].shape[1:])
    return _Opened(
        hashlib.sha256(content).hexdigest(),
        shape,
        model_card,
        of_graph(graph),
        lambda p, position: _TfliteRun(Workers(content, str(path), p, workers, position=position, trust=trust)),
    )


class _TfliteRun:
    def __init__(self, workers: Workers):
        self.workers = workers

    def __enter__(self) -> PredictBatches:
        self.workers.__enter__()
        return lambda images, start: self.workers.run(images, CHUNK, start)

    def __exit__(self, *reason: object) -> None:
        self.workers.__exit__(*reason)


def _open_keras(path: Path, trust: bool) -> _Opened:
    from el_larq.loading.load import load_model, scaling_layer
    from el_larq.models.detector_anchors import anchors_of

    model = load_model(path, trust=trust)
    if len(model.inputs or []) != 1:
        raise ElLarqError(f"{path}: has {len(model.inputs or [])} inputs; only models with one can be evaluated")
    if anchors_of(model) is not None:
        raise UsageError(f"{path}: is a detector, but its file has no el-larq card; evaluate the model of a run of el-larq train")
    shape = tuple(0 if size is None else int(size) for size in model.inputs[0].shape[1:])
    return _Opened(
        hash_model(path),
        shape,
        card.read(path),
        of_keras(model),
        lambda p, position: _KerasRun(model, p, position, str(path)),
        scaling_layer(model),
    )


class _KerasRun:
    """Runs a Keras model in this process; TensorFlow uses all cores by itself."""

    def __init__(self, model: Any, preprocessing: Preprocessing, position: int, source: str):
        self.model, self.preprocessing, self.position, self.source = model, preprocessing, position, source
        self.batch = max(1, min(BATCH, BATCH_VALUES // _largest(model)))

    def __enter__(self) -> PredictBatches:
        return self._run

    def __exit__(self, *_: object) -> None:
        pass

    def _run(self, images: np.ndarray, start: int) -> Iterator[np.ndarray]:
        for position in range(start, len(images), self.batch):
            batch = self.preprocessing.scale(images[position : position + self.batch])
            try:
                yield pick(self.model.predict_on_batch(batch), self.position)
            except ElLarqError:
                raise
            except Exception as error:  # TensorFlow's errors for inconsistent graphs have no common base class
                raise ElLarqError(f"{self.source}: cannot be run: {summarize(error)}") from error


def _largest(model: Any) -> int:
    """The number of values in the largest tensor that a layer returns for one image."""
    from el_larq.keras_internals import returned_tensors

    return max((prod(int(size or 1) for size in tuple(tensor.shape)[1:]) for _, tensor in returned_tensors(model)), default=1)
