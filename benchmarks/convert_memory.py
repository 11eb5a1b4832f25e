"""The memory and the time that `el-larq convert` takes, by the size of the model's file.

    python benchmarks/convert_memory.py [--sizes 16 64] [--kinds dense binary] [--against PATH]

Models of one given size: dense layers or convolutions, real-valued or binary, with random weights, saved as .h5. Each is converted
by the command line in a process of its own, and the resident memory of that process and of all its descendants is sampled every
10 ms; the highest sum is the peak. The limit is 1 GB + 8 times the file. With --against, the converter of another checkout runs
right after, on the same file, and the ratios of memory and time are printed: only these are comparable between machines.

Sizes are in MB (10^6 bytes). The two largest need gigabytes of memory: run them one at a time.

Measured on 2 shared cores on 2026-11-27, with other load, so times are left out; peak (limit). One model of 16 exceeds its limit:

    file      dense                conv                 binary-dense         binary-conv
    16 MB     0.86 GB (1.13 GB)    0.88 GB (1.12 GB)    0.87 GB (1.13 GB)    0.97 GB (1.12 GB)
    64 MB     1.38 GB (1.51 GB)    1.35 GB (1.47 GB)    1.27 GB (1.51 GB)    1.29 GB (1.47 GB)
    103 MB    1.76 GB (1.83 GB)    1.82 to 1.87 (1.80)  1.66 GB (1.83 GB)    1.67 GB (1.80 GB)
    250 MB    2.93 GB (3.00 GB)    2.87 GB (2.99 GB)    2.76 GB (3.00 GB)    2.71 GB (2.98 GB)

The converter before these limits (commit 78762f8) took 2.91 GB for dense layers of 64 MB and 2.97 GB for binary convolutions of
59 MB. Processor time of a conversion, on the same machine and file, divided by the time of that converter: dense layers 0.64
(16 MB) and 0.31 (64 MB), convolutions 0.77 (16 MB), binary convolutions 0.79 (16 MB) and 0.45 (64 MB).
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

KINDS = ("dense", "conv", "binary-dense", "binary-conv")
ROOT = Path(__file__).parents[1]

MAKE = """
import sys
import el_larq, larq, tf_keras as keras
L, Q = keras.layers, larq.layers
kind, megabytes, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
keras.utils.set_random_seed(0)
signs = dict(input_quantizer="ste_sign", kernel_quantizer="ste_sign", kernel_constraint="weight_clip", use_bias=False)
width = int((megabytes * 1e6 / 4 / (4 if "dense" in kind else 36)) ** 0.5) // 32 * 32
image = keras.Input((8, 8, 3) if "conv" in kind else (64,))
x = L.BatchNormalization()(L.Conv2D(width, 1)(image) if "conv" in kind else L.Dense(width)(image))
for _ in range(4):
    if kind == "dense":
        x = L.Dense(width, activation="relu")(x)
    elif kind == "conv":
        x = L.Conv2D(width, 3, padding="same", activation="relu")(x)
    elif kind == "binary-dense":
        x = Q.QuantDense(width, **signs)(x)
    else:
        x = Q.QuantConv2D(width, 3, padding="same", pad_values=1.0, **signs)(x)
    x = L.BatchNormalization()(x)
if "conv" in kind:
    x = L.GlobalAveragePooling2D()(x)
keras.Model(image, L.Dense(10)(x)).save(path, include_optimizer=False)
"""


def peak_and_time(command: list[str], limit: float, output: Path | None = None) -> tuple[float, float]:
    """The highest resident memory of a command and its descendants in bytes, and its duration in seconds.

    Its standard output is written to ``output``.

    Raises:
        SystemExit: the command failed, or was ended because it exceeded the limit in bytes.
    """
    start, peak = time.perf_counter(), 0.0
    with (output or Path(os.devnull)).open("wb") as stdout:
        process = psutil.Popen(command, stdout=stdout, stderr=subprocess.PIPE)
    while process.poll() is None:
        peak = max(peak, resident(process))
        if peak > limit:
            for one in (*process.children(recursive=True), process):
                one.kill()
            raise SystemExit(f"ended at {peak / 1e9:.1f} GB, which is more than --limit")
        time.sleep(0.01)
    if process.returncode:
        raise SystemExit(process.stderr.read().decode(errors="replace"))
    return peak, time.perf_counter() - start


def resident(process: Any) -> float:
    total = 0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total


def convert(checkout: Path, model: Path, limit: float) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [str(checkout / ".venv/bin/el-larq"), "convert", str(model), "--out", f"{folder}/model.tflite"]
        return peak_and_time(command, limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=float, nargs="+", default=[16, 64, 103, 250], help="of the files, in MB")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--against", type=Path, help="another checkout, with its .venv")
    parser.add_argument("--limit", type=float, default=10, help="end a conversion that takes more, in GB")
    arguments = parser.parse_args()
    for megabytes in arguments.sizes:
        for kind in arguments.kinds:
            with tempfile.TemporaryDirectory() as folder:
                model = Path(folder) / "model.h5"
                subprocess.run([sys.executable, "-c", MAKE, kind, str(megabytes), str(model)], check=True, capture_output=True)
                size = model.stat().st_size
                peak, seconds = convert(ROOT, model, 1e9 * arguments.limit)
                text = f"{kind:13} {size / 1e6:6.1f} MB: {peak / 1e9:5.2f} GB (limit {1 + 8 * size / 1e9:.2f}), {seconds:6.1f} s"
                if arguments.against is not None:
                    before, time_before = convert(arguments.against, model, 1e9 * arguments.limit)
                    text += f"; against {before / 1e9:5.2f} GB, {time_before:6.1f} s"
                    text += f": ratios {peak / before:.2f} and {seconds / time_before:.2f}"
                print(text, flush=True)


if __name__ == "__main__":
    main()
