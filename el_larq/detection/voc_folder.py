"""`voc:PATH`: a folder in the layout of Pascal VOC. Does not import TensorFlow.

    PATH/VOC2007/Annotations/000005.xml, JPEGImages/000005.jpg, ImageSets/Main/train.txt, trainval.txt, val.txt, test.txt
        PATH is VOCdevkit, with one or more years, or one such year. If some year has test.txt, training is on train and val of all
        years and testing on test ("07+12"); otherwise training is on train and testing on val.
    PATH/Annotations/a.xml, PATH/JPEGImages/a.jpg (or images/): own images without ImageSets; a fixed fifth is for testing

Classes are those that occur in the training images, sorted by name, or the lines of PATH/classes.txt or labels.txt, in their order.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from el_larq.data.names import Name
from el_larq.data.preprocessing import Preprocessing
from el_larq.detection.annotation_splits import Splits, check_labels, image_index, is_inside, read_lines, with_test
from el_larq.detection.annotations import Findings, StatedImage, class_names
from el_larq.detection.detection_set import DetectionSet, load_splits
from el_larq.detection.voc_xml import MAX_BYTES, parse_voc
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import read_bytes

_LABEL_FILES = ("classes.txt", "labels.txt")
_IMAGE_FOLDERS = ("JPEGImages", "images")


def load(
    name: Name,
    image_size: int | None = None,
    preprocessing: Preprocessing | None = None,
    strict: bool = False,
    notify: Callable[[str], None] = lambda line: None,
) -> DetectionSet:
    """Load the data set in a folder; see `el_larq.detection.detection_set.load_splits` for arguments and errors."""
    findings = Findings(strict)
    path = Path(name.base)
    splits = _read(path, findings, lambda line: notify(f"{name}: {line}"))
    return load_splits(name, splits, findings, "empty", image_size, preprocessing, notify)


def _read(path: Path, findings: Findings, notify: Callable[[str], None]) -> Splits:
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; voc:PATH takes VOCdevkit, or a folder with Annotations/ and JPEGImages/")
    years = (
        [path]
        if (path / "Annotations").is_dir()
        else sorted(entry.parent for entry in path.glob("*/Annotations") if entry.is_dir())
    )
    if not years:
        raise UsageError(f"{path}: contains no Annotations/, and no folder that does; voc:PATH takes Pascal VOC's layout")
    stated: dict[str, list[StatedImage]] = {"train": [], "test": []}
    sets = {year: _image_sets(year) for year in years}
    tested = any("test" in names for names in sets.values())
    listed = any(sets.values())
    if listed and (unlisted := [year.name for year, names in sets.items() if not names]):
        notify(f"{', '.join(unlisted)} left out: without lists in ImageSets/Main, which other years have")
    for year, names in sets.items():
        images = _images(year)
        if not listed:
            stated["train"] += _annotated(year, _annotations(year), images, findings)
        for split, identifiers in _split_names(names, tested).items():
            for identifier, times in Counter(identifiers).items():
                for _ in range(times - 1):
                    findings.report("listed", f"{year / 'ImageSets'}: {split}", identifier)
            stated[split] += _annotated(year, list(dict.fromkeys(identifiers)), images, findings)
    file = next((path / file for file in _LABEL_FILES if (path / file).is_file()), None)
    splits = with_test(path, stated, findings, notify)
    return Splits(check_labels(file, read_lines(file)) if file else class_names(splits["train"]), splits)


def _annotations(year: Path) -> list[str]:
    return sorted(xml.stem for xml in (year / "Annotations").glob("*.xml") if not xml.name.startswith("."))  # as macOS writes


def _image_sets(year: Path) -> dict[str, list[str]]:
    """The names of images in ImageSets/Main: of train, val, trainval and test, as far as there are files."""
    found = {}
    for name in ("train", "val", "trainval", "test"):
        file = year / "ImageSets" / "Main" / f"{name}.txt"
        if file.is_file():
            found[name] = [_listed_name(year, line) for line in read_lines(file)]
    return found


def _listed_name(year: Path, line: str) -> str:
    """The name in a line "NAME", or "NAME 1" as in the lists of a class. Names may contain spaces."""
    if os.path.isfile(year / "Annotations" / f"{line}.xml"):
        return line
    return re.sub(r"\s+(-1|0|1)$", "", line)


def _split_names(names: dict[str, list[str]], tested: bool) -> dict[str, list[str]]:
    both = names.get("trainval") or [*names.get("train", ()), *names.get("val", ())]
    if tested:
        return {"train": both, "test": names.get("test", [])}
    if "train" in names and "val" in names:
        return {"train": names["train"], "test": names["val"]}
    return {"train": both}


def _images(year: Path) -> dict[str, list[str]]:
    """A year's images; see `image_index`."""
    folder = next((year / name for name in _IMAGE_FOLDERS if (year / name).is_dir()), None)
    if folder is None:
        raise UsageError(f"{year}: contains Annotations/, but neither {'/ nor '.join(_IMAGE_FOLDERS)}/")
    return image_index(folder)


def _annotated(year: Path, names: Sequence[str], images: dict[str, list[str]], findings: Findings) -> Iterator[StatedImage]:
    for name in names:
        xml = year / "Annotations" / f"{name}.xml"
        if not is_inside(name):
            findings.report("elsewhere", str(year / "ImageSets"), name)
            continue
        try:
            annotation = parse_voc(read_bytes(xml, MAX_BYTES))
        except (ElLarqError, ValueError) as error:
            findings.report("damaged", str(xml), str(error).removeprefix(f"{xml}: "))
            continue
        if not is_inside(annotation.filename):
            findings.report("elsewhere", str(xml), annotation.filename)
            continue
        fitting = _images_of(xml, name, annotation.filename, images)
        if len(fitting) != 1:
            kind = "ambiguous" if fitting else "missing"
            findings.report(kind, str(xml), " and ".join(fitting[:2]) or annotation.filename or name)
            continue
        yield StatedImage(fitting[0], str(xml), annotation.size, annotation.objects)


def _images_of(xml: Path, name: str, filename: str, images: dict[str, list[str]]) -> list[str]:
    """The image of an annotation: that of the same name. Copied and renamed files often state the name of another one.

    The stated path and name decide between images that differ in their folder or suffix. They are also taken if no image has the
    annotation's name, unless the image that they name has an annotation of its own. Several images if nothing decides.
    """
    stated = PurePosixPath(filename.replace("\\", "/"))
    paths = [str(stated), stated.name]
    own = [images[key] for key in [*(paths if stated.stem == xml.stem else []), name, xml.stem] if key in images]
    if own:
        return next((fitting for fitting in own if len(fitting) == 1), own[0])
    fitting = next((images[key] for key in [*paths, stated.stem] if key in images), [])
    return [image for image in fitting if not os.path.isfile(xml.with_name(f"{Path(image).stem}.xml"))]
