"""Reads what `el-larq evaluate` wrote; figures of classes are computed from the confusion matrix. Does not import TensorFlow."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from el_larq import own_folders
from el_larq.devices.record_form import find_misfit
from el_larq.errors import ElLarqError
from el_larq.evaluation.scores import ClassScore, class_scores
from el_larq.files import parse_json
from el_larq.report.stored_detection import MEANS, StoredDetection, is_detection, misfit, stored_detection

EVALUATION = "evaluation.json"
TOP_1, MAP = "top-1", MEANS["voc_all"]

_MOST_BYTES = 1 << 26  # a thousand classes take 3 MB
_FORM = {
    "model": str,
    "output": str,
    "dataset": str,
    "sha256?": str,
    "images": int,
    "top1": float,
    "top5?": (float, None),
    "ece": float,
    "classes": [{"label": str}],
    "confusion": [[int]],
    "notes?": [str],
}


@dataclass(frozen=True)
class StoredEvaluation:
    """An evaluation in a folder: see `el_larq.evaluation.evaluate.Evaluation`. sha256 is empty in older ones."""

    folder: Path
    model: str
    output: str
    dataset: str
    sha256: str
    images: int
    top1: float
    top5: float | None
    ece: float
    classes: tuple[ClassScore, ...]
    confusion: np.ndarray
    notes: tuple[str, ...]


def read_evaluation(path: Path) -> StoredEvaluation | StoredDetection:
    """Read an evaluation.json, of a classifier or of a detector.

    Raises:
        ElLarqError: it is a link, damaged, or its figures contradict each other.
    """
    try:
        content = parse_json(own_folders.read(path, _MOST_BYTES))
        detection = is_detection(content)
        wrong = misfit(content) if detection else find_misfit(content, _FORM, "evaluation") or _contradiction(content)
    except ValueError:
        content, detection, wrong = None, False, "it is not JSON"
    if wrong:
        raise ElLarqError(f"{path} is not a result of el-larq evaluate, or it is damaged ({wrong}); evaluate again")
    assert isinstance(content, dict), "it has no misfit"
    if detection:
        return stored_detection(path.parent, content)
    confusion = np.array(content["confusion"], np.int64)
    names = tuple(one["label"] for one in content["classes"])
    return StoredEvaluation(
        path.parent,
        content["model"],
        content["output"],
        content["dataset"],
        content.get("sha256", ""),
        content["images"],
        content["top1"],
        content.get("top5"),
        content["ece"],
        class_scores(names, confusion),
        confusion,
        tuple(content.get("notes", ())),
    )


def accuracies(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """By SHA-256 of a model, by measure and by what it was evaluated on, its results in the evaluations in the folder's folders.

    The measure is `TOP_1`, or of detectors `MAP`.

    Raises:
        ElLarqError: one of them is damaged.
    """
    found = [read_evaluation(path) for path in sorted(folder.glob(f"*/{EVALUATION}"))]
    labels = [f"{one.dataset}, {one.images:,} images" for one in found]
    count = Counter((one.sha256, label) for one, label in zip(found, labels, strict=True))
    by_model: dict[str, dict[str, dict[str, float]]] = {}
    for one, label in zip(found, labels, strict=True):
        # Several, as of several outputs or with other preprocessing, are told apart by their folders.
        name = label if count[one.sha256, label] == 1 else f"{label}, {one.folder.name}"
        measure, value = (TOP_1, one.top1) if isinstance(one, StoredEvaluation) else (MAP, one.mean["voc_all"])
        by_model.setdefault(one.sha256, {}).setdefault(measure, {})[name] = value
    return by_model


def _contradiction(content: dict[str, Any]) -> str:
    classes, confusion = len(content["classes"]), content["confusion"]
    if not classes or len(confusion) != classes or any(len(row) != classes for row in confusion):
        return f"its confusion matrix is not of {classes:,} classes"
    if any(not 0 <= count <= content["images"] < 2**53 for row in confusion for count in row):
        return "its confusion matrix has counts that are not numbers of images"
    if sum(map(sum, confusion)) != content["images"]:
        return "its confusion matrix is not of all images"
    shares = (content["top1"], content["ece"], content.get("top5") or 0.0)
    return "" if all(0 <= share <= 1 for share in shares) else "its accuracy is not between 0 and 1"
