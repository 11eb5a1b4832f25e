"""Which image an annotation belongs to, and which of its pixels: stated sizes, folders of labels, splits, repeated entries."""

import json
from pathlib import Path
from typing import Any

import pytest
from annotated_folders import CAT, DOG, IMAGES, WRITERS, coco_json, voc_xml, write_coco, write_image, write_voc, write_yolo
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


@pytest.mark.parametrize(("kind", "kept"), [("voc", 2), ("coco", 2), ("yolo", 1)])
def test_a_box_that_is_stated_twice(tmp_path: Path, kind: str, kept: int) -> None:
    """Kept where a reference evaluation counts both. Neither another box nor another class in the same place is a repetition."""
    other = ("cat", (1.0, 2.0, 3.0, 4.0))
    WRITERS[kind](tmp_path, IMAGES | {"a": [CAT, CAT, other, ("dog", CAT[1])]})
    images, said = warned(f"{kind}:{tmp_path}")
    assert images["a"] == ["cat"] * kept + ["cat", "dog"]
    assert ("1 box is repeated (left out; " if kind == "yolo" else "1 box is stated twice (kept, ") in said
    with pytest.raises(ElLarqError, match="omit --strict"):
        load(f"{kind}:{tmp_path}", strict=True)


def test_if_all_annotations_are_wrong_the_cause_is_named(tmp_path: Path) -> None:
    write_voc(tmp_path / "voc")
    for xml in (tmp_path / "voc" / "Annotations").iterdir():
        xml.write_text("<annotation>")
    with pytest.raises(ElLarqError, match=r"no annotated images for training: 5 annotations cannot be read .*: not XML"):
        load(f"voc:{tmp_path / 'voc'}")
    write_yolo(tmp_path / "yolo", {"a": [CAT], "b": [DOG]})
    (tmp_path / "yolo" / "labels" / "a.txt").write_text("cat\n")
    with pytest.raises(ElLarqError, match=r"at least two are needed, .*: 1 annotation cannot be read .*a\.txt: line 1 is not"):
        load(f"yolo:{tmp_path / 'yolo'}")


