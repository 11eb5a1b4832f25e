"""The cost of Elastic-Links in training: a step of ResNet26 with `el`, compared with `binary`, which has no links.

    python benchmarks/link_training_cost.py

Width 1, 64x64 pixels, batch size 32. The step is that of `el_larq.training.loop`: deterministic, with accuracy, and with its
metrics read after each step; but without reading images, which benchmarks/input_time.py measures. Each measurement is a separate
process; the two methods alternate, and the result is the median of the pairs' ratios.
"""

import statistics
import subprocess
import sys
import time
from typing import Any

import el_larq  # noqa: F401  (before TensorFlow: it selects Keras 2)

PAIRS, STEPS, WARMUP = 5, 12, 3


def measure(method: str) -> float:
    """Median seconds of a training step, in this process."""
    import tensorflow as tf
    import tf_keras as keras

    from el_larq.models.build import build
    from el_larq.training.determinism import set_deterministic
    from el_larq.training.optimizer import make_loss, make_optimizer
    from el_larq.training.recipes import get_recipe

    recipe = get_recipe("standard")
    keras.utils.set_random_seed(0)
    set_deterministic(True)
    model = build("resnet26", method, input_shape=(64, 64, 3), num_classes=1000)
    model.compile(make_optimizer(recipe, model, 1000), make_loss(recipe, 1000), metrics=["accuracy"])
    images = tf.random.normal([32, 64, 64, 3])
    labels = tf.random.uniform([32], maxval=1000, dtype=tf.int64)
    batches = iter(tf.data.Dataset.from_tensors((images, labels)).repeat())
    step: Any = model.make_train_function()
    times = []
    for _ in range(WARMUP + STEPS):
        start = time.perf_counter()
        for value in step(batches).values():
            float(value)
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARMUP:])


def main() -> None:
    ratios = []
    for pair in range(PAIRS):
        seconds = {}
        for method in ("binary", "el") if pair % 2 else ("el", "binary"):
            command = [sys.executable, __file__, method]
            seconds[method] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
        ratios.append(seconds["el"] / seconds["binary"])
        print(f"pair {pair + 1}: el {seconds['el']:.3f} s, binary {seconds['binary']:.3f} s, ratio {ratios[-1]:.3f}", flush=True)
    print(f"median ratio of {PAIRS} pairs: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(sys.argv[1]))
    else:
        main()
