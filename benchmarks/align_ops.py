"""Which TensorFlow operations align channels fastest, forward and gradient: the basis for the choice in `el_larq.layers.align`.

    python benchmarks/align_ops.py

Prints the median time of each way of squeezing (32, 16, 16, 256) to 64 channels, and of expanding 64 channels to 256, as a ratio
to the one in use. The measurements are interleaved within one process.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

from el_larq.layers.align import align_channels  # isort: skip  (before TensorFlow: it selects Keras 2)
import tensorflow as tf

WIDE, NARROW, ROUNDS = 256, 64, 40
GROUPS = WIDE // NARROW

SQUEEZES: dict[str, Callable[[Any], Any]] = {
    "align_channels": lambda x: align_channels(x, NARROW),
    "slices": lambda x: tf.add_n([x[:, :, :, i : i + NARROW] for i in range(0, WIDE, NARROW)]),
    "reshape, reduce_sum": lambda x: tf.reduce_sum(tf.reshape(x, [-1, 16, 16, GROUPS, NARROW]), 3),
    "1x1 convolution": lambda x: tf.nn.conv2d(x, tf.tile(tf.eye(NARROW), [GROUPS, 1])[None, None], 1, "SAME"),
}
EXPANDS: dict[str, Callable[[Any], Any]] = {
    "align_channels": lambda x: align_channels(x, WIDE),
    "concat": lambda x: tf.concat([x] * GROUPS, -1),
    "broadcast": lambda x: tf.reshape(tf.broadcast_to(x[:, :, :, None], [32, 16, 16, GROUPS, NARROW]), [-1, 16, 16, WIDE]),
}


def step(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(function(x) ** 2)
        return tape.gradient(y, x)

    return tf.function(gradient)


def compare(title: str, ways: dict[str, Callable[[Any], Any]], channels: int) -> None:
    x = tf.random.normal([32, 16, 16, channels])
    steps = {name: step(function) for name, function in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for function in steps.values():
        function(x)
    for _ in range(ROUNDS):
        for name, function in steps.items():
            start = time.perf_counter()
            function(x)
            times[name].append(time.perf_counter() - start)
    base = statistics.median(times["align_channels"])
    for name, values in times.items():
        print(f"{title:8} {name:22} {statistics.median(values) / base:6.2f}")


if __name__ == "__main__":
    compare("squeeze", SQUEEZES, WIDE)
    compare("expand", EXPANDS, NARROW)
