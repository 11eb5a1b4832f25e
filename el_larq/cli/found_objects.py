"""What `el-larq predict` does with a detector: a list of objects, and pictures with boxes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from el_larq.cli.common import print_json, show

if TYPE_CHECKING:
    from PIL import Image

    from el_larq.evaluation.open_model import Opened

_PICTURES = (".png", ".jpg", ".jpeg")


def check_pictures(out: Path, model: Path, images: Sequence[Path]) -> None:
    """Check that pictures can be written there: for one image, a file, otherwise a folder."""
    from el_larq.outputs import JPEG, PNG, check_folder, check_output

    if _is_one(images):
        check_output(out, PNG, JPEG, inputs=(model, *images))
    else:
        check_folder(out, inputs=(model, *images))


def _is_one(images: Sequence[Path]) -> bool:
    return len(images) == 1 and not images[0].is_dir()


def show_objects(
    opened: "Opened",
    images: list[Path],
    score_threshold: float,
    out: Path | None,
    pictures: dict[Path, Path],
    failed: list[dict[str, str]],
    as_json: bool,
) -> None:
    """Find objects in images, show them, and write pictures.

    pictures: where that of each image is written, as `picture_names` says; empty for none. failed: entries of images that cannot
        be read, for --json.
    """
    from el_larq.evaluation.detect import objects_in

    found = objects_in(opened, images, score_threshold)
    for one, path in zip(found, images, strict=True):
        if pictures:
            _write(one.picture(), pictures[path])
        if as_json:
            continue
        show(one.image)
        for entry in one.objects:
            top, left, bottom, right = entry.box
            show(f"  {entry.score:6.1%}  {entry.label}  x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}")
        if not one.objects:
            show(f"  nothing with a score of {score_threshold:g} or more")
    if as_json:
        entries = [
            one.to_dict() | ({"picture": str(pictures[path])} if pictures else {}) for one, path in zip(found, images, strict=True)
        ]
        print_json([*entries, *failed])
    elif out is not None:
        show(f"{'picture' if out in pictures.values() else 'pictures'} {out}")


def picture_names(out: Path, model: Path, asked: Sequence[Path], images: Sequence[Path]) -> dict[Path, Path]:
    """The picture of each image: ``out``, or in this folder, where the image is in the folder that was asked for.

    Arguments:
        asked: the files and folders on the command line. images: the files, with those in folders.

    Raises:
        UsageError: a picture would replace an image, the model, another picture or a file of another kind.
    """
    from el_larq.errors import UsageError
    from el_larq.outputs import JPEG, PNG, check_output

    if _is_one(asked):
        return dict.fromkeys(images, out)
    folders, whole = [path for path in asked if path.is_dir()], os.path.realpath(out)
    read = {_identity(path): path for path in (model, *images)}
    names: dict[Path, Path] = {}
    taken: set[Path] = set()
    for image in images:
        if Path(os.path.realpath(image)).is_relative_to(whole):
            raise UsageError(f"cannot write to {out}: the input {image} is in it; choose another folder")
        if image in names:
            raise UsageError(f"{image} is given twice; give each image once")
        start = next((start for start in folders if image.is_relative_to(start)), image.parent)
        place = image.relative_to(start)
        place = place if place.suffix.lower() in _PICTURES else place.with_name(f"{place.name}.png")
        target = out / place
        if target in taken:
            raise UsageError(f"two pictures would be {target}; give one folder at a time")
        if target.exists():  # a link in the folder may lead to an input
            same = read.get(_identity(target))
            check_output(target, PNG, JPEG, inputs=() if same is None else (same,))
        names[image] = target
        taken.add(target)
    return names


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _write(picture: "Image.Image", path: Path) -> None:
    from el_larq.errors import ElLarqError
    from el_larq.files import atomic_path
    from el_larq.outputs import JPEG, PNG, check_output

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ElLarqError(f"cannot write to {path.parent}: {error.strerror or error}") from error
    kind = check_output(path, PNG, JPEG)
    with atomic_path(path, kind.check_replaceable) as temporary:
        picture.save(temporary)
