"""Sets with boxes that TensorFlow Datasets prepared: a small one in the form of its `voc`, written by TFDS itself."""

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from el_larq.data.dataset_registry import check_dataset, load_dataset, tasks_of
from el_larq.detection import prepared_boxes
from el_larq.detection.detection_set import DetectionSet
from el_larq.errors import ElLarqError, UsageError

CAT, DOG = (0.125, 0.25, 0.5, 0.75), (0.25, 0.5, 1.0, 1.0)  # exact in float32
# Each image: boxes, classes, whether difficult.
TRAIN = {
    1: ([CAT, DOG], ["cat", "dog"], [False, True]),
    2: ([DOG], ["dog"], [False]),
    3: ([], [], []),
    4: ([CAT], ["cat"], [True]),
}
VALIDATION = {5: ([CAT], ["cat"], [False])}
TEST = {6: ([DOG, CAT], ["dog", "cat"], [False, False]), 7: ([(0.5, 0.5, 0.5, 0.75), CAT], ["dog", "cat"], [False, False])}


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), (10 * number, 90, 200)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ["NO_GCE_CHECK"] = "true"
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    classes = tfds.features.ClassLabel(names=["dog", "cat"])
    flag = tfds.features.Tensor(shape=(), dtype=np.bool_)
    image = tfds.features.Image(shape=(None, None, 3))
    objects = {"bbox": tfds.features.BBoxFeature(), "label": classes, "is_difficult": flag}
    whole = {"image": image, "objects": tfds.features.Sequence(objects)}
    corners = tfds.features.BBoxFeature(bbox_format="REL_XYXY")
    plain = tfds.features.Sequence({"bbox": tfds.features.BBoxFeature()})

    def write(name: str, features: dict[str, Any], **splits: dict[int, Any]) -> None:
        class Own(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self) -> Any:
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

            def _split_generators(self, dl_manager: Any) -> Any:
                return {split: self._generate_examples(split) for split in splits}

            def _generate_examples(self, split: str) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
                for number, (boxes, labels, difficult) in splits[split].items():
                    inner = features["objects"].feature
                    rows = [
                        {"bbox": np.array(box), "label": label, "is_difficult": ignored}
                        for box, label, ignored in zip(boxes, labels, difficult, strict=True)
                    ]
                    example = {"image": png(number), "objects": [{key: row[key] for key in inner} for row in rows]}
                    yield number, example | ({"label": labels[0]} if "label" in features else {})

        Own.name = name
        Own(data_dir=folder).download_and_prepare()  # pyright: ignore[reportCallIssue]

    write("voc", whole, train=TRAIN, validation=VALIDATION, test=TEST)
    # Test images of competitions have no objects.
    write("unlabelled", whole, train=TRAIN, validation=VALIDATION, test={8: TRAIN[3], 9: TRAIN[3]})
    write("both", whole | {"label": classes}, train={1: TRAIN[1], 2: TRAIN[2], 6: TEST[6], 4: TRAIN[4], 5: VALIDATION[5]})
    write("corners", {"image": image, "objects": tfds.features.Sequence(objects | {"bbox": corners})}, train=TRAIN)
    write("unnamed", {"image": image, "objects": plain}, train=TRAIN)
    return folder


def load(folder: Path, name: str, **options: Any) -> DetectionSet:
    data = load_dataset(f"tfds:{name}@{folder}", 32, task="detection", **options)
    assert isinstance(data, DetectionSet)
    return data


def found(data: DetectionSet, split: str) -> dict[int, Any]:
    """By the number of the image, which its colour is: boxes, classes, whether ignored."""
    part = data.annotated_splits[split]
    images = [np.asarray(part.image(index))[0, 0, 0] // 10 for index in range(len(part))]
    objects = [part.objects(index) for index in range(len(part))]
    return {
        int(number): (
            [tuple(box) for box in one.boxes.tolist()],
            [data.labels[of] for of in one.classes],
            one.ignored.tolist(),
        )
        for number, one in zip(images, objects, strict=True)
    }


def test_boxes_classes_difficult_objects_and_splits_are_those_that_were_written(tfds_dir: Path) -> None:
    lines: list[str] = []
    data = load(tfds_dir, "voc", notify=lines.append)
    assert data.labels == ("dog", "cat")
    # Images without objects that are not difficult are not for training, the box without area is left out.
    assert found(data, "train") == {number: TRAIN[number] for number in (1, 2)}
    assert found(data, "validation") == VALIDATION
    assert found(data, "test") == {6: TEST[6], 7: ([CAT], ["cat"], [False])}
    (line,) = lines
    assert "1 image has no boxes" in line
    assert "1 box has no area (left out; " in line
    assert f"{tfds_dir}/voc/1.0.0/test[" in line
    assert data.name == f"tfds:voc:1.0.0@{tfds_dir}"
    assert data.slug == "tfds-voc"
    again = load_dataset(data.name, 32, task=None)
    assert (again.task, again.fingerprint) == ("detection", data.fingerprint)
    with pytest.raises(ElLarqError, match=r"test\[\d\].*box has no area"):
        load(tfds_dir, "voc", strict=True)


def test_batches_have_the_objects_of_their_images(tfds_dir: Path) -> None:
    data = load(tfds_dir, "voc")
    ((_, objects),) = data.test_batches(2)
    rows = {tuple(row) for image in np.asarray(objects) for row in image.tolist() if row[0] >= 0}
    assert rows == {(0.0, *DOG), (1.0, *CAT)}


def test_without_test_objects_the_validation_split_is_for_testing(tfds_dir: Path) -> None:
    data = load(tfds_dir, "unlabelled")
    assert found(data, "test") == VALIDATION
    assert data.validation is None


def test_a_set_with_a_class_and_boxes_can_be_read_for_either(tfds_dir: Path) -> None:
    name = f"tfds:both@{tfds_dir}"
    assert tasks_of(name) == ("classification", "detection")
    assert load_dataset(name, 32).task == "classification"
    data = load(tfds_dir, "both")
    assert (data.train_size + data.test_size, data.test_size) in ((5, 1), (4, 1))  # one image has a difficult object only


def test_sets_that_do_not_fit_are_refused(tfds_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_line: Any) -> None:
    def error(name: str, task: str = "detection", folder: Path = tfds_dir) -> str:
        with pytest.raises(UsageError) as caught:
            load_dataset(f"tfds:{name}@{folder}", 32, task=task)
        return one_line(caught.value)

    assert "has images with boxes, for detection" in error("voc", "classification")
    assert "has no boxes with classes; this needs one with boxes" in error("unnamed")
    assert "its boxes are in the format REL_XYXY; only REL_YXYX is read" in error("corners")
    with pytest.raises(UsageError, match="has no boxes with classes"):
        check_dataset(f"tfds:unnamed@{tfds_dir}", "detection")
    monkeypatch.setattr(prepared_boxes, "MEMORY_BYTES", 10)
    assert "read their folder with voc:PATH or coco:PATH" in error("voc")
    monkeypatch.undo()
    shutil.copytree(tfds_dir / "voc", tmp_path / "voc")
    file = next(tmp_path.rglob("*train.tfrecord*"))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ElLarqError, match=r"cannot be read: .*; prepare it again"):
        load(tmp_path, "voc")
    (tmp_path / "voc" / "1.0.0" / "features.json").write_text("[1]")
    with pytest.raises(ElLarqError, match=r"features\.json cannot be read: .*; prepare it again"):
        check_dataset(f"tfds:voc@{tmp_path}", "detection")
