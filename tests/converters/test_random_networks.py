"""Random networks of Larq's and Keras' layers convert right, or are refused for what is true of them.

A network is a function of its number, so a failure can be repeated: `python tests/converters/test_random_networks.py NUMBER`.
The slow suite takes 150 of them, by date. All of them: `python tests/converters/test_random_networks.py 0-599`.
"""

import el_larq  # isort: skip  (first: it selects Keras 2)

import contextlib
import importlib
import os
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import binary_models as models
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from drawing import Refusals
from random_networks import RandomModel, random_model

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Job, Options
from el_larq.converters.normalized import normalized
from el_larq.converters.random_inputs import random_inputs
from el_larq.converters.verify import OUTPUT_TOLERANCE, verify_model
from el_larq.errors import ElLarqError
from el_larq.loading import keras3 as loading
from el_larq.tflite.interpreter import Interpreter
from el_larq.worker_process import WorkerProcess

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
keras3: Any = importlib.import_module("keras")

# Saving a SavedModel folder takes twice as long as all the rest.
FORMATS = (".h5", ".keras", ".h5", ".keras", ".h5", "", *(".h5", ".keras") * 6)
LATER = (".h5", ".keras", "Keras 3 .keras", "", ".keras", "Keras 3 .h5", ".h5", ".keras", "Keras 3 .keras")
FIRST_LATER = 450
"""The number from which formats are those of LATER, and every tenth network is in each format of its Keras."""
IMAGES = 4
NUMBERS = 600
# Of these, on one day: how many, in how many parts, which run at the same time, and how many seconds of processor time a part has.
SAMPLE, PARTS, SECONDS = 150, 3, 150
CLEARED = 6
"""The number of networks after which Keras' state is cleared: Keras 3 then collects garbage, a sixth of a network's time."""

_SHOWN = ("filters", "units", "kernel_size", "pool_size", "strides", "padding", "pad_values", "dilation_rate", "groups", "axis")


class WrongError(AssertionError):
    """A network that is neither converted right nor refused truly."""


def formats(number: int) -> tuple[str, ...]:
    """The formats in which the network is saved: one, or all that its Keras has."""
    if number < FIRST_LATER:
        return (FORMATS[number % len(FORMATS)],)
    own = LATER[number % len(LATER)]
    if number % 10:
        return (own,)
    return ("Keras 3 .keras", "Keras 3 .h5") if own.startswith("Keras 3") else (".h5", ".keras", "")


def check(number: int, folder: Path) -> str:
    """The kind of refusal, or "" for a network that is right in each of its formats.

    Raises:
        WrongError: its number, format and layers, and what is wrong.
    """
    chosen = formats(number)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using a softmax over axis")  # Keras 3, where the axis has one value
        network = random_model(number, keras=keras3 if chosen[0].startswith("Keras 3") else keras)
        return "".join(sorted({_check(number, network, form, folder) for form in chosen}))


def _check(number: int, network: RandomModel, form: str, folder: Path) -> str:
    model, refusals = network.model, network.refusals | _not_in(form, network.model)
    path = models.save(model, folder / f"model{number}{form.removeprefix('Keras 3 ')}")
    try:
        job = el_larq.convert(path, options=Options(verify_images=IMAGES))
    except ElLarqError as error:
        kind = next((kind for kind in refusals if kind in str(error)), None)
        if kind is None or "\n" in str(error):
            raise _wrong(number, form, model, f"is refused: {error}") from error
        return kind
    except Exception as error:
        raise _wrong(number, form, model, f"{type(error).__name__}: {error}") from error
    if refusals:
        raise _wrong(number, form, model, f"is not refused for {', '.join(refusals)}")
    left_out = next(entry.details["left_out"] for entry in job.report if entry.step == "fold")
    if "error in el-larq" in left_out:
        raise _wrong(number, form, model, f"fold: {left_out}")
    fault = _difference(number, network, job)
    if fault:
        raise _wrong(number, form, model, fault)
    return ""


def _not_in(form: str, model: Any) -> Refusals:
    """What Keras 3 saves to .h5 but does not load from it."""
    if form != "Keras 3 .h5":
        return set()
    parts = list(_operations(model))
    found = set() if all(isinstance(part, keras3.layers.Layer) for part in parts) else {"has the operator"}
    return found | {"class 'Attention'" for part in parts if isinstance(part, keras3.layers.Attention)}


