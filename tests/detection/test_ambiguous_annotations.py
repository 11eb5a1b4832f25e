"""Annotations that could be read in two ways: names that differ, elements and identifiers that are repeated, turned images."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from annotated_folders import CAT, DOG, IMAGES, WRITERS, Item, coco_json, voc_xml, write_coco, write_image, write_voc, write_yolo
from PIL import Image

from el_larq.data.dataset_registry import load_dataset
from el_larq.data.preprocessing import open_image
from el_larq.detection import coco_folder
from el_larq.detection.annotations import Findings, StatedImage, StatedObject, collect_images
from el_larq.detection.coco_folder import read_coco
from el_larq.detection.detection_set import DetectionSet
from el_larq.detection.drawing import annotator
from el_larq.detection.voc_xml import parse_voc
from el_larq.errors import ElLarqError


def classes(data: DetectionSet) -> dict[str, list[str]]:
    """The classes of the objects by the images' file names."""
    result = {}
    for part in data.annotated_splits.values():
        for index in range(len(part)):
            result[Path(part.name(index)).name] = [data.labels[number] for number in part.objects(index).classes]
    return result


def load(name: str, **options: Any) -> DetectionSet:
    data = load_dataset(name, 32, task="detection", **options)
    assert isinstance(data, DetectionSet)
    return data


def test_an_annotation_is_of_the_image_of_its_own_name(tmp_path: Path) -> None:
    """b.xml was copied from a.xml and still names a.png."""
    write_voc(tmp_path, {"a": [CAT], "b": [DOG], "c": [CAT]})
    (tmp_path / "Annotations" / "b.xml").write_text(voc_xml([DOG], "a.png"))
    assert classes(load(f"voc:{tmp_path}")) == {"a.png": ["cat"], "b.png": ["dog"], "c.png": ["cat"]}


def test_the_stated_name_finds_an_image_of_another_name(tmp_path: Path) -> None:
    """The stem of "2007.000005" is not "2007"; an image with an annotation of its own gets no boxes of another one."""
    write_voc(tmp_path, {"x": [CAT], "y": [DOG], "2007": [CAT], "gone": [DOG]})
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    images = tmp_path / "JPEGImages"
    (images / "x.png").rename(images / "2007.000005.png")
    (tmp_path / "Annotations" / "x.xml").write_text(voc_xml([DOG], "2007.000005"))
    (images / "y.png").rename(images / "renamed.png")
    (tmp_path / "Annotations" / "y.xml").write_text(voc_xml([CAT], "pictures\\renamed.png"))
    (images / "gone.png").unlink()
    (tmp_path / "Annotations" / "gone.xml").write_text(voc_xml([DOG], "2007.png"))
    said: list[str] = []
    data = load(f"voc:{tmp_path}", notify=said.append)
    assert classes(data) == {"2007.000005.png": ["dog"], "renamed.png": ["cat"], "2007.png": ["cat"]}
    assert "1 image is missing" in said[0]


def test_the_stated_suffix_decides_between_images_of_one_name(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [CAT], "b": [CAT]})
    write_image(tmp_path / "JPEGImages" / "a.bmp")
    write_image(tmp_path / "JPEGImages" / "a.webp")
    for suffix in ("bmp", "png", "webp"):
        (tmp_path / "Annotations" / "a.xml").write_text(voc_xml([CAT], f"a.{suffix}"))
        assert f"a.{suffix}" in classes(load(f"voc:{tmp_path}"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</bndbox>", "</bndbox><bndbox><xmin>1</xmin></bndbox>", "its <bndbox> occurs twice in an object"),
        ("<ymin>", "<xmin>1</xmin><ymin>", "its <xmin> occurs twice in an object"),
        ("<difficult>", "<name>dog</name><difficult>", "its <name> occurs twice in an object"),
        ("<object>", "<size><width>1</width></size><object>", "its <size> occurs twice"),
        ("<size>", "<filename>b.png</filename><size>", "its <filename> occurs twice"),
        ("<width>", "<width>9</width><width>", "its <width> occurs twice"),
        ("</xmin>", "<b/>0</xmin>", "its <xmin> contains elements"),
    ],
)
def test_repeated_elements_are_refused(old: str, new: str, message: str) -> None:
    xml = voc_xml([CAT, DOG], "a.png")
    assert len(parse_voc(xml.encode()).objects) == 2
    for text in (xml.replace(old, new, 1), new.join(xml.rsplit(old, 1))):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            parse_voc(text.encode())


def test_an_annotation_with_two_boxes_in_an_object_is_left_out(tmp_path: Path) -> None:
    write_voc(tmp_path)
    text = voc_xml(IMAGES["a"], "a.png").replace("</bndbox>", "</bndbox><bndbox><xmin>1</xmin></bndbox>")
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    said: list[str] = []
    assert "a.png" not in classes(load(f"voc:{tmp_path}", notify=said.append))
    assert "1 annotation cannot be read (left out with the image; " in said[0]
    assert "a.xml: its <bndbox> occurs twice in an object" in said[0]


