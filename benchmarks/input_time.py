"""The time of the input pipeline relative to a training step: `photos` as a folder of JPEG files, ResNet26 as in the demo.

    python benchmarks/input_time.py

Measured in one process: the time per step of the input pipeline alone (read, decode, augment, scale), of the model alone, on a
batch in memory, and their ratio. Once without the cache, so that each image is read and decoded each time, and once with it, as in
a training. The inputs are 32x32, the size of the files, and 64x64. The figures are medians over rounds in which the two alternate,
because the machine is shared.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import el_larq  # noqa: F401  # isort: skip  (before TensorFlow: it selects Keras 2)

import tensorflow as tf
from PIL import Image

from el_larq.data.dataset_registry import load_dataset
from el_larq.data.indexed import Indexed
from el_larq.models.build import build
from el_larq.training.optimizer import make_loss, make_optimizer
from el_larq.training.recipes import get_recipe

WIDTH = 0.25  # that of the demo; a wider network takes longer for the same images
ROUNDS, STEPS, WARMUP = 5, 4, 2
AHEAD = 16  # batches that the pipeline may have prefetched while the model ran; they are not timed
INPUT_STEPS = 16
BAR = 0.3


def write_photos(folder: Path) -> None:
    data = load_dataset("photos")
    for split, images in (("train", data.train), ("test", data.test)):
        for name in data.labels:
            (folder / split / name).mkdir(parents=True)
        for number, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
            Image.fromarray(image[..., 0]).save(folder / split / data.labels[label] / f"{number:05}.jpg", quality=95)


def measure(folder: Path, size: int, keep: bool) -> float:
    recipe = get_recipe("demo")
    data = load_dataset(f"dir:{folder}", size)
    assert isinstance(data, Indexed)
    if not keep:
        data.train.cache.limit = 0
        data.train.cache.images.clear()
    batches = iter(data.training_batches(recipe.batch_size, 1000, seed=0))
    model = build("resnet26", "el", input_shape=data.preprocessing.input_shape, num_classes=data.num_classes, width=WIDTH)
    model.compile(make_optimizer(recipe, model, 1000), make_loss(recipe, data.num_classes))
    batch = next(batches)
    for _ in range(WARMUP):
        next(batches)
        model.train_on_batch(*batch)
    seconds: dict[str, list[float]] = {"input": [], "model": []}
    for _ in range(ROUNDS):
        for _ in range(AHEAD):
            next(batches)
        seconds["input"].append(_time(lambda: next(batches), INPUT_STEPS))
        seconds["model"].append(_time(lambda: model.train_on_batch(*batch), STEPS))
    reading, training = (statistics.median(values) for values in seconds.values())
    how = "decoded once" if keep else "decoded each time"
    ratio = reading / training
    print(
        f"{size}x{size}, {how:17}: input {1e3 * reading:6.1f} ms, model {1e3 * training:7.1f} ms a step, ratio {ratio:.3f}",
        flush=True,
    )
    return ratio


def _time(work: Any, steps: int) -> float:
    """Seconds per step."""
    start = time.perf_counter()
    for _ in range(steps):
        work()
    return (time.perf_counter() - start) / steps


def main() -> None:
    tf.config.experimental.enable_op_determinism()
    tf.keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder))
        ratios = [measure(Path(folder), size, keep) for size in (32, 64) for keep in (False, True)]
    print(f"largest ratio {max(ratios):.3f}, at most {BAR} wanted: {'met' if max(ratios) <= BAR else 'missed'}")


if __name__ == "__main__":
    main()
