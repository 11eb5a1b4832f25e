"""Evaluation and verification on a folder: the test images of `digits`, written as files, score as `digits` does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from el_larq.converters.job import Options
from el_larq.converters.pipeline import convert
from el_larq.data.registry import load_dataset
from el_larq.errors import ElLarqError
from el_larq.evaluation.evaluate import evaluate


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each digit one image for training and four for testing."""
    folder, data = tmp_path_factory.mktemp("digits"), load_dataset("digits")
    for split, images, count in (("train", data.train, 1), ("test", data.test, 4)):
        for label, name in enumerate(data.labels):
            (folder / split / name).mkdir(parents=True)
            for index in np.flatnonzero(images.labels == label)[:count]:
                Image.fromarray(images.images[index, ..., 0]).save(folder / split / name / f"{index:04}.png")
    return folder


def test_files_score_as_arrays_do(small: Any, written: Path, tmp_path: Path) -> None:
    data = load_dataset("digits")
    index = np.concatenate([np.flatnonzero(data.test.labels == label)[:4] for label in range(10)])
    logits = small.model(data.preprocessing.scale(data.test.images[index]), training=False)
    wanted = float(np.mean(np.argmax(logits, axis=1) == data.test.labels[index]))
    result = evaluate(small.tflite, f"dir:{written}", out=tmp_path / "tflite", workers=1)
    assert result.scores.images == 40
    assert abs(result.scores.top1 - wanted) <= 1 / 40
    assert result.dataset == f"dir:{written}"
    keras = evaluate(small.h5, f"dir:{written}", out=tmp_path / "keras", images=20)
    assert keras.scores.images == 20
    assert evaluate(small.h5, f"dir:{written}", out=tmp_path / "all").scores.top1 == pytest.approx(wanted)


def test_an_unreadable_image_ends_an_evaluation(small: Any, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving it out in the middle of the work would change which images the result is of."""
    data = load_dataset(f"dir:{written}", 16, preprocessing=load_dataset("digits").preprocessing)
    victim = Path(data.test.name(3))  # pyright: ignore[reportAttributeAccessIssue]
    data.test.cache.images.clear()  # pyright: ignore[reportAttributeAccessIssue]
    content = victim.read_bytes()
    try:
        victim.unlink()
        with pytest.raises(ElLarqError, match=f"{victim}: cannot be read as an image: No such file"):
            evaluate(small.h5, data, out=tmp_path)
    finally:
        victim.write_bytes(content)


def test_a_conversion_verifies_on_a_folder(small: Any, written: Path, tmp_path: Path) -> None:
    job = convert(small.h5, tmp_path / "model.tflite", options=Options(verify_images=8, verify_on=f"dir:{written}"))
    (report,) = [entry for entry in job.report if entry.step == "verify"]
    assert report.details["data"] == f"dir:{written}"
    assert report.details["images"] == 8
