"""Reads what `el-larq evaluate` wrote of a detector. Does not import TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from el_larq import own_folders
from el_larq.devices.record_form import find_misfit

MEANS = {"voc_all": "mAP@0.5", "coco": "mAP@[.5:.95]", "coco_75": "AP75"}
"""The average precisions that a report shows, by name in the file."""

CURVES = "precision_recall.svg"
"""The picture that `el-larq evaluate` draws."""

MAX_PICTURE = 1 << 23
"""Bytes of a picture that becomes part of a page, at most."""

_AVERAGES = dict.fromkeys(MEANS, float)
_FORM = {
    "model": str,
    "dataset": str,
    "sha256?": str,
    "images": int,
    "mean": _AVERAGES,
    "by_class": [{"label": str, "objects": int, **dict.fromkeys(MEANS, (float, None))}],
    "notes?": [str],
}


@dataclass(frozen=True)
class StoredDetection:
    """An evaluation in a folder: see `el_larq.evaluation.evaluate_detector.DetectionEvaluation`.

    mean: by name in `MEANS`. by_class: the label, the number of objects, and the same of each class, None without objects.
    curves: the SVG file of precision over recall; None if it is not there, or larger than `MAX_PICTURE`.
    """

    folder: Path
    model: str
    dataset: str
    sha256: str
    images: int
    mean: dict[str, float]
    by_class: tuple[tuple[str, int, dict[str, float | None]], ...]
    notes: tuple[str, ...]
    curves: bytes | None


def is_detection(content: Any) -> bool:
    return isinstance(content, dict) and content.get("task") == "detection"


def misfit(content: Any) -> str | None:
    """What is wrong with the content of an evaluation.json; None or "" if nothing is."""
    if wrong := find_misfit(content, _FORM, "evaluation"):
        return wrong
    shares = [content["mean"][name] for name in MEANS]
    shares += [one[name] for one in content["by_class"] for name in MEANS if one[name] is not None]
    return "" if all(0 <= share <= 1 for share in shares) else "its average precision is not between 0 and 1"


def stored_detection(folder: Path, content: dict[str, Any]) -> StoredDetection:
    """From the content of an evaluation.json without a `misfit`. Raises ElLarqError if the picture is a link or cannot be read."""
    picture = folder / CURVES
    kept = own_folders.is_there(picture) and picture.stat().st_size <= MAX_PICTURE
    return StoredDetection(
        folder,
        content["model"],
        content["dataset"],
        content.get("sha256", ""),
        content["images"],
        {name: content["mean"][name] for name in MEANS},
        tuple((one["label"], one["objects"], {name: one[name] for name in MEANS}) for one in content["by_class"]),
        tuple(content.get("notes", ())),
        own_folders.read(picture, MAX_PICTURE) if kept else None,
    )
