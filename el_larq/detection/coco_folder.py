"""`coco:PATH`: a folder with annotations in COCO's JSON format. Does not import TensorFlow.

    PATH/annotations/instances_train2017.json, instances_val2017.json; PATH/train2017/, val2017/ (or images/train2017/)
    PATH/train/_annotations.coco.json and its images, valid/, test/: as annotation services export
    PATH/annotations.json and PATH/images/: a fixed fifth is for testing

A file is for the split whose name is a word of its own name or its folder's: train, val or valid, test. A single file is for
training. Without test images, those for validation are for testing. Boxes are [x, y, width, height] in pixels; crowds are ignored
objects. Classes are the categories of the training file, by identifier.
"""

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from el_larq.data.names import Name
from el_larq.data.preprocessing import Preprocessing
from el_larq.detection.annotation_splits import Splits, check_labels, is_inside, left_out, split_of, with_test
from el_larq.detection.annotations import MAX_OBJECTS, Findings, StatedImage, StatedObject
from el_larq.detection.detection_set import DetectionSet, load_splits
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import parse_json, read_bytes

MAX_BYTES = 200_000_000
"""A larger file is refused: as Python's objects, JSON takes about ten times its size in memory."""

_OTHERS = re.compile("(captions|(person_)?keypoints|panoptic|stuff|image_info)_")
"""How the names of COCO's own files begin that are for other tasks."""


def load(
    name: Name,
    image_size: int | None = None,
    preprocessing: Preprocessing | None = None,
    strict: bool = False,
    notify: Callable[[str], None] = lambda line: None,
) -> DetectionSet:
    """Load the data set in a folder; see `el_larq.detection.detection_set.load_splits` for arguments and errors."""
    findings = Findings(strict)
    splits = _read(Path(name.base), findings, lambda line: notify(f"{name}: {line}"))
    return load_splits(name, splits, findings, "background", image_size, preprocessing, notify)


def _read(path: Path, findings: Findings, notify: Callable[[str], None]) -> Splits:
    files = _files(path, notify)
    images, labels = {}, ()
    for split, file in files.items():
        images[split], found = read_coco(file, path, findings)
        if split == "train":
            labels = found
    return Splits(labels, with_test(path, images, findings, notify))


def _files(path: Path, notify: Callable[[str], None]) -> dict[str, Path]:
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; coco:PATH takes one with annotations/*.json, or with train/ and its JSON file")
    candidates = [file for pattern in ("annotations/*.json", "*/*.json", "*.json") for file in sorted(path.glob(pattern))]
    files = [file for file in dict.fromkeys(candidates) if not _OTHERS.match(file.name) and not file.name.startswith(".")]
    if len(files) == 1:
        return {"train": files[0]}
    found: dict[str, Path] = {}
    others = []
    for file in files:
        split = split_of(file.stem, *([file.parent.name] if file.parent != path else []))
        if split is None:
            others.append(str(file.relative_to(path)))
        elif split in found:
            one, other = (str(where.relative_to(path)) for where in (found[split], file))
            raise UsageError(f"{path}: {one} and {other} are both for the {split} split; keep one of them in the folder")
        else:
            found[split] = file
    if "train" not in found:
        raise UsageError(f"{path}: no JSON file with train in its name or its folder's name; coco:PATH takes COCO's layout")
    if others:
        notify(left_out(others))
    return found


