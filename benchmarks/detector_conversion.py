"""Converts SSD300 on VGG16 with the method bbg, at 300x300 pixels and for 20 classes, and prints the sizes of the files.

Each network is converted with real-valued layers in float32 and with `--int8 full`.

    .venv/bin/python benchmarks/detector_conversion.py

The weights are initial ones; those of the normalizations are at random, since a file of an untrained network is smaller: gates and
factors of exactly 1 vanish. Each file is verified on 16 images of `shapes`, before and behind the selection of boxes.
"""

import el_larq  # isort: skip  (first: it selects Keras 2)

from dataclasses import replace
from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.converters.job import Options


def build(heads: str) -> Any:
    keras.utils.set_random_seed(0)
    model = el_larq.build("ssd300", "bbg", num_classes=20, heads=heads)
    random = np.random.default_rng(0)
    for variable in model.variables:
        name = variable.name.rsplit("/", 1)[-1]
        if name.startswith(("gamma", "beta", "moving_mean", "gate")):
            variable.assign(variable + random.normal(0, 0.1, variable.shape))
    return model


def main() -> None:
    exact = Options(verify_on="shapes", verify_images=16)
    int8 = replace(exact, int8="full", calibrate="shapes", calibration_images=16)
    for heads in ("real", "binary"):
        for options in (exact, int8):
            job = el_larq.convert(build(heads), options=options)
            print(f"heads {heads}{', int8' if options.int8 else ''}")
            for entry in job.report:
                print(f"  {entry.step:8}{entry.seconds:6.1f} s  {entry.summary}", flush=True)


if __name__ == "__main__":
    main()
