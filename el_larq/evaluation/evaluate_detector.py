"""Evaluation of a detector, Keras or .tflite, on a data set's test split: average precision by class; resumable."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from el_larq import __version__, card
from el_larq.data.dataset import Dataset
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.stated import OPTIONS, Statements
from el_larq.detection.annotations import Objects
from el_larq.detection.average_precision import Detections, DetectionScores, precision_recall, score_detections
from el_larq.detection.detection_set import DetectionSet
from el_larq.detection.non_maximum_suppression import FOR_EVALUATION
from el_larq.errors import ElLarqError, UsageError
from el_larq.evaluation.calibration_overlap import calibration_notes
from el_larq.evaluation.classes import class_order
from el_larq.evaluation.evaluated_data import evaluated_data, report_folder
from el_larq.evaluation.open_model import DetectImages, open_model
from el_larq.evaluation.partial_outputs import PartialOutputs
from el_larq.figure_file import figure_file
from el_larq.files import read_bytes, write_json
from el_larq.outputs import EVALUATION, SVG
from el_larq.printable import plot_label, printable
from el_larq.tables import html_table
from el_larq.tflite.postprocess import output_positions
from el_larq.tflite.reader import parse
from el_larq.zoo.named_models import hash_model

REPORT, CURVES = "evaluation.json", "precision_recall.svg"
CHUNK = 16
"""Images at once."""

SAVE_EVERY = 10.0
"""Seconds between saves of the state."""

_NAMED = 20
"""Classes that are named in the picture, at most: then colours repeat."""


@dataclass(frozen=True)
class DetectionEvaluation:
    """The result of a detector's evaluation.

    model: path of the model. dataset: complete name of the data set. folder: where evaluation.json and the curves are.
    labels: the classes. objects: of each class, those to be found in the images.
    scores: average precisions, 0 to 1.
    preprocessing, images_now, seconds, notes, sha256: see `el_larq.evaluation.evaluate.Evaluation`.
    """

    model: str
    dataset: str
    folder: Path
    labels: tuple[str, ...]
    objects: tuple[int, ...]
    scores: DetectionScores
    images: int
    images_now: int
    seconds: float
    preprocessing: Preprocessing
    notes: tuple[str, ...] = ()
    sha256: str = ""

    def __repr__(self) -> str:
        found = self.scores.summary()
        figures = f"mAP@0.5 {found['voc_all']:.4f}, mAP@[.5:.95] {found['coco']:.4f}, {self.images:,} images"
        return f"DetectionEvaluation({self.model!r} on {printable(self.dataset)}: {figures})"

    def _repr_html_(self) -> str:
        found = self.scores.summary()
        rows = [
            ("images", f"{self.images:,}"),
            *((title, f"{found[name]:.4f}") for name, title in MEANS.items()),
            ("curves and evaluation.json", self.folder),
            *(("note", note) for note in self.notes),
        ]
        return html_table(f"{self.model} on {self.dataset}", rows)

    def by_class(self) -> list[dict[str, Any]]:
        """For each class its "label", the number of "objects", and its average precisions, None without objects."""
        scores = self.scores
        rows = {"voc_all": scores.voc_all, "voc_11": scores.voc_11, "coco": scores.coco.mean(axis=0)}
        rows |= {"coco_50": scores.coco[0], "coco_75": scores.coco[5]}
        return [
            {"label": label, "objects": count, **{name: _number(values[index]) for name, values in rows.items()}}
            for index, (label, count) in enumerate(zip(self.labels, self.objects, strict=True))
        ]

    def to_dict(self) -> dict[str, Any]:
        return {
            "el_larq": __version__,
            "task": "detection",
            "model": self.model,
            "sha256": self.sha256,
            "dataset": self.dataset,
            "images": self.images,
            "images_now": self.images_now,
            "seconds": round(self.seconds, 3),
            "preprocessing": self.preprocessing.to_dict(),
            "notes": list(self.notes),
            "mean": {name: round(value, 6) for name, value in self.scores.summary().items()},
            "by_class": self.by_class(),
        }


MEANS = {
    "voc_all": "mAP@0.5 (VOC, all points)",
    "voc_11": "mAP@0.5 (VOC, 11 points)",
    "coco": "mAP@[.5:.95] (COCO)",
    "coco_50": "AP50 (COCO)",
    "coco_75": "AP75 (COCO)",
}
"""The means over classes, by name in `DetectionScores.summary`."""


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def is_detector(path: Path) -> bool:
    """Whether a file is a detector's: its card says so, or it is a .tflite that selects boxes."""
    if path.suffix != ".tflite":
        return card.read(path).get("task") == "detection"
    graph = parse(read_bytes(path), str(path))
    says = card.of_metadata(graph.metadata, str(path)).get("task") == "detection"
    return says or output_positions(graph, str(path)) is not None


