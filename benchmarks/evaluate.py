"""Images per second of `el-larq evaluate` for ResNet26-el at 224x224 pixels as a .tflite, and of a plain loop in LCE's interpreter.

    python benchmarks/evaluate.py

The loop is Interpreter(content).predict(images) with its defaults. The two alternate, so that other load on the machine affects
both; worker processes and interpreters are started before the timing.
"""

import tempfile
import time
from pathlib import Path

import el_larq  # isort: skip  (first: it selects Keras 2)
import larq_compute_engine as lce
import numpy as np

from el_larq.data.preprocessing import Preprocessing
from el_larq.evaluation.evaluate import CHUNK
from el_larq.evaluation.workers import Workers, available_cores

ROUNDS, LOOP_IMAGES, OUR_IMAGES = 5, 12, 256
SIZE = 224


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        model = el_larq.build("resnet26", "el", input_shape=(SIZE, SIZE, 3))
        el_larq.convert(model, path, skip=("verify",))
        content = path.read_bytes()
    preprocessing = Preprocessing(SIZE, SIZE, 3, mean=128.0, std=64.0)
    images = np.random.default_rng(0).integers(0, 256, (OUR_IMAGES, SIZE, SIZE, 3), np.uint8)
    scaled = preprocessing.scale(images[:LOOP_IMAGES])
    interpreter = lce.testing.Interpreter(content)
    loop, ours = [], []
    with Workers(content, "resnet26-el", preprocessing) as workers:
        np.concatenate(list(workers.run(images[: 4 * CHUNK], CHUNK)))
        interpreter.predict(scaled[:1], verbose=0)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            wanted = np.asarray(interpreter.predict(scaled, verbose=0))
            loop.append(LOOP_IMAGES / (time.perf_counter() - start))
            start = time.perf_counter()
            outputs = np.concatenate(list(workers.run(images, CHUNK)))
            ours.append(OUR_IMAGES / (time.perf_counter() - start))
            agree = np.mean(outputs[:LOOP_IMAGES].argmax(axis=1) == wanted.argmax(axis=1))
            speed = f"loop {loop[-1]:6.2f} images/s   evaluate {ours[-1]:6.2f} images/s   ratio {ours[-1] / loop[-1]:5.2f}"
            print(f"{speed}   top-1 agrees {agree:.0%}")
    ratios = np.array(ours) / np.array(loop)
    print(f"median of {ROUNDS}: loop {np.median(loop):.2f}, {available_cores()} workers {np.median(ours):.2f} images/s")
    print(f"ratio {np.median(ratios):.2f}, least {ratios.min():.2f}")


if __name__ == "__main__":
    main()
