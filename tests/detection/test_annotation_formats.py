"""The readers of annotations: what they find, and what they say about annotations that are wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated_folders import (
    CAT,
    DOG,
    FRACTIONS,
    IMAGES,
    WIDTH,
    WRITERS,
    Item,
    coco_json,
    voc_xml,
    write_coco,
    write_image,
    write_voc,
    write_yolo,
)

from el_larq.data.dataset_registry import load_dataset
from el_larq.detection import coco_folder
from el_larq.detection.annotation_splits import is_inside
from el_larq.detection.detection_set import AnnotatedSplit, DetectionSet
from el_larq.errors import ElLarqError, UsageError


def load(name: str, **options: Any) -> DetectionSet:
    data = load_dataset(name, 32, task="detection", **options)
    assert isinstance(data, DetectionSet)
    return data


def found(data: DetectionSet, *splits: str) -> dict[str, list[tuple[str, list[float]]]]:
    """Classes and boxes by the names of images, of all splits or of these."""
    result = {}
    for split in splits or data.annotated_splits:
        part = data.annotated_splits[split]
        for index in range(len(part)):
            objects = part.objects(index)
            named = [data.labels[number] for number in objects.classes]
            result[Path(part.name(index)).stem] = list(zip(named, objects.boxes.round(9).tolist(), strict=True))
    return result


EXPECTED = {name: [(label, FRACTIONS[label].round(9).tolist()) for label, _ in items] for name, items in IMAGES.items()}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_objects(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path)
    said: list[str] = []
    data = load(f"{kind}:{tmp_path}", notify=said.append)
    assert data.labels == ("cat", "dog")
    assert found(data) == EXPECTED
    assert (len(data.train), len(data.test)) == (4, 1)
    assert said == []
    assert data.name == f"{kind}:{tmp_path}"
    assert data.slug == tmp_path.name
    assert found(load(f"{kind}:{tmp_path}"), "test") == found(data, "test")


@pytest.mark.parametrize("kind", WRITERS)
def test_the_fingerprint_is_of_boxes_and_files(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path)
    before = load(f"{kind}:{tmp_path}").fingerprint
    assert load(f"{kind}:{tmp_path}").fingerprint == before
    WRITERS[kind](tmp_path, IMAGES | {"c": [DOG, CAT]})
    changed = load(f"{kind}:{tmp_path}").fingerprint
    assert changed != before
    (tmp_path / next(tmp_path.rglob("a.png"))).write_bytes((tmp_path / next(tmp_path.rglob("a.png"))).read_bytes() + b"\0")
    assert load(f"{kind}:{tmp_path}").fingerprint not in (before, changed)


def test_years_of_voc_are_joined_and_their_lists_are_the_splits(tmp_path: Path) -> None:
    for year, names in (("VOC2007", "abcd"), ("VOC2012", "efg")):
        folder = write_voc(tmp_path / year, {name: [CAT] for name in names})
        (folder / "ImageSets" / "Main").mkdir(parents=True)
    main = [tmp_path / year / "ImageSets" / "Main" for year in ("VOC2007", "VOC2012")]
    (main[0] / "train.txt").write_text("a\n")
    (main[0] / "val.txt").write_text("b  1\n")
    (main[1] / "train.txt").write_text("e\n")
    (main[1] / "val.txt").write_text("f\n")
    data = load(f"voc:{tmp_path}")
    assert (set(found(data, "train")), set(found(data, "test"))) == ({"a", "e"}, {"b", "f"})


def test_with_a_test_list_voc_trains_on_train_and_val(tmp_path: Path) -> None:
    folder = write_voc(tmp_path)
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("a\nb\n")
    (lists / "test.txt").write_text("c\nd\n")
    data = load(f"voc:{tmp_path}")
    assert (set(found(data, "train")), set(found(data, "test"))) == ({"a", "b"}, {"c", "d"})


def test_difficult_objects_are_kept_for_testing_only(tmp_path: Path) -> None:
    write_voc(tmp_path)
    for name in IMAGES:
        xml = voc_xml(IMAGES[name], f"{name}.png")
        (tmp_path / "Annotations" / f"{name}.xml").write_text(xml.replace("<difficult>0", "<difficult>1", 1))
    data = load(f"voc:{tmp_path}")
    # Images whose only object is difficult have nothing to train on.
    assert set(found(data, "train")) <= {"b", "d"}
    for part in data.annotated_splits.values():
        for index in range(len(part)):
            assert part.objects(index).ignored.tolist() == [True, *[False] * (len(part.objects(index)) - 1)]
    described = data._described(data.train.objects(0).required)
    assert (described[:, 0] >= 0).sum() == 1


def test_without_a_stated_size_that_of_the_image_is_taken(tmp_path: Path) -> None:
    write_voc(tmp_path)
    for name, items in IMAGES.items():
        (tmp_path / "Annotations" / f"{name}.xml").write_text(voc_xml(items, f"{name}.png", size="<width>0</width>"))
    assert found(load(f"voc:{tmp_path}")) == EXPECTED


def test_splits_of_coco_and_yolo_are_folders(tmp_path: Path) -> None:
    for split, names in (("train", "ab"), ("valid", "c"), ("test", "de")):
        images = {name: IMAGES[name] for name in names}
        write_yolo(tmp_path / "yolo" / split, images)
        for name in names:
            write_image(tmp_path / "coco" / split / f"{name}.png")
        (tmp_path / "coco" / split / "_annotations.coco.json").write_text(json.dumps(coco_json(images)))
    (tmp_path / "yolo" / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [cat, dog]\n"
    )
    for kind in ("yolo", "coco"):
        data = load(f"{kind}:{tmp_path / kind}")
        assert [set(found(data, split)) for split in ("train", "validation", "test")] == [set("ab"), set("c"), set("de")]
        assert found(data) == EXPECTED


def test_coco_in_its_own_layout(tmp_path: Path) -> None:
    for split, names in (("train2017", "abc"), ("val2017", "de")):
        for name in names:
            write_image(tmp_path / split / f"{name}.png")
        (tmp_path / "annotations").mkdir(exist_ok=True)
        content = coco_json({name: IMAGES[name] for name in names})
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        (tmp_path / "annotations" / f"captions_{split}.json").write_text("{}")
    data = load(f"coco:{tmp_path}")
    assert (set(found(data, "train")), set(found(data, "test"))) == (set("abc"), set("de"))
    assert found(data) == EXPECTED


def test_a_polygon_of_yolo_becomes_its_bounding_box(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    for name in IMAGES:
        (tmp_path / "labels" / f"{name}.txt").write_text("1 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5\n")
    for items in found(load(f"yolo:{tmp_path}")).values():
        assert items == [("dog", [0.25, 0.25, 0.75, 0.75])]


GOOD = {"a": [CAT], "b": [DOG], "c": [CAT], "d": [DOG], "e": [CAT, DOG]}
OUTSIDE = ("cat", (50.0, 10.0, 60.0, 20.0))
BEYOND = ("cat", (20.0, 30.0, 44.0, 50.0))
FLAT = ("cat", (10.0, 20.0, 10.0, 40.0))


def _voc(change: Callable[[Path], object]) -> Callable[[Path], str]:
    return lambda path: (write_voc(path, GOOD), change(path)) and f"voc:{path}"


def _xml(text: str) -> Callable[[Path], object]:
    return lambda path: (path / "Annotations" / "b.xml").write_text(text)


def _yolo(text: str) -> Callable[[Path], str]:
    return lambda path: (write_yolo(path, GOOD), (path / "labels" / "b.txt").write_text(text)) and f"yolo:{path}"


def _coco(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], str]:
    def make(path: Path) -> str:
        write_coco(path, GOOD)
        content = coco_json(GOOD)
        change(content)
        (path / "annotations.json").write_text(json.dumps(content))
        return f"coco:{path}"

    return make


WRONG = {
    "XML without boxes": (_voc(_xml(voc_xml([], "b.png"))), "1 annotation has no boxes (not used for training; ", "b.xml"),
    "XML outside": (
        _voc(_xml(voc_xml([DOG, OUTSIDE], "b.png"))),
        "1 box is outside its image (left out; ",
        "b.xml: cat from row 50",
    ),
    "XML beyond": (_voc(_xml(voc_xml([BEYOND], "b.png"))), "1 box reaches beyond its image (clipped; ", "to row 44"),
    "XML flat": (_voc(_xml(voc_xml([DOG, FLAT], "b.png"))), "1 box has no area (left out; ", "b.xml: cat"),
    "XML elsewhere": (
        _voc(_xml(voc_xml([DOG], "../other/b.png"))),
        "names an image outside the folder (left out; ",
        "../other/b.png",
    ),
    "XML absolute": (_voc(_xml(voc_xml([DOG], "C:\\pics\\b.png"))), "names an image outside the folder", "C:\\pics\\b.png"),
    "XML truncated": (
        _voc(_xml("<annotation><object>")),
        "1 annotation cannot be read (left out with the image; ",
        "b.xml: not XML",
    ),
    "XML entity": (_voc(_xml('<!DOCTYPE a [<!ENTITY x "y">]><annotation/>')), "1 annotation cannot be read", "document type"),
    "XML number": (
        _voc(_xml(voc_xml([DOG], "b.png").replace("<xmax>60", "<xmax>wide"))),
        "cannot be read",
        "<xmax> is not a number",
    ),
    "image missing": (
        _voc(lambda path: (path / "JPEGImages" / "b.png").unlink()),
        "1 image is missing (left out; ",
        "b.xml: b.png",
    ),
    "YOLO class": (_yolo("2 0.5 0.5 0.1 0.1\n1 0.5 0.5 0.1 0.1"), "1 box is of an unknown class (left out; ", "b.txt: 'class 2'"),
    "YOLO outside": (_yolo("0 1.5 0.5 0.1 0.1\n"), "1 box is outside its image", "b.txt"),
    "YOLO flat": (_yolo("0 0.5 0.5 0 0.1\n"), "1 box has no area", "b.txt"),
    "YOLO line": (_yolo("0 0.5 0.5 0.1\n"), "1 annotation cannot be read", "line 1 has 3 numbers"),
    "YOLO pixels": (_yolo("0 30 20 10 10\n"), "1 box is outside its image", "b.txt"),
    "YOLO text": (_yolo("cat 0.5 0.5 0.1 0.1\n"), "1 annotation cannot be read", "line 1 is not a class and numbers"),
    "COCO class": (_coco(lambda c: c["annotations"][1].update(category_id=3)), "1 box is of an unknown class", "'category 3'"),
    "COCO elsewhere": (
        _coco(lambda c: c["images"][1].update(file_name="/etc/b.png")),
        "outside the folder",
        "images[1]: /etc/b.png",
    ),
    "COCO missing": (_coco(lambda c: c["images"][1].update(file_name="x.png")), "1 image is missing", "images[1]: x.png"),
    "COCO box": (_coco(lambda c: c["annotations"][1].update(bbox=[1, 2])), "1 box cannot be read", "annotations[1]"),
    "COCO flat": (_coco(lambda c: c["annotations"][1].update(bbox=[1, 2, 0, 5])), "1 box has no area", "b.png"),
    "COCO orphan": (_coco(lambda c: c["annotations"][1].update(image_id=99)), "1 box belongs to no image", "image 99"),
    "COCO infinite": (_coco(lambda c: c["annotations"][1].update(bbox=[1, 2, float("inf"), 5])), "1 box has no area", "b.png"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_annotations_are_named_counted_and_left_out(tmp_path: Path, case: str) -> None:
    make, counted, named = WRONG[case]
    name = make(tmp_path)
    said: list[str] = []
    data = load(name, notify=said.append)
    (line,) = said
    assert line.startswith(f"{name}: ")
    assert counted in line
    assert named in line
    right = {image: items for image, items in found(data).items() if image != "b"}
    assert right == {image: [(label, FRACTIONS[label].round(9).tolist()) for label, _ in GOOD[image]] for image in right}
    assert set("acde") == set(right)
    with pytest.raises(ElLarqError, match=re.escape(named)) as caught:
        load(name, strict=True)
    assert "\n" not in str(caught.value)
    assert "omit --strict" in str(caught.value)


def test_a_box_beyond_its_image_is_clipped(tmp_path: Path) -> None:
    write_voc(tmp_path, {name: [BEYOND] for name in "abcd"})
    for items in found(load(f"voc:{tmp_path}")).values():
        assert items == [("cat", [0.5, 0.5, 1.0, round(50 / WIDTH, 9)])]


def test_a_class_that_only_test_images_have_is_unknown(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [CAT], "b": [CAT, DOG]})
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    said: list[str] = []
    data = load(f"voc:{tmp_path}", notify=said.append)
    assert data.labels == ("cat",)
    assert "1 box is of an unknown class (left out; " in said[0]
    (tmp_path / "labels.txt").write_text("dog\ncat\n")
    assert load(f"voc:{tmp_path}").labels == ("dog", "cat")


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_images_without_boxes_are_background_there(tmp_path: Path, kind: str) -> None:
    """They are not used for training, are kept for testing, and are not an error."""
    WRITERS[kind](tmp_path, GOOD | {f"empty{number}": [] for number in range(8)})
    said: list[str] = []
    data = load(f"{kind}:{tmp_path}", strict=True, notify=said.append)
    assert "8 images have no boxes (not used for training; the first: " in said[0]
    assert all(found(data, "train").values())
    assert any(not items for items in found(data, "test").values())


def _file(kind: str, file: str, text: str) -> Callable[[Path], str]:
    def make(path: Path) -> str:
        (path / file).write_text(text)
        return f"{kind}:{path}"

    return make


def _folder(kind: str, *folders: str) -> Callable[[Path], str]:
    def make(path: Path) -> str:
        for folder in folders:
            (path / folder).mkdir()
        return f"{kind}:{path}"

    return make


def _written(images: dict[str, list[Item]], options: str = "") -> Callable[[Path], str]:
    return lambda path: write_voc(path, images) and f"voc:{path}{options}"


REFUSED = {
    "no folder": (lambda path: f"voc:{path / 'none'}", "no such folder"),
    "no layout": (_folder("voc"), "contains no Annotations/"),
    "no images folder": (_folder("voc", "Annotations"), "neither JPEGImages/ nor images/"),
    "one image": (_written({"a": [CAT]}), "contains 1 annotated image; at least two"),
    "all wrong": (_written({name: [FLAT] for name in "abc"}), "can be used: 3 boxes have no area"),
    "augmentation": (_written(GOOD, ",augment=crop"), "augments images without boxes"),
    "no JSON": (_folder("coco"), "no JSON file with train"),
    "bad JSON": (_file("coco", "train.json", "{"), "train.json: not JSON"),
    "deep JSON": (_file("coco", "train.json", "[" * 100_000), "train.json: not JSON"),
    "other JSON": (_file("coco", "train.json", "[]"), "not COCO's format"),
    "no id": (_coco(lambda c: c["categories"][0].pop("id")), "a category has no id or no name"),
    "twice": (_coco(lambda c: c["categories"][0].update(name="dog")), "the class 'dog' is empty or occurs twice"),
    "no names": (_folder("yolo", "images"), "no names of classes"),
    "no images": (_file("yolo", "classes.txt", "cat"), "has no images/"),
    "bad YAML": (_file("yolo", "data.yaml", "[a"), "not YAML"),
    "elsewhere": (_file("yolo", "data.yaml", "names: [cat]\ntrain: /home/me/train"), "data.yaml names '/home/me/train' for train"),
    "gaps": (_file("yolo", "data.yaml", "names: {0: cat, 2: dog}"), "not the numbers from 0 to 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_a_data_set_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(ElLarqError, match=re.escape(message)) as caught:
        load(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_huge_json_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "train.json", "wb") as file:
        file.truncate(coco_folder.MAX_BYTES + 1)
    monkeypatch.setattr(coco_folder, "read_bytes", lambda *_: pytest.fail("the file was read"))
    with pytest.raises(ElLarqError, match=r"train\.json: 200,000,001 bytes are more than the 200,000,000"):
        load(f"coco:{tmp_path}")


def test_an_unreadable_image_is_left_out(tmp_path: Path) -> None:
    write_voc(tmp_path, GOOD)
    (tmp_path / "JPEGImages" / "c.png").write_bytes(b"no image")
    said: list[str] = []
    data = load(f"voc:{tmp_path}", notify=said.append)
    assert set(found(data)) == set("abde")
    assert said[-1] == "1 of 5 images cannot be read and are left out"
    with pytest.raises(ElLarqError, match=r"c\.png"):
        load(f"voc:{tmp_path}", strict=True)


def test_tasks_do_not_mix(tmp_path: Path) -> None:
    write_voc(tmp_path)
    for name in (f"voc:{tmp_path}", "shapes"):
        with pytest.raises(UsageError, match="has images with boxes, for detection"):
            load_dataset(name)
    with pytest.raises(UsageError, match="has a class per image, and no boxes"):
        load("digits")


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a.jpg", True),
        ("x/a.jpg", True),
        ("a:b.jpg", True),
        ("", True),
        ("/a", False),
        ("a/../../b", False),
        ("C:\\a", False),
        ("..\\a", False),
        ("a\0", False),
    ],
)
def test_names_that_stay_inside(name: str, inside: bool) -> None:
    assert is_inside(name) is inside


def test_batches_list_the_objects_or_have_targets_for_anchors(tmp_path: Path) -> None:
    write_voc(tmp_path)
    data = load(f"voc:{tmp_path},augment=none")
    assert not data.augments
    listed = list(data.plain_batches("test", 4))
    (images, objects) = (array.numpy() for array in listed[0])
    assert (images.shape, objects.shape) == ((1, 32, 32, 3), (1, 100, 5))
    count = len(data.test.objects(0))
    np.testing.assert_allclose(objects[0, :count, 1:], data.test.objects(0).boxes, rtol=1e-6)
    assert (objects[0, count:] == -1).all()
    anchors = np.array([[0.35, 0.35, 0.5, 0.5], [0.625, 0.75, 0.75, 0.5]])
    for images, found_targets in data.with_anchors(anchors).training_batches(2, 1, 0):
        assert images.shape == (2, 32, 32, 3)
        assert found_targets.shape == (2, 2, 5)
        assert (found_targets.numpy()[..., 0] > 0).any()


def test_held_out_images_are_not_trained_on(tmp_path: Path) -> None:
    write_voc(tmp_path)
    data = load(f"voc:{tmp_path}").hold_out(0.25)
    assert isinstance(data.validation, AnnotatedSplit)
    assert (len(data.train), len(data.validation)) == (3, 1)
    assert not set(found(data, "train")) & set(found(data, "validation"))
    objects = [data.train.objects(index) for index in range(3)] + [data.validation.objects(0)]
    counts = np.bincount(np.concatenate([item.classes for item in objects]), minlength=2)
    assert np.add(data.class_counts()["train"], data.class_counts()["validation"]).tolist() == counts.tolist()