def evaluate_detector(
    path: Path,
    dataset: str | Dataset | None = None,
    *,
    out: str | Path | None = None,
    images: int | None = None,
    trust: bool = False,
    calibrated_on: str | None = None,
    notify: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda line: None,
    **statements: Unpack[Statements],
) -> DetectionEvaluation:
    """Score a detector on the test split and write evaluation.json and precision_recall.svg into a folder.

    A Keras model's boxes are selected as `el_larq.detection.non_maximum_suppression.FOR_EVALUATION` says, those of a .tflite by
    its own operator, with the limits that it was converted with.

    Arguments and errors are those of `el_larq.evaluation.evaluate.evaluate`.
    """
    notes: list[str] = []
    with open_model(path, trust=trust, note=notes.append, **statements) as opened:
        if opened.detect is None:
            raise ElLarqError(f"{path}: its card says that it is a detector, but it is not; convert or train it again")
        preprocessing = card.preprocessing(opened.card, str(path))
        if preprocessing is None:
            raise UsageError(f"{path}: does not say how images are prepared for it; give {OPTIONS}")
        if not preprocessing.stretch:
            raise UsageError(
                f"{path}: its card says that it takes a part of each image, and the boxes of data sets are those of whole images; "
                "train or convert it again"
            )
        data = evaluated_data(dataset, opened.input_shape, opened.card, preprocessing, path, "detection")
        assert isinstance(data, DetectionSet)
        order = _classes(card.labels(opened.card, str(path)), opened.classes, data, path, notes)
        index = np.arange(data.test_size)
        if images is not None and images < len(index):
            index = np.linspace(0, len(index) - 1, images).astype(int)
        truths = [data.test.objects(int(number)) for number in index]
        if not any(len(objects.required) for objects in truths):
            raise UsageError(f"{data.name}: the chosen images have no objects to find; take more with --images")
        view = data.test_view(index)
        notes += _limits(opened.card)
        notes += calibration_notes(opened.card, calibrated_on, data, view, preprocessing)
        for line in notes:
            note(line)
        folder = report_folder(out, path, data, "", {REPORT: EVALUATION, CURVES: SVG})
        sha256 = hash_model(path)
        key = {
            "model": sha256,
            "dataset": [data.name, data.version, data.fingerprint, data.test_size, *data.preprocessing.input_shape],
            "preprocessing": preprocessing.to_dict(),
            "images": len(index),
        }
        state, start = PartialOutputs(folder, key), time.monotonic()
        before = _unpacked(state.load(), len(index), data.num_classes)
        found = _compute(opened.detect, view, preprocessing, before, state, notify)
    found = [Detections(one.boxes, order[one.classes], one.scores) for one in found]
    scores = score_detections(truths, found, data.num_classes)
    counts = sum(np.bincount(one.required.classes, minlength=data.num_classes) for one in truths)
    result = DetectionEvaluation(
        str(path),
        data.name,
        folder,
        data.labels,
        tuple(np.asarray(counts).tolist()),
        scores,
        len(index),
        len(index) - len(before),
        time.monotonic() - start,
        preprocessing,
        tuple(notes),
        sha256,
    )
    write_json(folder / REPORT, result.to_dict())
    _draw(result, truths, found)
    state.remove()
    return result


