"""A detector so small that a training of it costs little more than its start, and a folder of images that it can learn."""

from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras
from PIL import Image

from el_larq.conv import Conv
from el_larq.layers import normalize
from el_larq.methods.method import Method
from el_larq.models.network_registry import Network
from el_larq.models.ssd import predict_boxes

NETWORK = Network("tiny_detector", "two maps", "none", "tiny_detector:build", image_size=32, options=("heads",))
SIDE = 32


def build(x: Any, num_classes: int, method: Method, *, width: float = 1.0, heads: str | None = None) -> Any:
    y = keras.layers.Conv2D(16, 3, 4, "same", use_bias=False, name="stem_conv")(x)
    y = normalize(y, "stem_norm", 0.9)
    maps = [method.unit(y, Conv("block1", 16, 3))]
    maps.append(method.unit(maps[0], Conv("block2", 16, 3, 2)))
    return predict_boxes(maps, num_classes, method, heads)


def write_squares(folder: Path, count: int = 24) -> str:
    """A bright or a dark square of 12 to 20 pixels in each grey image, in YOLO's layout; the data set's name."""
    random = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        label, side = number % 2, int(random.integers(12, 21))
        top, left = random.integers(0, SIDE - side + 1, 2)
        pixels = np.full((SIDE, SIDE, 3), 128, np.uint8)
        pixels[top : top + side, left : left + side] = 255 * label
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        box = np.array([left + side / 2, top + side / 2, side, side]) / SIDE
        (folder / "labels" / f"{number}.txt").write_text(" ".join(map(str, (label, *box))))
    (folder / "classes.txt").write_text("dark\nbright\n")
    return f"yolo:{folder},augment=none"
