"""The conversion at 224x224 pixels, 1000 classes: operators, passes over maps, copies, size, latency, exactness, time.

    python benchmarks/converter.py             the networks, then the latency of ResNet26
    python benchmarks/converter.py --time      also the time of a conversion, compared with LCE's converter alone

A pass is an operator that reads and writes each value of a map (ADD, MUL, SUB); those of a single pixel are not counted. A copy is
a RESHAPE of float32 of at least 8 kB, which XNNPACK copies. Gammas are drawn from 0.3 to 2.5, shifts and batch normalization
parameters at random: with gammas of exactly one, multiplications would disappear by themselves. Latencies are measured with LCE's
interpreter (indirect kernel, XNNPACK, one thread), interleaved in one process; they compare graphs on this machine and are not
transferable to ARM.
"""

import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import el_larq  # noqa: F401  (before TensorFlow: it selects Keras 2)
from el_larq.converters.arrange import arrange_model
from el_larq.converters.bitcasts import MIN_BYTES
from el_larq.converters.fold.step import fold_model
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Options
from el_larq.converters.lower import lower_model
from el_larq.converters.pipeline import convert
from el_larq.models.build import build
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import Operator, parse
from el_larq.tflite.types import tensor_bytes

ROUNDS = 40
PASSES = ("ADD", "MUL", "SUB")
SHOWN = (
    *PASSES,
    "PRELU",
    "CONCATENATION",
    "TILE",
    "SPLIT",
    "ADD_N",
    "AVERAGE_POOL_2D",
    "DEPTHWISE_CONV_2D",
    "LceQuantize",
    "LceBconv2d",
)

NETWORKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "resnet26 no link": ("resnet26", "binary", {}),
    "resnet26 el": ("resnet26", "el", {}),
    "resnet26 no link, small": ("resnet26", "binary", {"downsample": "binary", "stem": "small"}),
    "resnet26 el, small": ("resnet26", "el", {"downsample": "binary", "stem": "small"}),
    "resnet18 el": ("resnet18", "el", {}),
    "mobilenet el": ("mobilenet", "el", {}),
    "reactnet_a own": ("reactnet_a", "reactnet", {}),
    "reactnet_a elastic": ("reactnet_a", "reactnet", {"link": "elastic"}),
}
"""small: binary downsample convolutions and the stem of that name."""

TIMED = tuple(name for name in NETWORKS if name.startswith("resnet26"))


def randomize(model: Any, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    for variable in model.variables:
        name, shape = variable.name, variable.shape
        if name.endswith("link/gamma:0"):
            variable.assign(random.uniform(0.3, 2.5, shape))
        elif "moving_variance" in name or "norm/gamma" in name:
            variable.assign(random.uniform(0.5, 2, shape))
        elif "moving_mean" in name or "norm/beta" in name or "shift" in name:
            variable.assign(random.normal(0, 0.3, shape))
        elif "rprelu" in name:
            variable.assign(random.uniform(0.05, 0.5, shape))
    return model


def describe(content: bytes) -> str:
    operators = parse(content).operators
    counts = Counter(operator.name for operator in operators)
    passes = [tensor_bytes(o.outputs[0]) for o in operators if o.name in PASSES and _is_map(o)]
    copies = [tensor_bytes(o.outputs[0]) for o in operators if o.name == "RESHAPE" and o.outputs[0].type == "float32"]
    copies = [size for size in copies if size >= MIN_BYTES]
    figures = f"{len(content) / 1e6:6.2f} MB  {len(passes):3} passes {sum(passes) / 1e6:5.1f} MB  {len(copies):3} copies"
    return f"{figures} {sum(copies) / 1e6:5.1f} MB  " + "  ".join(f"{op} {counts[op]}" for op in SHOWN if op in counts)


def _is_map(operator: Operator) -> bool:
    """Whether a result has more than one pixel: on the views of links, (1, 1, k, C) is one."""
    shape = operator.outputs[0].shape
    return len(shape) == 4 and shape[1] > 1


def latencies(contents: dict[str, bytes]) -> dict[str, float]:
    """Median milliseconds of processor time per inference, by name; other jobs disturb that less than the time that passes."""
    interpreters = {name: Interpreter(content) for name, content in contents.items()}
    image = np.random.default_rng(0).standard_normal((1, 224, 224, 3)).astype(np.float32)
    times: dict[str, list[float]] = {name: [] for name in contents}
    for round_ in range(ROUNDS + 3):
        for name, interpreter in interpreters.items():
            start = time.process_time()
            interpreter.run(image)
            if round_ >= 3:
                times[name].append(time.process_time() - start)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def conversion_time() -> str:
    import larq_compute_engine as lce

    keras_model = randomize(build("resnet26", "el"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        lce.convert_keras_model(keras_model)
        alone = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        job = convert(keras_model, Path(folder) / "model.tflite", options=Options(verify_images=32))
        ours = time.perf_counter() - start
    steps = ", ".join(f"{entry.step} {entry.seconds:.1f}" for entry in job.report)
    return f"convert_keras_model {alone:.1f} s; all steps with 32 images to verify {ours:.1f} s ({steps}): {ours / alone:.2f}"


def main() -> None:
    contents: dict[str, bytes] = {}
    for name, (network, method, options) in NETWORKS.items():
        model = FrozenModel(randomize(build(network, method, **options)))
        folded = fold_model(model)
        lowered = lower_model(folded.model)
        files = {"as written": lower_model(model), "folded": lowered, "arranged": arrange_model(lowered)[0]}
        print(f"{name}: differs by {folded.difference:.0e} in double precision")
        for kind, content in files.items():
            print(f"  {kind:10} {describe(content)}", flush=True)
            if name in TIMED:
                contents[f"{name}, {kind}"] = content
    print("latency, and ratio to the same network without links after the same steps")
    milliseconds = latencies(contents)
    for name, value in milliseconds.items():
        base = milliseconds[name.replace(" el,", " no link,")]
        print(f"  {name:36} {value:7.2f} ms  {value / base:.3f}")
    if "--time" in sys.argv[1:]:
        print(conversion_time())


if __name__ == "__main__":
    main()