def _limits(model_card: card.Card) -> list[str]:
    """A note if a .tflite selects boxes by other limits than those that other models are scored with."""
    usual, own = asdict(FOR_EVALUATION), model_card.get("selection")
    if not isinstance(own, dict) or own == usual:
        return []
    mine, others = (", ".join(f"{name} {limits.get(name)}" for name in usual) for limits in (own, usual))
    return [f"its file selects boxes by {printable(mine)}, other models are scored with {others}; its precision is lower for that"]


def _classes(labels: list[str] | None, count: int, data: DetectionSet, path: Path, notes: list[str]) -> np.ndarray:
    """The number in the data set of each of the model's classes."""
    if count != data.num_classes:
        raise UsageError(
            f"{path}: detects {count} classes, and {data.name} has {data.num_classes}; name the model's data set with --dataset"
        )
    order, differs = class_order(labels, data.labels, str(path), data.name)
    notes += differs
    return np.argsort(order)


def _compute(
    detect: DetectImages,
    view: Any,
    preprocessing: Preprocessing,
    before: list[Detections],
    state: PartialOutputs,
    notify: Callable[[int, int], None],
) -> list[Detections]:
    """The detections in all images. They are saved at intervals and when the computation is interrupted."""
    found, saved, saved_at = list(before), len(before), time.monotonic()
    notify(len(found), len(view))
    try:
        while len(found) < len(view):
            found += detect(preprocessing.scale(view[len(found) : len(found) + CHUNK]))
            notify(len(found), len(view))
            if time.monotonic() - saved_at > SAVE_EVERY:
                state.save(_packed(found))
                saved, saved_at = len(found), time.monotonic()
    finally:
        if saved < len(found) < len(view):
            state.save(_packed(found))
    return found


def _packed(found: Sequence[Detections]) -> np.ndarray:
    """float64 (R, 7): the number of the image, the box, the class and the score of each detection; without detections, class -1."""
    rows = []
    for number, one in enumerate(found):
        own = np.column_stack([one.boxes, one.classes, one.scores]) if len(one) else np.array([[0, 0, 0, 0, -1, 0]])
        rows.append(np.column_stack([np.full(len(own), number), own]))
    return np.concatenate(rows)


def _unpacked(rows: np.ndarray | None, most: int, classes: int) -> list[Detections]:
    """The detections in the first images, of at most ``most`` images; none if the file is not of this kind."""
    if rows is None or rows.dtype != np.float64 or rows.ndim != 2 or rows.shape[1] != 7 or not len(rows):
        return []
    lowest, highest = [0, 0, 0, 0, 0, -1, 0], [most - 1, 1, 1, 1, 1, classes - 1, 1]
    whole = rows[:, [0, 5]]
    if not ((rows >= lowest) & (rows <= highest)).all() or (whole != np.floor(whole)).any():  # NaN is in no range
        return []
    numbers = rows[:, 0].astype(np.int64)
    if numbers[0] != 0 or not np.isin(np.diff(numbers), (0, 1)).all():
        return []
    parts = np.split(rows, np.flatnonzero(np.diff(numbers)) + 1)
    real = [part[part[:, 5] >= 0] for part in parts]
    return [Detections(part[:, 1:5], part[:, 5].astype(np.int64), part[:, 6]) for part in real]


def _draw(result: DetectionEvaluation, truths: Sequence[Objects], found: Sequence[Detections]) -> None:
    with figure_file(result.folder / CURVES, (8, 5)) as figure:
        axes = figure.subplots()
        # The classes with most objects are named.
        named = sorted(range(len(result.labels)), key=lambda number: -result.objects[number])[:_NAMED]
        for number in sorted(named):
            curve = precision_recall(truths, found, number)
            if curve is not None:
                if not len(curve[0]):  # no detection: nothing is found at any precision
                    curve = np.zeros(1), np.zeros(1)
                recall, precision = np.append(0, curve[0]), np.append(curve[1][:1], curve[1])
                name = f"{plot_label(result.labels[number])} {result.scores.voc_all[number]:.3f}"
                axes.step(recall, precision, where="pre", label=name)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision, highest at this recall or above")
        mean = result.scores.summary()["voc_all"]
        axes.set_title(f"{plot_label(Path(result.model).name)} on {plot_label(result.dataset)}: mAP@0.5 {mean:.3f}", loc="left")
        axes.legend(frameon=False, fontsize=8)
