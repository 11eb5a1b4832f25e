"""`el_larq.detect` and `el-larq predict` with a detector."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from untrained_detector import LABELS, UntrainedDetector

import el_larq
from el_larq.card import save_with
from el_larq.cli.found_objects import picture_names
from el_larq.data.preprocessing import Preprocessing
from el_larq.detection.average_precision import Detections
from el_larq.detection.boxes import clip_boxes
from el_larq.detection.drawing import colour_of
from el_larq.detection.non_maximum_suppression import detect as select
from el_larq.detection.shapes import draw_image
from el_larq.errors import ElLarqError, UsageError
from el_larq.evaluation.detect import FoundObject, ImageObjects
from el_larq.evaluation.open_model import read_detections
from el_larq.tflite.postprocess import POSTPROCESS, class_count

Here = Callable[..., Any]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, of which one is wide, and one is in a subfolder."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    Image.fromarray(draw_image("test", 0)).save(folder / "one.png")
    Image.fromarray(draw_image("test", 1)).resize((200, 100)).save(folder / "wide.bmp")
    Image.fromarray(draw_image("test", 2)).save(folder / "more" / "one.jpg")
    return folder


@pytest.mark.parametrize("form", ["h5", "tflite"])
def test_objects_are_those_of_the_selection_in_pixels(detector: UntrainedDetector, pictures: Path, form: str) -> None:
    wide = pictures / "wide.bmp"
    (found,) = el_larq.detect(getattr(detector, form), [wide], score_threshold=0.6)
    preprocessing = Preprocessing.from_dict(detector.card["preprocessing"])
    predictions = np.asarray(detector.model(preprocessing.load(wide)[None]))[0]
    wanted = select(predictions, detector.job.anchors)
    keep = wanted.scores >= 0.6
    assert len(found.objects) == keep.sum() > 3
    assert (found.height, found.width) == (100, 200)
    assert [one.label for one in found.objects] == [LABELS[number] for number in wanted.classes[keep]]
    np.testing.assert_allclose([one.score for one in found.objects], wanted.scores[keep], atol=1e-4)
    boxes = clip_boxes(wanted.boxes[keep])
    assert preprocessing.stretch
    boxes = boxes * np.tile((100, 200), 2)
    np.testing.assert_allclose([one.box for one in found.objects], boxes, atol=0.05)


def test_boxes_of_a_cropped_image_are_those_of_the_whole(detector: UntrainedDetector, pictures: Path, tmp_path: Path) -> None:
    """A card may say that images are cropped to the network's aspect ratio: boxes are moved by the margin."""
    square = {name: value for name, value in detector.card["preprocessing"].items() if name != "stretch"}
    save_with({**detector.card, "preprocessing": square}, detector.model, tmp_path / "crops.h5")
    with Image.open(pictures / "wide.bmp") as image:
        image.crop((50, 0, 150, 100)).save(tmp_path / "middle.png")
    whole, middle = (el_larq.detect(tmp_path / "crops.h5", [path])[0] for path in (pictures / "wide.bmp", tmp_path / "middle.png"))
    assert len(whole.objects) == len(middle.objects) > 3
    moved = np.array([one.box for one in middle.objects]) + np.tile((0, 50), 2)
    np.testing.assert_allclose([one.box for one in whole.objects], moved, atol=0.05)


def test_the_picture_has_the_boxes(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100)).save(tmp_path / "black.png")
    objects = (FoundObject("disc", 0.9, (10.0, 20.0, 50.0, 80.0)),)
    picture = np.asarray(ImageObjects(str(tmp_path / "black.png"), 100, 200, objects, (2,)).picture())
    colour = [int(colour_of(2)[at : at + 2], 16) for at in (1, 3, 5)]
    inside = picture[12:49, 22:79]
    np.testing.assert_array_equal([picture[30, 20], picture[30, 79], picture[49, 50]], [colour] * 3)
    assert not inside[5:-5, 5:-5].any()
    assert not picture[60:].any()


def test_the_command_draws_and_lists(detector: UntrainedDetector, pictures: Path, tmp_path: Path, el_larq_here: Here) -> None:
    out = tmp_path / "boxes.png"
    result = el_larq_here("predict", detector.tflite, pictures / "one.png", "-o", out, "--score-threshold", 0.7)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == str(pictures / "one.png")
    (found,) = el_larq.detect(detector.tflite, [pictures / "one.png"], score_threshold=0.7)
    first = found.objects[0]
    top, left, bottom, right = (round(value) for value in first.box)
    assert lines[1].split() == f"{first.score:.1%} {first.label} x {left} to {right}, y {top} to {bottom}".split()
    assert len(lines) == 2 + len(found.objects)
    with Image.open(out) as drawn, Image.open(pictures / "one.png") as before:
        assert drawn.size == before.size
        assert drawn.tobytes() == found.picture().tobytes() != before.tobytes()


