"""The fourteen networks of Larq Zoo at full size, converted: audit, verification, memory and time.

    python benchmarks/zoo_conversion.py [--networks NAME ...] [--images 16] [--limit 10]

Each is built for images of 224x224 pixels and 1,000 classes with random weights (their own initializers, and random means in batch
normalization, so that signs are mixed), saved as .h5 and converted by the command line in a process of its own, whose peak memory
is measured as in `convert_memory.py`. The random weights say nothing about accuracy. A line per network: binary convolutions and
dense layers, audit findings by rule, the largest difference that verification found, relative to the largest output and without
images in which a sign flipped within rounding, the sizes of both files, memory, seconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from convert_memory import ROOT, peak_and_time

from el_larq.models.zoo.zoo_registry import ZOO

MAKE = """
import sys
import numpy as np
import tf_keras as keras
from el_larq.keras_internals import leaf_layers
from el_larq.models.zoo.zoo_build import build_zoo

name, path = sys.argv[1:]
keras.utils.set_random_seed(0)
model = build_zoo(name)
numbers = np.random.default_rng(0)
for layer in leaf_layers(model):
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.moving_mean.assign(0.1 * numbers.standard_normal(layer.moving_mean.shape))
model.save(path, include_optimizer=False)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=sorted(ZOO), default=sorted(ZOO))
    parser.add_argument("--images", type=int, default=16, help="verification images")
    parser.add_argument("--limit", type=float, default=10, help="end a conversion that takes more, in GB")
    arguments = parser.parse_args()
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            model, converted, report = folder / "model.h5", folder / "model.tflite", folder / "report.json"
            subprocess.run([sys.executable, "-c", MAKE, name, str(model)], check=True, capture_output=True)
            command = [str(ROOT / ".venv/bin/el-larq"), "convert", str(model), "--out", str(converted), "--json"]
            try:
                peak, seconds = peak_and_time([*command, "--verify-images", str(arguments.images)], 1e9 * arguments.limit, report)
            except SystemExit as refused:
                print(f"{name}: {str(refused).splitlines()[-1]}", flush=True)
                continue
            steps = {step["step"]: step["details"] for step in json.loads(report.read_text("utf-8"))["steps"]}
            audit, verify = steps["audit"], steps["verify"]
            findings = Counter(f"{finding['rule']} ({finding['severity']})" for finding in audit["findings"])
            found = ", ".join(f"{count} {rule}" for rule, count in sorted(findings.items())) or "none"
            difference = f"{verify['max_difference']:.1e}"
            sizes = f"{model.stat().st_size / 1e6:.1f} to {converted.stat().st_size / 1e6:.1f} MB"
            print(
                f"{name}: {audit['binary']} of {audit['meant_binary']} binary, findings: {found}, difference {difference}, "
                f"{sizes}, {peak / 1e9:.2f} GB, {seconds:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
