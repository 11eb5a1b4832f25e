"""`yolo:PATH`: a folder with a text file of labels per image, as most annotation tools export. Does not import TensorFlow.

    PATH/images/train/a.jpg, PATH/labels/train/a.txt, and val/ and test/ likewise
    PATH/train/images/a.jpg, PATH/train/labels/a.txt, and valid/ and test/ likewise
    PATH/images/a.jpg, PATH/labels/a.txt: a fixed fifth is for testing

The split of a folder is a word of its name, as in images/Train or images/train2017.

A line is "CLASS X Y WIDTH HEIGHT": the number of the class from 0, the box's centre and sides as fractions of the image; or the
corners "CLASS X1 Y1 X2 Y2 X3 Y3 ..." of a polygon, whose bounding box is taken. With ``kpt_shape`` in PATH/data.yaml, key points
follow the box and are not read. An image without a file of labels, or with an empty one, is background. The labels of an image are
where the last "images" in its path below PATH is replaced by "labels", or beside it. The names of the classes are in PATH/data.yaml
(``names``) or, one per line, in classes.txt, there or in labels/. Where data.yaml names folders (``train``, ``val``, ``test``),
these are used.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from el_larq.data.image_folder import image_files
from el_larq.data.names import Name
from el_larq.data.preprocessing import Preprocessing
from el_larq.detection.annotation_splits import Splits, check_labels, is_inside, left_out, read_lines, split_of, with_test
from el_larq.detection.annotations import MAX_OBJECTS, Findings, StatedImage, StatedObject
from el_larq.detection.detection_set import DetectionSet, load_splits
from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.files import read_bytes

_YAML_BYTES = 1 << 20
_SPLITS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
_DATA = ("data.yaml", "data.yml", "dataset.yaml")
_CLASSES = ("classes.txt", "labels/classes.txt", "obj.names")


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
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; yolo:PATH takes one with images/, labels/ and data.yaml or classes.txt")
    settings = _settings(path)
    labels = _labels(path, settings)
    folders = _stated_folders(path, settings) or _usual_folders(path, notify)
    try:
        images = {
            split: [image for place in places for image in _images(place, path, labels, bool(settings.get("kpt_shape")), findings)]
            for split, places in folders.items()
        }
    except OSError as error:
        raise ElLarqError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error
    return Splits(labels, with_test(path, images, findings, notify))


def _settings(path: Path) -> dict[str, Any]:
    file = next((path / name for name in _DATA if (path / name).is_file()), None)
    if file is None:
        return {}
    try:
        content = yaml.safe_load(read_bytes(file, _YAML_BYTES))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ElLarqError(f"{file}: not YAML: {summarize(error)}") from None
    if not isinstance(content, dict):
        raise ElLarqError(f"{file}: not a mapping with names")
    return content


def _labels(path: Path, settings: dict[str, Any]) -> tuple[str, ...]:
    names = settings.get("names")
    if isinstance(names, dict):
        if not all(map(_is_name, names)) or sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise ElLarqError(f"{path}: the keys of names in data.yaml are not the numbers from 0 to {len(names) - 1}")
        names = [name for _, name in sorted(names.items(), key=lambda entry: int(entry[0]))]
    if isinstance(names, list):
        if not all(_is_name(name) for name in names):
            raise ElLarqError(
                f"{path}: names in data.yaml are not all texts; put those in quotes that YAML reads as something else"
            )
        if isinstance(count := settings.get("nc"), int) and count != len(names):
            raise ElLarqError(f"{path}: nc in data.yaml is {count}, but names has {len(names)}; correct one of them")
        return check_labels(path / _DATA[0], map(str, names))
    file = next((path / name for name in _CLASSES if (path / name).is_file()), None)
    if file is None:
        raise UsageError(f"{path}: no names of classes; give them in data.yaml (names: [cat, dog]) or one per line in classes.txt")
    return check_labels(file, read_lines(file))


def _is_name(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _stated_folders(path: Path, settings: dict[str, Any]) -> dict[str, list[Path]]:
    """The folders that data.yaml names, by split. Paths in it are often those of another machine; none leads out of this folder."""
    found = {}
    for split, keys in _SPLITS.items():
        value = next((settings[key] for key in keys if settings.get(key)), None)
        if value is None:
            continue
        places = []
        for name in value if isinstance(value, list) else [value]:
            # "../train/images" is how a well-known service writes train/images.
            if not isinstance(name, str):
                raise UsageError(f"{path}: data.yaml names no folder for {keys[0]}, but something else; correct the line")
            relative = name.replace("\\", "/").removeprefix("../")
            if os.path.isabs(name) and os.path.isdir(name):
                relative = os.path.relpath(os.path.realpath(name), os.path.realpath(path))
            if not is_inside(relative) or not os.path.isdir(path / relative):
                raise UsageError(
                    f"{path}: data.yaml names {name[:80]!r} for {keys[0]}, "
                    "which is not a folder in it; write it relative to this folder"
                )
            places.append(path / relative)
        found[split] = places
    if found and "train" not in found:
        raise UsageError(f"{path}: data.yaml names no folder for train; add it, or remove the others")
    return found


def _usual_folders(path: Path, notify: Callable[[str], None]) -> dict[str, list[Path]]:
    """images/ with a folder per split, or a folder per split with images/; images/ itself if no name of a folder is a split's."""
    places = [(place, place.name) for place in sorted(path.glob("images/*"))]
    places += [(place, place.parent.name) for place in sorted(path.glob("*/images"))]
    found: dict[str | None, list[Path]] = {}
    for place, name in places:
        if place.is_dir() and not name.startswith(".") and place.parent.name != place.name:
            found.setdefault(split_of(name), []).append(place)
    others = [str(place.relative_to(path)) for place in found.pop(None, [])]
    if "train" in found:
        if others:
            notify(left_out(others))
        return {split: found[split] for split in _SPLITS if split in found}
    if found:
        named = next(iter(found.values()))[0].relative_to(path)
        raise UsageError(f"{path}: has {named}, but no such folder for train; add it, or rename {named}")
    if (path / "images").is_dir():
        return {"train": [path / "images"]}
    raise UsageError(f"{path}: has no images/; yolo:PATH takes one with images/, labels/ and data.yaml or classes.txt")


