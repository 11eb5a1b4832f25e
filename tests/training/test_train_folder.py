"""Training on a folder of images, with a network small enough that it takes a second."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from el_larq.data import image_folder
from el_larq.errors import ElLarqError
from el_larq.training.train import Trained, train

NETWORK = """
import tf_keras as keras

def build(input_shape, num_classes):
    image = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, 2, name="stem")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(num_classes, name="logits")(x))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """network.py, and set/ with three classes of eight 12x12 images."""
    (tmp_path / "network.py").write_text(NETWORK)
    for label, name in enumerate(("a", "b", "c")):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.random.default_rng(8 * label + number).integers(0, 256, (12, 12, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{number}.png")
    return tmp_path


def run(place: Path, out: str, **changes: Any) -> Trained:
    options: dict[str, Any] = {"dataset": f"dir:{place / 'set'}", "epochs": 1, "batch_size": 6, "out": place / out}
    return train(f"{place / 'network.py'}:build", **(options | changes))


def test_a_run_says_what_it_was_trained_on(place: Path) -> None:
    (place / "set" / "a" / "0.png").write_text("no image")
    lines: list[str] = []
    trained = run(place, "run", notify=lines.append)
    config = json.loads((trained.folder / "config.json").read_text())
    assert config["dataset"] == f"dir:{place / 'set'}"
    assert config["image_size"] == 12
    assert config["dataset_fingerprint"].startswith("18 + 6 files ")
    assert config["dataset_fingerprint"].endswith(", 23 used")
    assert config["preprocessing"]["width"] == 12
    assert len(config["preprocessing"]["mean"]) == 3
    assert json.loads((trained.folder / "result.json").read_text())["skipped_images"] == 1
    (skipped,) = [line for line in lines if line.startswith("skipped")]
    assert skipped.startswith(f"skipped {place / 'set' / 'a' / '0.png'}: ")


def test_a_file_that_vanishes_during_a_strict_training_is_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, one_line: Callable[[BaseException], str]
) -> None:
    monkeypatch.setattr(image_folder, "CHECK_BYTES", 0)

    def vanish(line: str) -> None:
        if line.startswith("training "):
            for name in "abc":
                for file in (place / "set" / name).iterdir():
                    file.unlink()

    monkeypatch.setattr("el_larq.data.encoded.Cache.keep", lambda *_: None)
    with pytest.raises(ElLarqError) as caught:
        run(place, "run", strict=True, notify=vanish)
    assert "cannot be read as an image: No such file or directory" in one_line(caught.value)


def test_fine_tuning_on_other_classes(place: Path) -> None:
    first = run(place, "first")
    (place / "set" / "c").rename(place / "c")
    lines: list[str] = []
    second = run(place, "second", init_from=first.h5, learning_rate=1e-9, notify=lines.append)
    assert any(
        line.startswith("1 of 2 layers with weights (") and f"start from {first.h5}; fresh: logits (4x3 there, 4x2 here)" in line
        for line in lines
    )
    np.testing.assert_allclose(
        second.model.get_layer("stem").get_weights()[0], first.model.get_layer("stem").get_weights()[0], atol=1e-5
    )
    configs = [json.loads((trained.folder / "config.json").read_text()) for trained in (first, second)]
    assert configs[0]["preprocessing"] == configs[1]["preprocessing"]
    assert configs[1]["init_from"] == {"source": str(first.h5), "taken": 1, "fresh": ["logits"]}
