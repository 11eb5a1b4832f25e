"""Evaluation and verification on a folder: the test images of `digits`, written as files, score as `digits` does."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from el_larq.converters.job import Options
from el_larq.converters.pipeline import convert
from el_larq.converters.verify import verification_images
from el_larq.data.dataset_registry import load_dataset
from el_larq.errors import ElLarqError, UsageError
from el_larq.evaluation.evaluate import evaluate
from el_larq.training.models import save_model


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


@pytest.fixture(scope="module")
def with_card(small: Any, written: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose card names the folder, in a run folder that names it too."""
    run = tmp_path_factory.mktemp("run")
    config = json.loads((data_folder / "run_schema2" / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"dataset": f"dir:{written}"}))
    save_model(run, small.model, {**small.card, "dataset": {"name": f"dir:{written}", "version": 1}})
    return run / "model.h5"


def test_the_folder_on_a_card_is_read_in_the_users_own_runs_only(with_card: Path, written: Path, tmp_path: Path) -> None:
    assert evaluate(with_card, out=tmp_path / "own").dataset == f"dir:{written}"
    stranger = tmp_path / "model.h5"
    shutil.copy(with_card, stranger)
    with pytest.raises(UsageError) as caught:
        evaluate(stranger, out=tmp_path / "refused")
    assert f"model.h5: its card names the folder '{written}'" in str(caught.value)
    assert f"--dataset 'dir:{written}'" in str(caught.value)
    assert not (tmp_path / "refused").exists()
    assert evaluate(stranger, f"dir:{written}", out=tmp_path / "asked").scores.images == 40


def test_a_conversion_reads_it_in_the_users_own_runs_only(with_card: Path, written: Path, tmp_path: Path) -> None:
    options, skip = Options(verify_images=4), ("fold", "audit")
    assert convert(with_card, options=options, skip=skip).report[-2].details["data"] == f"dir:{written}"
    stranger = tmp_path / "model.h5"
    shutil.copy(with_card, stranger)
    verified = convert(stranger, options=options, skip=skip).report[-2]
    assert verified.details["data"] == "random numbers"
    assert f"a model in one of your own runs, or with --verify-on 'dir:{written}'" in verified.summary


def test_a_conversion_verifies_on_images_prepared_as_stated(small: Any) -> None:
    job = convert(small.h5, options=Options(verify_images=4), skip=("fold", "audit", "verify"), range=(0, 1))
    (images,), data, _ = verification_images(job)
    assert data == "digits"
    assert (images.min(), images.max()) == pytest.approx((0, 1), abs=0.01)
