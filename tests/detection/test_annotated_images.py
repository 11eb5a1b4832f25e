"""Which image an annotation belongs to, and which of its pixels: stated sizes, folders of labels, splits, repeated entries."""

from pathlib import Path

import pytest
from annotated_folders import IMAGES, write_yolo
from PIL import Image
from test_annotation_formats import found, load

from el_larq.detection.annotations import Findings, StatedImage, StatedObject, collect_images
from el_larq.errors import ElLarqError


def warned(name: str) -> tuple[dict[str, list[str]], str]:
    """The classes of the objects by image, and what was said."""
    said: list[str] = []
    data = load(name, notify=said.append)
    return {image: [label for label, _ in items] for image, items in found(data).items()}, "\n".join(said)


@pytest.mark.parametrize(
    ("stored", "turn", "stated", "kind"),
    [
        ((200, 100), 6, (100.0, 200.0), "turned"),
        ((101, 100), 6, (100.0, 101.0), "turned"),
        ((200, 100), 6, (200.0, 100.0), None),
        ((200, 100), 3, (100.0, 200.0), None),
        ((100, 300), 1, (375.0, 500.0), "mismatch"),
        ((500, 333), 1, (33.0, 50.0), None),
        ((500, 333), 1, (333.0, 512.0), "mismatch"),
    ],
)
def test_a_stated_size_is_compared_with_the_file(
    tmp_path: Path, stored: tuple[int, int], turn: int, stated: tuple[float, float], kind: str | None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.new("RGB", stored).save(tmp_path / "a.jpg", exif=exif)
    image = StatedImage(str(tmp_path / "a.jpg"), "a.xml", stated, [StatedObject("cat", (0, 0, *stated))])
    findings = Findings()
    kept = collect_images([image], ("cat",), findings, "empty")
    assert findings.counts == ({} if kind is None else {kind: 1})
    assert [objects.boxes.tolist() for objects in kept.objects] == ([[[0, 0, 1, 1]]] if kind is None else [])
    if kind is not None:
        with pytest.raises(ElLarqError, match=r"a\.xml: .* stated, .* as displayed"):
            collect_images([image], ("cat",), Findings(strict=True), "empty")


def test_labels_are_beside_the_folder_of_each_image(tmp_path: Path) -> None:
    """data.yaml names the folders above images/ and labels/."""
    for split, names in (("train", "abc"), ("valid", "de")):
        write_yolo(tmp_path / split, {name: IMAGES[name] for name in names})
    (tmp_path / "valid" / "labels" / "gone.txt").write_text("0 .5 .5 .1 .1\n")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\ntrain: train\nval: valid\n")
    images, said = warned(f"yolo:{tmp_path}")
    assert images == {name: [label for label, _ in items] for name, items in IMAGES.items()}
    assert "1 image is missing" in said
    assert "gone.txt: no image of this name" in said


def test_the_box_of_a_pose_is_not_a_polygon(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    for name in IMAGES:
        (tmp_path / "labels" / f"{name}.txt").write_text("0 .7 .7 .2 .2 .1 .1 .2 .2 .3 .3 .4 .4\n")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\nkpt_shape: [4, 2]\n")
    for items in found(load(f"yolo:{tmp_path}")).values():
        assert items == [("cat", pytest.approx([0.6, 0.6, 0.8, 0.8]))]