@pytest.mark.parametrize("validated", [True, False])
def test_test_images_without_annotations_are_left_out(tmp_path: Path, validated: bool) -> None:
    for split, names in (("train", "abc"), ("test", "fg"), *([("val", "de")] if validated else [])):
        for name in names:
            write_image(tmp_path / "images" / split / f"{name}.png")
            if split != "test":
                (tmp_path / "labels" / split).mkdir(parents=True, exist_ok=True)
                (tmp_path / "labels" / split / f"{name}.txt").write_text("0 .5 .5 .1 .1\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    said: list[str] = []
    data = load(f"yolo:{tmp_path}", strict=True, notify=said.append)
    assert said == [f"yolo:{tmp_path}: 2 test images left out: none is annotated"]
    assert set(found(data)) == set("abcde" if validated else "abc")
    assert data.validation is None
    assert set(found(data, "test")) == set("de") if validated else len(data.test) == 1


def test_images_of_one_name_in_several_folders(tmp_path: Path) -> None:
    write_voc(tmp_path, {"0": [CAT], "1": [CAT], "2": [CAT]})
    images = tmp_path / "JPEGImages"
    (images / "0.png").unlink()
    for folder in "abc":
        write_image(images / folder / "0.png")
    for stated in ("a/0.png", "b\\0.png", "c/0.png"):
        (tmp_path / "Annotations" / "0.xml").write_text(voc_xml([CAT], stated))
        paths = [part.name(index) for part in load(f"voc:{tmp_path}").annotated_splits.values() for index in range(len(part))]
        assert str(images / stated.replace("\\", "/")) in paths
    for stated in ("0.png", "", "other/0.png"):
        (tmp_path / "Annotations" / "0.xml").write_text(voc_xml([CAT], stated))
        found_images, said = warned(f"voc:{tmp_path}")
        assert set(found_images) == set("12")
        assert f"1 annotation fits several images (left out; {tmp_path}/Annotations/0.xml: {images}/a/0.png and" in said
    # Lists that name the folder, with annotations in the same folders.
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("1\na/0\n")
    (lists / "val.txt").write_text("2\nb/0\n")
    for folder in "ab":
        (tmp_path / "Annotations" / folder).mkdir()
        (tmp_path / "Annotations" / folder / "0.xml").write_text(voc_xml([CAT], "0.png"))
    data = load(f"voc:{tmp_path}", strict=True)
    assert {data.train.name(0), data.train.name(1)} == {str(images / "1.png"), str(images / "a" / "0.png")}


@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_images_in_two_splits_are_mentioned(tmp_path: Path, kind: str) -> None:
    if kind == "voc":
        lists = write_voc(tmp_path) / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        (lists / "train.txt").write_text("a\nb\nb\nc\n")
        (lists / "val.txt").write_text("c\nd\n")
    else:
        (write_coco(tmp_path) / "annotations.json").unlink()
        for split, names in (("train", "abc"), ("val", "cd")):
            (tmp_path / f"{split}.json").write_text(json.dumps(coco_json({name: IMAGES[name] for name in names})))
    _, said = warned(f"{kind}:{tmp_path}")
    assert "1 of 2 test images are also training images; scores on them do not count for others" in said
    assert ("1 name is listed twice (used once; " in said) == (kind == "voc")


def test_validation_images_that_are_training_images_are_mentioned(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_yolo(tmp_path / split, {name: IMAGES[name] for name in "abc"})
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\ntrain: train/images\nval: train/images\ntest: test/images\n")
    _, said = warned(f"yolo:{tmp_path}")
    assert said == f"yolo:{tmp_path}: 3 of 3 validation images are also training images; scores on them do not count for others"


@pytest.mark.parametrize(("train", "val"), [("Train", "Val"), ("train2017", "val2017")])
def test_splits_of_yolo_are_words_of_folders(tmp_path: Path, train: str, val: str) -> None:
    for split, names in ((train, "abc"), (val, "de"), ("extra", "f")):
        for name in names:
            write_image(tmp_path / "images" / split / f"{name}.png")
            (tmp_path / "labels" / split).mkdir(parents=True, exist_ok=True)
            (tmp_path / "labels" / split / f"{name}.txt").write_text("0 .5 .5 .1 .1\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    said: list[str] = []
    data = load(f"yolo:{tmp_path}", notify=said.append)
    assert (set(found(data, "train")), set(found(data, "test"))) == (set("abc"), set("de"))
    assert said == [f"yolo:{tmp_path}: images/extra left out: without train, val or test in the name"]
    (tmp_path / "images" / train).rename(tmp_path / "images" / "others")
    with pytest.raises(ElLarqError, match=f"has images/{val}, but no such folder for train"):
        load(f"yolo:{tmp_path}")


def test_files_of_coco_without_a_split_are_mentioned(tmp_path: Path) -> None:
    write_coco(tmp_path)
    (tmp_path / "annotations.json").rename(tmp_path / "household_stuff_train.json")
    (tmp_path / "stuff_train.json").write_text("{}")
    (tmp_path / "instances_extra.json").write_text("{}")
    images, said = warned(f"coco:{tmp_path}")
    assert set(images) == set(IMAGES)
    assert said == f"coco:{tmp_path}: instances_extra.json left out: without train, val or test in the name"


def test_what_other_tools_write_is_read(tmp_path: Path) -> None:
    """Separators of Windows, numbers with a fraction of 0, hidden files of macOS, absolute paths."""
    content: dict[str, Any] = json.loads(json.dumps(coco_json(IMAGES)))
    for entry in content["images"]:
        entry |= {"file_name": f"images\\{entry['file_name']}", "id": float(entry["id"])}
    (write_coco(tmp_path / "coco") / "annotations.json").write_text(json.dumps(content))
    (write_voc(tmp_path / "voc") / "Annotations" / "._a.xml").write_bytes(b"\0\5\26\7")
    folder = write_yolo(tmp_path / "yolo")
    (folder / "labels" / "._a.txt").write_bytes(b"\0\5\26\7")
    (folder / "labels" / "a.txt").write_text("0.0 .35 .35 .5 .5\n")
    (folder / "data.yaml").write_text(f"names: [cat, dog]\ntrain: {folder / 'images'}\n")
    for kind in WRITERS:
        data = load(f"{kind}:{tmp_path / kind}", strict=True)
        assert {image: [label for label, _ in items] for image, items in found(data).items()} == {
            name: [label for label, _ in items] for name, items in IMAGES.items()
        }
    (folder / "labels" / "a.txt").write_text("0.5 .35 .35 .5 .5\n")
    with pytest.raises(ElLarqError, match="line 1 is not a class and numbers"):
        load(f"yolo:{folder}", strict=True)


def test_a_group_of_categories_with_the_name_of_its_member_is_none(tmp_path: Path) -> None:
    content: dict[str, Any] = coco_json({name: [CAT] for name in "abc"}, ["cat"])
    content["categories"] = [{"id": 0, "name": "cat", "supercategory": "none"}, {"id": 7, "name": "cat", "supercategory": "cat"}]
    (write_coco(tmp_path) / "annotations.json").write_text(json.dumps(content))
    assert load(f"coco:{tmp_path}", strict=True).labels == ("cat",)


def test_the_number_of_classes_is_that_of_their_names(tmp_path: Path) -> None:
    (write_yolo(tmp_path) / "data.yaml").write_text("nc: 5\nnames: [cat, dog]\n")
    with pytest.raises(ElLarqError, match=r"nc in data\.yaml is 5, but names has 2"):
        load(f"yolo:{tmp_path}")
