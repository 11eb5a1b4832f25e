"""The conversion of ResNet26 with Elastic-Links at 224x224 pixels, 1000 classes: operators, size, latency, exactness, time.

    python benchmarks/converter.py

Gammas are drawn from 0.3 to 2.5, and batch normalization parameters at random: with gammas of exactly one, multiplications would
disappear by themselves. Latencies are measured with LCE's interpreter (indirect kernel, XNNPACK, one thread), interleaved in one
process; they compare graphs on this machine and are not transferable to ARM.
"""

import statistics
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import el_larq  # noqa: F401  (before TensorFlow: it selects Keras 2)
from el_larq.converters.fold.step import fold_model
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Options
from el_larq.converters.lower import lower_model
from el_larq.converters.pipeline import convert
from el_larq.models.build import build
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

ROUNDS = 40
SHOWN = ("LceBconv2d", "LceQuantize", "ADD", "MUL", "CONCATENATION", "TILE", "SPLIT", "ADD_N", "DEPTHWISE_CONV_2D", "RESHAPE")


def randomize(model: Any, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    for variable in model.variables:
        name, shape = variable.name, variable.shape
        if name.endswith("link/gamma:0"):
            variable.assign(random.uniform(0.3, 2.5, shape))
        elif "moving_variance" in name or "norm/gamma" in name:
            variable.assign(random.uniform(0.5, 2, shape))
        elif "moving_mean" in name or "norm/beta" in name:
            variable.assign(random.normal(0, 0.3, shape))
    return model


def latencies(contents: dict[str, bytes]) -> dict[str, float]:
    """Median milliseconds per inference, by name."""
    interpreters = {name: Interpreter(content) for name, content in contents.items()}
    image = np.random.default_rng(0).standard_normal((1, 224, 224, 3)).astype(np.float32)
    times: dict[str, list[float]] = {name: [] for name in contents}
    for round_ in range(ROUNDS + 3):
        for name, interpreter in interpreters.items():
            start = time.perf_counter()
            interpreter.run(image)
            if round_ >= 3:
                times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def main() -> None:
    contents: dict[str, bytes] = {}
    contents["no link"] = lower_model(fold_model(FrozenModel(randomize(build("resnet26", "binary")))).model)
    model = FrozenModel(randomize(build("resnet26", "el")))
    contents["el, as written"] = lower_model(model)
    contents["el, folded"] = lower_model(fold_model(model).model)
    small = FrozenModel(randomize(build("resnet26", "el", downsample="binary", stem="small")))
    contents["el, binary downsample, small stem, as written"] = lower_model(small)
    contents["el, binary downsample, small stem, folded"] = lower_model(fold_model(small).model)

    print("operators")
    for name, content in contents.items():
        counts = Counter(operator.name for operator in parse(content).operators)
        print(f"  {name:48} {len(content) / 1e6:6.2f} MB  " + "  ".join(f"{op} {counts[op]}" for op in SHOWN if op in counts))

    print("latency, ratio to no link")
    milliseconds = latencies(contents)
    for name, value in milliseconds.items():
        print(f"  {name:48} {value:7.2f} ms  {value / milliseconds['no link']:.3f}")

    print("exactness, double precision, share of the largest output")
    for name, frozen in (("el", model), ("el, binary downsample, small stem", small)):
        print(f"  {name:48} {fold_model(frozen).difference:.1e}")

    print("time of a conversion, ratio to LCE's convert_keras_model alone")
    import larq_compute_engine as lce

    keras_model = randomize(build("resnet26", "el"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        lce.convert_keras_model(keras_model)
        alone = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        convert(keras_model, Path(folder) / "model.tflite", options=Options(verify_images=32))
        ours = time.perf_counter() - start
    print(
        f"  convert_keras_model {alone:.1f} s; load, fold, lower, audit, verify (32 images), write {ours:.1f} s: {ours / alone:.2f}"
    )


if __name__ == "__main__":
    main()
