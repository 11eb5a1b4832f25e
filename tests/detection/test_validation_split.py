"""A validation split by which no model can be selected is not used."""

from pathlib import Path

import numpy as np
from PIL import Image

from el_larq.data.dataset_registry import load_dataset


def test_validation_images_without_boxes_are_not_used(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for number in range(4):
            noise = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / "images" / split / f"{split}{number}.png")
            if split != "val":
                (tmp_path / "labels" / split / f"{split}{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("thing\n")
    notes: list[str] = []
    data = load_dataset(f"yolo:{tmp_path}", 8, task="detection", notify=notes.append)
    assert any("none of the validation images has a box" in line for line in notes)
    assert data.validation is None
    assert data.train_size == 4
    assert data.hold_out(0.25).validation_size == 1