def read_coco(file: Path, root: Path, findings: Findings) -> tuple[list[StatedImage], tuple[str, ...]]:
    """The images of an annotation file, and the names of its categories by identifier.

    Raises:
        ElLarqError: the file is too large, or not what it should be as a whole; single entries are findings.
    """
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise ElLarqError(f"{file}: {size:,} bytes are more than the {MAX_BYTES:,} that are read; remove its segmentations")
    try:
        content = parse_json(read_bytes(file, MAX_BYTES))
    except ValueError as error:
        raise ElLarqError(f"{file}: not JSON: {error}") from None
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
    ):
        raise ElLarqError(f"{file}: not COCO's format: it has no lists images, annotations and categories")
    categories = _categories(file, content["categories"])
    objects: dict[Any, list[StatedObject]] = {}
    for number, entry in enumerate(content["annotations"]):
        try:
            identifier, item = _object(entry, categories)
            objects.setdefault(identifier, []).append(item)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            findings.report("broken", str(file), f"annotations[{number}]: {type(error).__name__}: {error}")
    return _images(file, root, content["images"], objects, findings), tuple(categories.values())


def _categories(file: Path, entries: list[Any]) -> dict[int, str]:
    try:
        # A well-known service lists the group of all categories as a category, which may have the name of its only member.
        groups = {entry["name"] for entry in entries if entry["name"] == entry.get("supercategory")}
        listed = [
            (_category_number(entry["id"]), str(entry["name"]))
            for entry in entries
            if not (entry["name"] in groups and entry.get("supercategory") == "none")
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ElLarqError(f"{file}: a category has no id or no name") from None
    named = dict(sorted(listed))
    if len(named) < len(listed):
        repeated, _ = Counter(number for number, _ in listed).most_common(1)[0]
        raise ElLarqError(f"{file}: the category id {repeated} occurs twice; give each category an id of its own")
    check_labels(file, named.values())
    return named


def _category_number(value: Any) -> int:
    """Some tools write identifiers as text, or as floating point."""
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError(f"{value!r} is not an integer")
    return number


def _object(entry: Any, categories: dict[int, str]) -> tuple[int, StatedObject]:
    left, top, width, height = map(float, entry["bbox"])
    category = _category_number(entry["category_id"])
    label = categories.get(category, f"category {category}")
    item = StatedObject(label, (top, left, top + height, left + width), entry.get("iscrowd", 0) == 1)
    return _identifier(entry["image_id"]), item


def _identifier(value: Any) -> Any:
    if not isinstance(value, (int, str)) and not (isinstance(value, float) and value.is_integer()):
        raise TypeError(f"{value!r} is not an identifier")
    return value


def _images(
    file: Path, root: Path, entries: list[Any], objects: dict[Any, list[StatedObject]], findings: Findings
) -> list[StatedImage]:
    folders = _folders(file, root)
    found: list[StatedImage] = []
    times = Counter(entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), (int, float, str)))
    for number, entry in enumerate(entries):
        where = f"{file}: images[{number}]"
        try:
            name, identifier = str(entry["file_name"]).replace("\\", "/"), _identifier(entry["id"])
            stated = float(entry.get("height") or 0), float(entry.get("width") or 0)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            findings.report("damaged", where, f"{type(error).__name__}: {error}")
            continue
        items = objects.pop(identifier, [])
        if times[identifier] > 1:
            findings.report("damaged", where, f"the id {identifier!r} occurs {times[identifier]} times")
            continue
        if not is_inside(name):
            findings.report("elsewhere", where, name)
            continue
        folder = next((folder for folder in folders if os.path.isfile(folder / name)), None)
        if folder is None:
            findings.report("missing", where, name)
            continue
        if len(items) > MAX_OBJECTS:
            findings.report("damaged", where, f"more than {MAX_OBJECTS:,} objects")
            continue
        folders.sort(key=lambda other: other != folder)  # so that the next image is found at once
        found.append(StatedImage(str(folder / name), f"{file}: {name}", stated if min(stated) > 0 else None, items))
    for identifier, items in objects.items():
        for _ in items:
            findings.report("orphan", str(file), f"image {identifier!r}")
    return found


def _folders(file: Path, root: Path) -> list[Path]:
    """Where the images of an annotation file may be."""
    split = file.stem.removeprefix("instances_")
    places = (root / split, root / "images" / split, file.parent, file.parent / "images", root / "images", root)
    return [place for place in dict.fromkeys(places) if place.is_dir()]
