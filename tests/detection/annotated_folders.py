"""Small folders of annotated images in each format, with the same images and boxes."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 60
Item = tuple[str, tuple[float, float, float, float]]
"""A class and a box in corner form, in pixels from 0."""

CAT: Item = ("cat", (4, 6, 24, 36))
DOG: Item = ("dog", (10, 30, 40, 60))

IMAGES: dict[str, list[Item]] = {"a": [CAT], "b": [DOG, CAT], "c": [DOG], "d": [CAT, DOG], "e": [DOG]}
"""The objects of the images that the writers below write by default."""

FRACTIONS = {label: np.array(box) / (HEIGHT, WIDTH, HEIGHT, WIDTH) for label, box in (CAT, DOG)}


def write_image(path: Path, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (40 * number % 256, 90, 200)).save(path)


def voc_xml(items: Sequence[Item], filename: str = "", extra: str = "", size: str | None = None) -> str:
    """size: the contents of <size>; None for the image's size."""
    size = f"<width>{WIDTH}</width><height>{HEIGHT}</height>" if size is None else size
    objects = "".join(
        f"<object><name>{label}</name><difficult>0</difficult><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for label, (top, left, bottom, right) in items
    )
    return f"<annotation><filename>{filename}</filename><size>{size}</size>{objects}{extra}</annotation>"


def write_voc(folder: Path, images: dict[str, list[Item]] | None = None) -> Path:
    for number, (name, items) in enumerate((IMAGES if images is None else images).items()):
        write_image(folder / "JPEGImages" / f"{name}.png", number)
        (folder / "Annotations").mkdir(exist_ok=True)
        (folder / "Annotations" / f"{name}.xml").write_text(voc_xml(items, f"{name}.png"))
    return folder


def coco_json(images: dict[str, list[Item]], classes: Sequence[str] = ("cat", "dog")) -> dict[str, list[dict[str, object]]]:
    """Identifiers of categories have gaps and do not begin at 0, as COCO's."""
    annotations = [
        {"image_id": number, "category_id": 10 * classes.index(label) + 7, "bbox": [left, top, right - left, bottom - top]}
        for number, items in enumerate(images.values())
        for label, (top, left, bottom, right) in items
    ]
    return {
        "images": [
            {"id": number, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH} for number, name in enumerate(images)
        ],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations)],
        "categories": [{"id": 10 * number + 7, "name": name} for number, name in enumerate(classes)],
    }


def write_coco(folder: Path, images: dict[str, list[Item]] | None = None) -> Path:
    images = IMAGES if images is None else images
    for number, name in enumerate(images):
        write_image(folder / "images" / f"{name}.png", number)
    (folder / "annotations.json").write_text(json.dumps(coco_json(images)))
    return folder


def yolo_text(items: Sequence[Item], classes: Sequence[str] = ("cat", "dog")) -> str:
    lines = []
    for label, (top, left, bottom, right) in items:
        values = ((left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT, (right - left) / WIDTH, (bottom - top) / HEIGHT)
        lines.append(" ".join(map(str, (classes.index(label), *values))))
    return "\n".join(lines) + "\n"


def write_yolo(folder: Path, images: dict[str, list[Item]] | None = None) -> Path:
    for number, (name, items) in enumerate((IMAGES if images is None else images).items()):
        write_image(folder / "images" / f"{name}.png", number)
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{name}.txt").write_text(yolo_text(items))
    (folder / "classes.txt").write_text("cat\ndog\n")
    return folder


WRITERS = {"voc": write_voc, "coco": write_coco, "yolo": write_yolo}
