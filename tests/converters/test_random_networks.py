"""Random networks of Larq's and Keras' layers convert right, or are refused for what is true of them.

A network is a function of its number, so a failure can be repeated: `python tests/converters/test_random_networks.py NUMBER`.
The slow suite takes a sample by date. All of them, in 15 minutes: `python tests/converters/test_random_networks.py 0-299`.
"""

import el_larq  # isort: skip  (first: it selects Keras 2)

import os
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import binary_models as models
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from random_networks import random_model

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Job, Options
from el_larq.converters.normalized import normalized
from el_larq.converters.random_inputs import random_inputs
from el_larq.converters.verify import OUTPUT_TOLERANCE, verify_model
from el_larq.errors import ElLarqError
from el_larq.keras_internals import leaf_layers
from el_larq.tflite.interpreter import Interpreter

# Saving a SavedModel folder takes twice as long as all the rest.
FORMATS = (".h5", ".keras", ".h5", ".keras", ".h5", "", *(".h5", ".keras") * 6)
IMAGES = 4
NUMBERS = 300
# Of these, on one day: how many, and in how many seconds of processor time.
SAMPLE, SECONDS = 20, 60

_SHOWN = ("filters", "units", "kernel_size", "pool_size", "strides", "padding", "pad_values", "dilation_rate", "groups", "axis")


class WrongError(AssertionError):
    """A network that is neither converted right nor refused truly."""


def check(number: int, folder: Path) -> str:
    """The kind of refusal, or "" for a network that is right.

    Raises:
        WrongError: its number, format and layers, and what is wrong.
    """
    suffix = FORMATS[number % len(FORMATS)]
    model, refusals = random_model(number)
    path = models.save(model, folder / f"model{number}{suffix}")
    try:
        job = el_larq.convert(path, options=Options(verify_images=IMAGES))
    except ElLarqError as error:
        kind = next((kind for kind in refusals if kind in str(error)), None)
        if kind is None or "\n" in str(error):
            raise _wrong(number, suffix, model, f"is refused: {error}") from error
        return kind
    except Exception as error:
        raise _wrong(number, suffix, model, f"{type(error).__name__}: {error}") from error
    if refusals:
        raise _wrong(number, suffix, model, f"is not refused for {', '.join(refusals)}")
    left_out = next(entry.details["left_out"] for entry in job.report if entry.step == "fold")
    if "error in el-larq" in left_out:
        raise _wrong(number, suffix, model, f"fold: {left_out}")
    fault = _difference(number, model, job)
    if fault:
        raise _wrong(number, suffix, model, fault)
    return ""


def _difference(number: int, model: keras.Model, job: Job) -> str:
    """How the .tflite differs from Keras' own outputs; "" where it does not, but for images with signs within rounding of zero."""
    if any(layer.compute_dtype != "float32" for layer in leaf_layers(model)):
        weights = [np.asarray(w, np.float32) if np.asarray(w).dtype.kind == "f" else w for w in map(_single, model.get_weights())]
        model, _ = random_model(number, policy="float32")
        model.set_weights(weights)
    content = job.need_tflite()
    images = [batch[1:] for batch in random_inputs(job.need_original(), IMAGES + 1)]
    wanted = [np.asarray(y) for y in tf.nest.flatten(model(images if len(images) > 1 else images[0], training=False))]
    for output, w in enumerate(wanted):
        if not np.isfinite(w).all():
            return f"output {output} of Keras is not finite"
    departs = _departing(Interpreter(content).run(images), wanted)
    if not departs.any():
        return ""
    frozen = normalized(FrozenModel(model))
    own = _departing(frozen.fetch(frozen.outputs)(images), wanted)
    if own.any():
        return f"normalized, the model differs from Keras in {own.sum()} images"
    verified = verify_model(frozen, content, images)
    if verified.failures:
        return f"the .tflite differs from Keras: {'; '.join(verified.failures)}"
    excused = verified.flipped_images
    return "" if departs.sum() <= excused else f"{departs.sum()} images depart, of which {excused} have signs near zero"


def _departing(got: list[np.ndarray], wanted: list[np.ndarray]) -> np.ndarray:
    """The images, (N,), in which an output differs by more than the tolerance."""
    departs = np.zeros(IMAGES, bool)
    for y, w in zip(got, wanted, strict=True):
        difference = np.abs(y.reshape(w.shape).astype(float) - w).reshape(IMAGES, -1).max(axis=1)
        departs |= ~(difference <= OUTPUT_TOLERANCE * (np.abs(w).max() or 1))
    return departs


def _single(weight: Any) -> np.ndarray:
    return np.asarray(weight).astype(np.float32) if np.asarray(weight).dtype.name == "bfloat16" else np.asarray(weight)


def _wrong(number: int, suffix: str, model: keras.Model, what: str) -> WrongError:
    return WrongError(f"network {number} ({suffix or 'SavedModel'}): {what}\n{described(model)}")


def described(model: keras.Model, indent: str = "  ") -> str:
    lines = []
    for layer in model.layers:
        config = layer.get_config()
        shown = ", ".join(f"{key}={config[key]}" for key in _SHOWN if key in config)
        # Operators on tensors may take numbers too.
        inputs = (
            [t for t in tf.nest.flatten(layer.input) if keras.backend.is_keras_tensor(t)] if len(layer._inbound_nodes) == 1 else []
        )
        sources = [t.name.split("/")[0] for t in inputs] or ["several"]
        kind = type(layer).__name__
        output: Any = layer.output if len(layer._inbound_nodes) == 1 else None
        shape = "" if output is None else output.shape
        lines.append(f"{indent}{layer.name} = {kind}({shown}) of {', '.join(sources)}: {shape} {layer.compute_dtype}")
        if isinstance(layer, keras.Model):
            lines.append(described(layer, indent + "    "))
    return "\n".join(lines)


@pytest.mark.slow
def test_random_networks(tmp_path: Path) -> None:
    kinds, end = Counter(), time.process_time() + SECONDS
    for number in Random(os.environ["EL_LARQ_SAMPLE"]).sample(range(NUMBERS), SAMPLE):
        if time.process_time() > end:
            break
        kinds[check(number, tmp_path)] += 1
        keras.backend.clear_session()
    print({kind or "right": count for kind, count in kinds.items()})


def main(numbers: list[int]) -> None:
    warnings.simplefilter("error")  # as in tests
    kinds, faults = Counter(), 0
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            try:
                kinds[check(number, Path(folder))] += 1
            except WrongError as error:
                faults += 1
                print(error, flush=True)
            except Exception as error:
                print(f"network {number} cannot be built: {type(error).__name__}: {str(error)[:600]}", flush=True)
        keras.backend.clear_session()
        if number % 50 == 49:
            print(f"... {number}", flush=True)
    print(f"{len(numbers)} networks: {kinds['']} right, {faults} wrong; refused: { {k: n for k, n in kinds.items() if k} }")


if __name__ == "__main__":
    bounds = [int(number) for number in re.split("-", sys.argv[1])]
    main(list(range(bounds[0], bounds[-1] + 1)))
