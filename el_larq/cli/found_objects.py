"""What `el-larq predict` does with a detector: a list of objects, and pictures with boxes."""

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
    asked: Sequence[Path],
    images: list[Path],
    score_threshold: float,
    out: Path | None,
    failed: list[dict[str, str]],
    as_json: bool,
) -> None:
    """Find objects in images, show them, and write pictures.

    asked: the files and folders on the command line. failed: entries of images that cannot be read, for --json.
    """
    from el_larq.evaluation.detect import objects_in

    pictures = {} if out is None else _names(out, asked, images)
    found = objects_in(opened, images, score_threshold)
    for one, path in zip(found, images, strict=True):
        if out is not None:
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
        show(f"{'picture' if _is_one(asked) else 'pictures'} {out}")


def _names(out: Path, asked: Sequence[Path], images: Sequence[Path]) -> dict[Path, Path]:
    """The picture of each image: ``out``, or in this folder, where the image is in the folder that was asked for."""
    from el_larq.errors import UsageError

    if _is_one(asked):
        return dict.fromkeys(images, out)
    names: dict[Path, Path] = {}
    for image in images:
        folder = next((folder for folder in asked if folder.is_dir() and image.is_relative_to(folder)), image.parent)
        place = image.relative_to(folder)
        place = place if place.suffix.lower() in _PICTURES else place.with_name(f"{place.name}.png")
        if out / place in names.values():
            raise UsageError(f"two pictures would be {out / place}; give one folder at a time")
        names[image] = out / place
    return names


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
