"""Builds docs/embed's C++ program. No Python package has the headers of TensorFlow Lite and LCE: embed_stub.h takes their place."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

EMBED = Path(__file__).parents[1] / "docs" / "embed"
_HEADERS = (
    "tensorflow/lite/model.h",
    "tensorflow/lite/interpreter.h",
    "tensorflow/lite/kernels/register.h",
    "larq_compute_engine/tflite/kernels/lce_ops_register.h",
)


def build(folder: Path, *compilers: str) -> Path:
    """Compile and link the program with the first of the compilers that is installed; skips the test if there is none."""
    compilers = compilers or ("g++", "clang++")
    compiler = next(filter(None, map(shutil.which, compilers)), None)
    if compiler is None:
        pytest.skip(f"no C++ compiler: none of {', '.join(compilers)} is installed")
    for name in _HEADERS:
        path = folder / "include" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#include "{Path(__file__).with_name("embed_stub.h")}"\n')
    program = folder / "classify"
    # Static, so that it runs on a device with another C++ library.
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-static", f"-I{folder / 'include'}"]
    done = subprocess.run([compiler, *flags, EMBED / "classify.cc", "-o", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


def dense_models(folder: Path, shapes: dict[str, tuple[int, int, int]], labels: list[str]) -> dict[str, Path]:
    """Models of one dense layer over all values, which embed_stub.h computes: of each shape a float one, and NAME int8, with int8
    inputs and outputs."""
    import tf_keras as keras

    import el_larq
    from el_larq.converters.job import Options

    keras.utils.set_random_seed(0)
    made = {}
    for name, shape in shapes.items():
        layers = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(len(labels))]
        fields = dict(zip(("height", "width", "channels"), shape, strict=True)) | {"mean": 120.0, "std": 60.0}
        card = {"labels": labels, "preprocessing": fields}
        images = np.random.default_rng(0).uniform(-2, 2, (16, *shape)).astype(np.float32)
        np.save(folder / "calibration.npy", images)
        int8 = Options(int8="io", calibrate=str(folder / "calibration.npy"), calibration_images=16, verify_images=8)
        for suffix, options in (("", None), (" int8", int8)):
            made[name + suffix] = folder / f"{name}{suffix}.tflite"
            el_larq.convert(keras.Sequential(layers), made[name + suffix], card=card, options=options)
    return made