@pytest.mark.parametrize("above", ["images", "images/train"])
def test_labels_are_read_inside_the_data_set_only(tmp_path: Path, above: str) -> None:
    """A data set in a folder called images: labels/ beside that folder belongs to something else."""
    root = write_yolo(tmp_path / above / "set")
    other = Path(str(root).replace(f"{tmp_path}/images", f"{tmp_path}/labels"))
    write_yolo(other, {name: [DOG, DOG, DOG] for name in IMAGES})
    assert classes(load(f"yolo:{root}")) == {f"{name}.png": [label for label, _ in items] for name, items in IMAGES.items()}
    # Images and texts in one folder, which is itself called images.
    flat = tmp_path / "flat" / "images"
    for name in "abc":
        write_image(flat / f"{name}.png")
        (flat / f"{name}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "flat" / "labels").mkdir()
    for name in "abc":
        (tmp_path / "flat" / "labels" / f"{name}.txt").write_text("1 0.5 0.5 0.1 0.1\n")
    (flat / "data.yaml").write_text("names: [cat, dog]\ntrain: .\n")
    assert classes(load(f"yolo:{flat}")) == {f"{name}.png": ["cat"] for name in "abc"}


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp"])
@pytest.mark.parametrize("value", [1, 3, 6, 8, 9])
def test_boxes_refer_to_the_image_as_it_is_opened(tmp_path: Path, suffix: str, value: int) -> None:
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = value
    picture = Image.new("RGB", (60, 40))
    if suffix == "bmp":  # has no EXIF data
        picture.save(path)
    else:
        picture.save(path, exif=exif)
    opened = open_image(path)
    assert opened.size == ((40, 60) if value in (6, 8) and suffix in ("jpg", "tif", "webp") else (60, 40))
    stated = StatedImage(str(path), "a.xml", None, [StatedObject("cat", (0, 0, opened.height, opened.width))])
    (objects,) = collect_images([stated], ("cat",), Findings(strict=True), "empty").objects
    assert objects.boxes.tolist() == [[0, 0, 1, 1]]


def coco(path: Path, content: dict[str, Any], findings: Findings | None = None) -> dict[str, list[str]]:
    write_coco(path)
    (path / "train.json").write_text(json.dumps(content))
    images, _ = read_coco(path / "train.json", path, findings or Findings(strict=True))
    return {Path(image.path).stem: [item.label for item in image.objects] for image in images}


def test_a_repeated_category_is_refused(tmp_path: Path) -> None:
    content: dict[str, Any] = coco_json(IMAGES)
    content["categories"].append({"id": "7", "name": "bird"})
    with pytest.raises(ElLarqError, match=r"train\.json: the category id 7 occurs twice; give each category an id of its own$"):
        coco(tmp_path, content)


def test_categories_may_be_stated_as_text(tmp_path: Path) -> None:
    content: dict[str, Any] = coco_json(IMAGES)
    for entry in content["annotations"]:
        entry["category_id"] = str(entry["category_id"])
    assert coco(tmp_path, content) == {name: [label for label, _ in items] for name, items in IMAGES.items()}
    content["annotations"][0]["category_id"] = 7.5
    with pytest.raises(ElLarqError, match=r"annotations\[0\]: ValueError: 7.5 is not an integer"):
        coco(tmp_path, content)


def test_images_that_share_an_id_are_left_out(tmp_path: Path) -> None:
    content: dict[str, Any] = coco_json(IMAGES)
    content["images"][2]["id"] = content["images"][0]["id"]
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] != 2]
    findings = Findings()
    assert set(coco(tmp_path, content, findings)) == set("bde")
    assert findings.counts == {"damaged": 2}
    assert "images[0]: the id 0 occurs 2 times" in (findings.summary() or "")


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("latest.json",), ["train"]),
        (("instances_val2017.json",), ["train"]),
        (("latest.json", "my_train.json"), ["train"]),
        (("invalid-train.json", "InstancesTest.json"), ["test", "train"]),
        (("train/a.json", "validation/a.json"), ["train", "validation"]),
    ],
)
def test_splits_of_coco_are_whole_words(tmp_path: Path, names: tuple[str, ...], split: list[str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert sorted(coco_folder._files(tmp_path, lambda _: None)) == split


def test_a_year_without_lists_is_mentioned(tmp_path: Path) -> None:
    for year, names in (("VOC2007", "abcd"), ("VOC2012", "efg")):
        write_voc(tmp_path / year, {name: [CAT] for name in names})
    lists = tmp_path / "VOC2007" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\nd\n")
    said: list[str] = []
    assert set(classes(load(f"voc:{tmp_path}", notify=said.append))) == {"a.png", "b.png", "c.png", "d.png"}
    assert said == [f"voc:{tmp_path}: VOC2012 left out: without lists in ImageSets/Main, which other years have"]


def test_listed_names_may_contain_spaces(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a cat": [CAT], "cat 1": [CAT], "b": [CAT], "c d": [CAT]})
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a cat\ncat 1\n")
    (lists / "val.txt").write_text("b  1\nc d -1\n")
    assert set(classes(load(f"voc:{tmp_path}", strict=True))) == {"a cat.png", "cat 1.png", "b.png", "c d.png"}


def test_test_images_that_are_training_images_are_mentioned(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\ntrain: images\nval: ./images\n")
    said: list[str] = []
    load(f"yolo:{tmp_path}", notify=said.append)
    assert said == [f"yolo:{tmp_path}: 5 of 5 test images are also training images; scores on them do not count for others"]


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_classes_with_a_byte_order_mark(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path)
    (tmp_path / "classes.txt").write_text("cat\ndog\n", encoding="utf-8-sig")
    if kind == "yolo":
        text = tmp_path / "labels" / "a.txt"
        text.write_text(text.read_text(), encoding="utf-8-sig")
    assert load(f"{kind}:{tmp_path}", strict=True).labels == ("cat", "dog")


@pytest.mark.parametrize("kind", ["voc", "yolo"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\ndog\ncat\n", "the class 'cat' is empty or occurs twice"),
        ("".join(f"{number}\n" for number in range(10_001)), "names 10,001 classes; at most 10,000 are read"),
        (f"{'x' * 70}\n" * 70_000, "bytes are more than the 4,194,304"),
    ],
    ids=["twice", "many", "large"],
)
def test_wrong_lists_of_classes_are_refused(tmp_path: Path, kind: str, text: str, message: str) -> None:
    WRITERS[kind](tmp_path)
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(ElLarqError, match=f"classes.txt: .*{re.escape(message)}"):
        load(f"{kind}:{tmp_path}")


BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n" for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{BOMB}names: *l\n", "names in data.yaml are not all texts"),
        ("names: [cat, no]\n", "names in data.yaml are not all texts"),
        ("names: {0: cat, 1: [dog]}\n", "names in data.yaml are not all texts"),
        (f"{BOMB}names: [cat, dog]\ntrain: *l\n", "data.yaml names no folder for train, but something else"),
        ("names: [cat, dog]\ntrain: {a: b}\n", "data.yaml names no folder for train, but something else"),
        (f"names: [cat, dog]\ntrain: {'x' * 5000}\n", "for train, which is not a folder in it"),
    ],
    ids=["aliases", "boolean", "list", "path aliases", "mapping", "long"],
)
def test_yaml_of_other_kinds_is_refused(tmp_path: Path, text: str, message: str) -> None:
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ElLarqError, match=re.escape(message)) as caught:
        load(f"yolo:{tmp_path}")
    assert len(str(caught.value)) < 400


