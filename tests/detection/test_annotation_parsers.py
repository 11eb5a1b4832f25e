"""Parsers of annotations with any content: they return what they document, or raise an error of one line."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated_folders import CAT, DOG, voc_xml
from hypothesis import given, settings
from hypothesis import strategies as st

from el_larq.detection.annotations import Findings, Objects, StatedImage, StatedObject, collect_images
from el_larq.detection.coco_folder import read_coco
from el_larq.detection.voc_xml import MAX_BYTES, VocAnnotation, parse_voc
from el_larq.detection.yolo_folder import parse_yolo
from el_larq.errors import ElLarqError

quick = settings(max_examples=40, deadline=None, derandomize=True)
XML = voc_xml([CAT, DOG], "a.jpg", "<segmented>0</segmented><!-- comment -->").encode()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def _parsed(content: bytes) -> VocAnnotation | None:
    message = ""
    try:
        return parse_voc(content)
    except ValueError as error:
        message = str(error)
    assert "\n" not in message
    return None


@quick
@given(st.lists(st.tuples(st.integers(0, len(XML) - 1), st.integers(0, 255)), max_size=12), st.integers(0, len(XML)))
def test_damaged_xml(changes: list[tuple[int, int]], end: int) -> None:
    data = bytearray(XML)
    for position, value in changes:
        data[position] = value
    for content in (bytes(data), bytes(data[:end])):
        annotation = _parsed(content)
        if annotation is not None:
            for item in annotation.objects:
                assert item.label
                assert np.isfinite(item.box).all()


names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="<&"), min_size=1, max_size=10)


@quick
@given(st.lists(st.tuples(names.filter(str.strip), st.tuples(*[st.integers(-10, 500)] * 4)), max_size=5), names)
def test_xml_says_what_was_written(items: list[tuple[str, tuple[float, float, float, float]]], filename: str) -> None:
    annotation = parse_voc(voc_xml(items, filename).encode())
    assert annotation.filename == filename.strip()
    assert annotation.size == (40, 60)
    assert [(item.label, item.box) for item in annotation.objects] == [(label.strip(), box) for label, box in items]


def test_parts_of_objects_are_not_objects() -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    xml = voc_xml([DOG]).replace("</object>", f"{part}</object>")
    (item,) = parse_voc(xml.encode()).objects
    assert (item.label, item.box) == DOG


def test_an_object_does_not_take_over_what_the_one_before_it_stated() -> None:
    xml = voc_xml([CAT, DOG]).replace("<difficult>0", "<difficult>1", 1)
    without = xml[: xml.rindex("<difficult>")] + xml[xml.rindex("</difficult>") + len("</difficult>") :]
    assert [item.ignored for item in parse_voc(without.encode()).objects] == [True, False]
    nameless = xml[: xml.rindex("<name>")] + xml[xml.rindex("</name>") + len("</name>") :]
    with pytest.raises(ValueError, match="has no <name>"):
        parse_voc(nameless.encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<a/>", "its first element is <a>"),
        (b"<annotation>" * 100, "nested too deep"),
        (b"<annotation><filename>" + b"a" * 2000 + b"</filename></annotation>", "its <filename> is too long"),
        (b" " * (MAX_BYTES + 1), "bytes are more than"),
        (b'<?xml version="1.0" encoding="none"?><annotation/>', "unknown|not XML"),
        (b'<!DOCTYPE a [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><annotation>&c;</annotation>', "document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "document type"),
        (b"<annotation>" + b"<object/>" * 2 + b"</annotation>", "has no <name>"),
        (
            XML.replace(b"</annotation>", XML[XML.index(b"<object>") : XML.rindex(b"</object>") + 9] * 501 + b"</annotation>"),
            "1,000",
        ),
        (XML.replace(b"<ymax>24</ymax>", b""), "the box of an object 'cat' has no <ymax>"),
        (XML.replace(b"<ymax>24</ymax>", b"<ymax>nan</ymax>"), "<ymax> is not a number: 'nan'"),
    ],
)
def test_hostile_xml_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_voc(content)


@quick
@given(st.lists(st.text(max_size=30) | st.lists(st.floats() | st.integers(-2, 3), max_size=9).map(lambda v: " ".join(map(str, v)))))
def test_any_lines_of_yolo(lines: list[str]) -> None:
    objects, message = [], ""
    try:
        objects = parse_yolo(lines, ("cat", "dog"))
    except ValueError as error:
        message = str(error)
    assert len(objects) == len(lines) or "line" in message
    assert "\n" not in message


def _checked(objects: Objects, classes: int) -> None:
    assert len(objects.boxes) == len(objects.classes) == len(objects.ignored)
    assert ((objects.boxes >= 0) & (objects.boxes <= 1)).all()
    assert (objects.boxes[:, 2:] > objects.boxes[:, :2]).all()
    assert ((objects.classes >= 0) & (objects.classes < classes)).all()


@quick
@given(
    st.lists(st.tuples(*[st.floats() | st.floats(-1, 2)] * 4), max_size=6),
    st.tuples(st.floats(), st.floats()) | st.just((1.0, 1.0)),
)
def test_boxes_that_are_kept_have_an_area_inside_the_image(boxes: list[tuple[float, ...]], size: tuple[float, float]) -> None:
    items = [StatedObject("cat", (a, b, c, d)) for a, b, c, d in boxes]
    findings = Findings()
    found = collect_images([StatedImage("none.png", "a.xml", size, items)], ("cat",), findings, "empty")
    kept = sum(map(len, found.objects))
    for objects in found.objects:
        _checked(objects, 1)
        assert kept + sum(findings.counts.get(kind, 0) for kind in ("flat", "outside")) == len(items)


@quick
@given(
    st.fixed_dictionaries(
        {
            "images": st.lists(values | st.fixed_dictionaries({"id": values, "file_name": values | st.just("a.png")}), max_size=3),
            "annotations": st.lists(
                values | st.fixed_dictionaries({"bbox": values, "category_id": values, "image_id": values}), max_size=3
            ),
            "categories": st.lists(
                values | st.fixed_dictionaries({"id": st.integers(0, 3), "name": st.text(max_size=4)}), max_size=3
            ),
        }
    )
    | values
)
def test_a_coco_file_of_anything(content: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "a.png").write_bytes(b"")
        (root / "train.json").write_text(json.dumps(content))
        images, labels, message = [], (), ""
        try:
            images, labels = read_coco(root / "train.json", root, Findings())
        except ElLarqError as error:
            message = str(error)
        assert bool(labels) != ("train.json" in message)
        assert "\n" not in message
    for objects in collect_images(images, labels, Findings(), "background").objects:
        _checked(objects, len(labels))