def _images(folder: Path, root: Path, labels: tuple[str, ...], pose: bool, findings: Findings) -> Iterator[StatedImage]:
    named, places = set(), {folder}
    for path, _ in image_files(str(folder)):
        place = Path(path).parent
        text = (_labels_beside(place, root) / Path(path).name).with_suffix(".txt")
        named.add(text)
        places.add(place)
        objects: list[StatedObject] = []
        if text.is_file():
            try:
                objects = parse_yolo(read_lines(text), labels, pose)
            except (ElLarqError, ValueError) as error:
                findings.report("damaged", str(text), str(error).removeprefix(f"{text}: "))
                continue
            for item, times in Counter(objects).items():
                for _ in range(times - 1):
                    findings.report("repeated", str(text), item.label)
        yield StatedImage(path, str(text), (1, 1), list(dict.fromkeys(objects)))
    # A folder of both images and texts may have other texts.
    texts = {text for place in places if (beside := _labels_beside(place, root)) != place for text in beside.rglob("*.txt")}
    for text in sorted(texts - named):
        if text.name != "classes.txt" and not text.name.startswith("."):  # as macOS writes
            findings.report("missing", str(text), "no image of this name")


def _labels_beside(folder: Path, root: Path) -> Path:
    """The folder of labels for a folder of images: the last "images" in its path below the root becomes "labels"."""
    parts = folder.relative_to(root).parts
    if "images" not in parts:
        return folder
    last = len(parts) - 1 - parts[::-1].index("images")
    return root.joinpath(*parts[:last], "labels", *parts[last + 1 :])


def parse_yolo(lines: list[str], labels: tuple[str, ...], pose: bool = False) -> list[StatedObject]:
    """The objects that the lines of a file name, as fractions. Raises ValueError for a line that is none.

    pose: whether key points follow each box, which are not read.
    """
    if len(lines) > MAX_OBJECTS:
        raise ValueError(f"more than {MAX_OBJECTS:,} lines")
    return [_line(number, line, labels, pose) for number, line in enumerate(lines, 1)]


def _line(number: int, line: str, labels: tuple[str, ...], pose: bool) -> StatedObject:
    try:
        word, *rest = line.split()
        number_of_class, values = float(word), [float(value) for value in rest]
        if not number_of_class.is_integer():  # some tools write 0.0
            raise ValueError
    except ValueError:
        raise ValueError(f"line {number} is not a class and numbers: {line[:60]!r}") from None
    label = int(number_of_class)
    name = labels[label] if 0 <= label < len(labels) else f"class {label}"
    if pose:
        values = values[:4]
    if len(values) == 4:
        x, y, width, height = values
        return StatedObject(name, (y - height / 2, x - width / 2, y + height / 2, x + width / 2))
    if len(values) >= 6 and len(values) % 2 == 0:
        return StatedObject(name, (min(values[1::2]), min(values[::2]), max(values[1::2]), max(values[::2])))
    raise ValueError(f"line {number} has {len(values)} numbers; a box has 4, a polygon 6 or more, two per corner")