def test_an_overlong_name_is_a_missing_image_and_is_shortened(tmp_path: Path) -> None:
    content: dict[str, Any] = coco_json(IMAGES)
    content["images"][0]["file_name"] = "x" * 5000
    findings = Findings()
    assert set(coco(tmp_path, content, findings)) == set("bcde")
    assert findings.counts == {"missing": 1}
    assert f"images[0]: {'x' * 199}…)" in (findings.summary() or "")
    with pytest.raises(ElLarqError) as caught:
        Findings(strict=True).report("missing", "y" * 5000, "x" * 5000)
    assert str(caught.value).startswith(f"{'y' * 199}…: {'x' * 199}… (")


def test_a_file_that_is_not_an_image_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"text")
    findings = Findings()
    collect_images([StatedImage(str(tmp_path / "a.png"), "a.xml", None, [])], ("cat",), findings, "empty")
    assert "a.png: neither its annotation nor the file has one: not an image that can be read)" in (findings.summary() or "")


def test_all_of_many_objects_are_listed_and_counted(tmp_path: Path) -> None:
    """150 objects: more than the usual number of rows."""
    many: list[Item] = [("cat", (0, 0, 20, 20 + row / 5)) for row in range(150)]
    write_yolo(tmp_path, IMAGES | dict.fromkeys("ab", many))
    data = load(f"yolo:{tmp_path},augment=none")
    annotate, captions = annotator(data.labels), []
    for images, listed in data.augmented_batches(1, seed=0).take(len(data.train)):
        assert listed.shape == (1, 150, 5)
        captions.append(annotate(Image.fromarray(images.numpy()[0]), listed.numpy()[0]))
    assert "150 objects" in captions