def _operations(model: Any) -> Iterator[Any]:
    """The layers of a model of Keras 3 and the operators between them, including those of nested models."""
    for part in getattr(model, "operations", model.layers):
        yield part
        if isinstance(part, keras3.Model):
            yield from _operations(part)


def _difference(number: int, network: RandomModel, job: Job) -> str:
    """How the .tflite differs from Keras' own outputs; "" where it does not, but for images with signs within rounding of zero."""
    model = network.model
    if network.policy != "float32":
        weights = [np.asarray(w, np.float32) if np.asarray(w).dtype.kind == "f" else w for w in map(_single, model.get_weights())]
        model = random_model(number, "float32", network.keras).model
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
    # A model of Keras 3 is frozen by Keras 3, in a process of its own.
    frozen = normalized(FrozenModel(model)) if network.keras is keras else job.need_original()
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


def _wrong(number: int, form: str, model: Any, what: str) -> WrongError:
    return WrongError(f"network {number} ({form or 'SavedModel'}): {what}\n{described(model)}")


def described(model: Any, indent: str = "  ") -> str:
    lines = []
    for layer in model.layers:
        config = layer.get_config()
        shown = ", ".join(f"{key}={config[key]}" for key in _SHOWN if key in config)
        once = len(layer._inbound_nodes) == 1
        # Operators on tensors may take numbers too.
        inputs = [t for t in tf.nest.flatten(layer.input) if hasattr(t, "name")] if once else []
        sources = [t.name.split("/")[0] for t in inputs] or ["several"]
        output: Any = layer.output if once else None
        shape = "" if output is None else output.shape
        lines.append(
            f"{indent}{layer.name} = {type(layer).__name__}({shown}) of {', '.join(sources)}: {shape} {layer.compute_dtype}"
        )
        if isinstance(layer, (keras.Model, keras3.Model)):
            lines.append(described(layer, indent + "    "))
    return "\n".join(lines)


class _Shared(WorkerProcess):
    """One process for all files of Keras 3, since starting Keras 3 takes longer than converting a network."""

    def close(self, patience: float = 0) -> None:
        del patience


@contextlib.contextmanager
def shared_process() -> Iterator[None]:
    """Let `load_keras3` open its files in one process, which starts with the first."""
    started: list[_Shared] = []

    def start() -> _Shared:
        if not started:
            started.append(_Shared())
        return started[0]

    before, loading.WorkerProcess = loading.WorkerProcess, start
    try:
        yield
    finally:
        loading.WorkerProcess = before
        for process in started:
            WorkerProcess.close(process)


def _clear(networks: int) -> None:
    if networks % CLEARED == 0:
        keras.backend.clear_session()
        keras3.backend.clear_session()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_random_networks(part: int, tmp_path: Path) -> None:
    kinds, end = Counter(), time.process_time() + SECONDS
    numbers = Random(os.environ["EL_LARQ_SAMPLE"]).sample(range(NUMBERS), SAMPLE)[part::PARTS]
    with shared_process():
        for count, number in enumerate(numbers, 1):
            if time.process_time() > end:
                break
            kinds[check(number, tmp_path)] += 1
            _clear(count)
    print(f"{kinds.total()} of {len(numbers)}:", {kind or "right": count for kind, count in kinds.items()})


def main(numbers: list[int]) -> None:
    warnings.simplefilter("error")  # as in tests
    kinds, faults = Counter(), 0
    with shared_process():
        for count, number in enumerate(numbers, 1):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    kinds[check(number, Path(folder))] += 1
                except WrongError as error:
                    faults += 1
                    print(error, flush=True)
                except Exception as error:
                    print(f"network {number} cannot be built: {type(error).__name__}: {str(error)[:600]}", flush=True)
            _clear(count)
            if number % 50 == 49:
                print(f"... {number}", flush=True)
    print(f"{len(numbers)} networks: {kinds['']} right, {faults} wrong; refused: { {k: n for k, n in kinds.items() if k} }")


if __name__ == "__main__":
    bounds = [int(number) for number in re.split("-", sys.argv[1])]
    main(list(range(bounds[0], bounds[-1] + 1)))
