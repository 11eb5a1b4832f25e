"""Kernels stored as float32, float16 and int8, and everything computed with int8: the file's size, and the instructions of an
inference; networks with random weights.

    python benchmarks/int8.py                                the networks of docs/int8.md
    python benchmarks/int8.py --networks quicknet --sizes    sizes only
    python benchmarks/int8.py --latency                      latency instead of instructions: ratios, within one process

Instructions are counted by valgrind, so other programs do not disturb them. They are the difference between processes of 2 and of
6 inferences, divided by 4, which leaves out what is done once; of x86 code, with LCE's indirect kernel and one thread. A network is
converted again only if its files are missing from build/int8.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from recorded_runs import ROOT

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet26-small": ("resnet26", {"downsample": "binary", "stem": "small"}),
    "quicknet": ("quicknet", {}),
}
KINDS: dict[str, dict[str, Any]] = {
    "float32": {},
    "float16": {"weights": "float16"},
    "int8": {"int8": "weights"},
    "int8-full": {"int8": "full"},
}
ROUNDS = 250
CALIBRATION_IMAGES = 4
"""Of random numbers: ranges change neither size nor instructions."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--sizes", action="store_true", help="do not count instructions")
    parser.add_argument("--latency", action="store_true", help="measure processor time in this process, files in random order")
    parser.add_argument("--scratch", type=Path, default=ROOT / "build/int8", help="folder for the .tflite files")
    parser.add_argument("--run", nargs=3, metavar=("FILE", "XNNPACK", "TIMES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        _run(Path(options.run[0]), options.run[1] == "True", int(options.run[2]))
        return
    if not options.latency:
        print("| network | kernels | bytes | instructions, XNNPACK | without |\n| --- | --- | --- | --- | --- |")
    for name in options.networks:
        files = {kind: options.scratch / f"{name}-{kind}.tflite" for kind in KINDS}
        if not all(file.exists() for file in files.values()):
            _convert(name, files)
        if options.latency:
            _latency(name, files)
            continue
        first: dict[bool, int] = {}
        for kind, file in files.items():
            cells = []
            for xnnpack in () if options.sizes else (True, False):
                count = (_count(file, xnnpack, 6) - _count(file, xnnpack, 2)) // 4
                cells.append(f"{count / 1e6:,.1f} M ({count / first.setdefault(xnnpack, count):.4f})")
            print(f"| {' | '.join((name, kind, f'{file.stat().st_size:,}', *cells))} |", flush=True)


def _convert(name: str, files: dict[str, Path]) -> None:
    import el_larq  # isort: skip  (first: it selects Keras 2)
    import tf_keras as keras

    from el_larq.converters.job import Options

    network, arguments = NETWORKS[name]
    keras.utils.set_random_seed(0)
    model = el_larq.build(network, "el", input_shape=(224, 224, 3), num_classes=1000, **arguments)
    for kind, file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        options = dict(KINDS[kind])
        if options.get("int8") == "full":
            images = file.with_name("calibration.npy")
            np.save(images, np.random.default_rng(0).standard_normal((CALIBRATION_IMAGES, 224, 224, 3), np.float32))
            options |= {"calibrate": str(images), "calibration_images": CALIBRATION_IMAGES}
        el_larq.convert(model, file, options=Options(verify_images=2, **options))


def _latency(name: str, files: dict[str, Path]) -> None:
    """Print medians of the processor time of an inference, and of its ratio to float32's in the same round.

    Rounds run all files, in an order drawn anew. float32 is in them twice: its second ratio is what chance makes of 1.
    """
    interpreters = [(kind, _interpreter(file, xnnpack=True)) for kind, file in (*files.items(), ("float32", files["float32"]))]
    random = np.random.default_rng(0)
    image = random.standard_normal(interpreters[0][1].input_shapes[0], np.float32)
    times: list[list[float]] = [[] for _ in interpreters]
    for round_ in range(ROUNDS + 2):
        for number in random.permutation(len(interpreters)):
            start = time.process_time()
            interpreters[number][1].predict([image])
            if round_ >= 2:  # the first inferences restore kernels
                times[number].append(time.process_time() - start)
    for (kind, _), measured in zip(interpreters, times, strict=True):
        ratio = statistics.median(one / first for one, first in zip(measured, times[0], strict=True))
        print(f"{name}, {kind}: {1e3 * statistics.median(measured):.1f} ms, {ratio:.3f}", flush=True)


def _count(file: Path, xnnpack: bool, times: int) -> int:
    """Instructions of a process that makes some inferences."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", sys.executable, __file__]
    command += ["--run", str(file), str(xnnpack), str(times)]
    done = subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1].replace(",", ""))


def _run(file: Path, xnnpack: bool, times: int) -> None:
    interpreter = _interpreter(file, xnnpack)
    image = np.random.default_rng(0).standard_normal(interpreter.input_shapes[0], np.float32)
    for _ in range(times):
        interpreter.predict([image])


def _interpreter(file: Path, xnnpack: bool) -> Any:
    """LCE's interpreter with its indirect kernel and one thread; without TensorFlow, which would take valgrind minutes."""
    from el_larq.tflite.interpreter import import_interpreter

    return import_interpreter().LiteInterpreter(file.read_bytes(), 1, False, True, xnnpack)


if __name__ == "__main__":
    main()