def test_a_folder_of_images_becomes_a_folder_of_pictures(
    detector: UntrainedDetector, pictures: Path, tmp_path: Path, el_larq_here: Here
) -> None:
    result = el_larq_here("predict", detector.tflite, pictures, "-o", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["more/one.jpg", "one.png", "wide.bmp.png"]
    entries = {Path(entry["image"]).name + Path(entry["image"]).parent.name: entry for entry in json.loads(result.stdout)}
    assert len(entries) == 3
    for entry in entries.values():
        assert Path(entry["picture"]).is_file()
        for one in entry["objects"]:
            assert one["label"] in LABELS
            assert 0.5 <= one["score"] <= 1
            assert 0 <= one["box"]["ymin"] <= one["box"]["ymax"] <= entry["height"]
            assert 0 <= one["box"]["xmin"] <= one["box"]["xmax"] <= entry["width"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("one.png", "-o", "one.png"), "it is the input"),
        (("one.png", "-o", "boxes.gif"), "its name must end in .png, .jpg or .jpeg"),
        ((".", "-o", "more"), "it lies in ., which is read"),
        (("one.png", "wide.bmp", "-o", "."), "the input one.png is in it; choose another folder"),
        (("one.png", "more/one.jpg", "-o", "more"), "the input more/one.jpg is in it; choose another folder"),
        (("one.png", "--top", 3), "is a detector, for which --top has no effect; omit it"),
        (("one.png", "--output", "boxes"), "is a detector, of which all outputs are used; omit --output"),
        (("one.png", "--target", "local", "-o", "b.png"), "--out is for detectors, of which --target runs none"),
        (("one.png", "--score-threshold", 2), "2.0 is not in the range 0<=x<=1"),
    ],
)
def test_wrong_requests_are_one_line(
    detector: UntrainedDetector, pictures: Path, el_larq_here: Here, arguments: tuple[object, ...], message: str
) -> None:
    before = sorted(pictures.rglob("*"))
    result = el_larq_here("predict", detector.tflite, *arguments, cwd=pictures)
    assert result.returncode == 2
    assert message in result.stderr.splitlines()[-1]
    assert sorted(pictures.rglob("*")) == before


def test_pictures_never_replace_what_is_read(pictures: Path, tmp_path: Path) -> None:
    """The check needs no model, so it precedes all work."""
    one, wide, out = pictures / "one.png", pictures / "wide.bmp", tmp_path / "out"
    assert picture_names(out, Path("zoo:any"), [one, wide], [one, wide]) == {one: out / "one.png", wide: out / "wide.bmp.png"}
    with pytest.raises(UsageError, match="is given twice"):
        picture_names(out, Path("m.h5"), [one, one], [one, one])
    out.mkdir()
    (out / "one.png").hardlink_to(one)
    with pytest.raises(UsageError, match="it is the input"):
        picture_names(out, Path("m.h5"), [one, wide], [one, wide])


def test_the_number_of_classes_is_that_of_the_scores() -> None:
    def graph(count: object, size: int) -> Any:
        inputs = tuple(SimpleNamespace(shape=(1, 6, size)) for _ in range(3))
        return SimpleNamespace(operators=[SimpleNamespace(name=POSTPROCESS, options={"num_classes": count}, inputs=inputs)])

    assert class_count(graph(3, 4), "it") == class_count(graph(3, 3), "it") == 3
    for count, size, message in ((2**40, 4, "for 4 scores"), (0, 1, "does not state"), (20_000, 20_001, "at most 10,000")):
        with pytest.raises(ElLarqError, match=message):
            class_count(graph(count, size), "it")


def test_classifiers_and_detectors_are_told_apart(
    small: Any, detector: UntrainedDetector, digit_png: Path, pictures: Path, el_larq_here: Here, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"is not a detector; use el_larq.predict"):
        el_larq.detect(small.tflite, [digit_png])
    with pytest.raises(UsageError, match=r"is a detector; use el_larq.detect"):
        el_larq.predict(detector.tflite, [pictures / "one.png"])
    result = el_larq_here("predict", small.tflite, digit_png, "-o", tmp_path / "boxes.png")
    assert result.returncode == 2
    assert "is a classifier, for which --out has no effect; omit it" in result.stderr
    assert not (tmp_path / "boxes.png").exists()


def test_predictions_for_anchors_are_not_taken_for_classes(detector: UntrainedDetector, pictures: Path, tmp_path: Path) -> None:
    from el_larq.converters.job import Options

    path = tmp_path / "bare.tflite"
    el_larq.convert(detector.h5, path, options=Options(verify_images=2), skip=("select", "fold"))
    with pytest.raises(ElLarqError, match="only classifiers can predict, and detectors that are converted with the step select"):
        el_larq.predict(path, [pictures / "one.png"])


def test_a_wrong_number_of_labels_is_refused(detector: UntrainedDetector, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ElLarqError, match="there are 2 labels for its 3 classes; name them with --labels FILE"):
        el_larq.detect(detector.tflite, [pictures / "one.png"], labels=["a", "b"])
    save_with({**detector.card, "labels": None}, detector.model, tmp_path / "nameless.h5")
    (found,) = el_larq.detect(tmp_path / "nameless.h5", [pictures / "one.png"])
    assert {one.label for one in found.objects} <= {"0", "1", "2"}


def test_outputs_of_a_damaged_file_are_refused() -> None:
    boxes, classes, scores, count = np.zeros((1, 5, 4)), np.zeros((1, 5)), np.full((1, 5), 0.5), np.array([2.0])
    shifted = boxes + np.array([-1, 0, 2, 0.5])
    (found,) = read_detections([shifted, classes, scores, count], "it")
    assert len(found) == 2
    assert isinstance(found, Detections)
    np.testing.assert_array_equal(found.boxes, [[0, 0, 1, 0.5]] * 2)
    with pytest.raises(ElLarqError, match="its boxes are NaN or Inf"):
        read_detections([boxes * np.nan, classes, scores, count], "it")
    for wrong in (count + 4, -count, count * np.nan):
        with pytest.raises(ElLarqError, match=r"it counts \S+ boxes, and puts out 5"):
            read_detections([boxes, classes, scores, wrong], "it")
    for wrong in ([boxes[:, :3], classes, scores, count], [boxes, scores, classes[0], count]):
        with pytest.raises(ElLarqError, match="do not belong together"):
            read_detections(wrong, "it")
