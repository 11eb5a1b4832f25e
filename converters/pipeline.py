"""The conversion: a list of named steps applied to an immutable `Job`."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import tf_keras as keras

from el_larq.card import Card
from el_larq.converters.arrange import arrange
from el_larq.converters.audit import audit
from el_larq.converters.fold.step import fold
from el_larq.converters.int8.quantize import quantize
from el_larq.converters.job import Entry, Job, Options
from el_larq.converters.load_step import load
from el_larq.converters.lower import lower
from el_larq.converters.memory import return_memory
from el_larq.converters.select_step import select
from el_larq.converters.steps import STEPS, check_skip
from el_larq.converters.store import store
from el_larq.converters.verify import verify
from el_larq.converters.write import write
from el_larq.data.stated import Statements, stated
from el_larq.outputs import TFLITE, check_output
from el_larq.zoo.named_models import find_model

_FUNCTIONS: dict[str, Callable[[Job], Job]] = {
    "load": load,
    "fold": fold,
    "lower": lower,
    "quantize": quantize,
    "arrange": arrange,
    "store": store,
    "audit": audit,
    "verify": verify,
    "select": select,
    "write": write,
}


def _left_out(job: Job) -> set[str]:
    """The steps that neither options nor the model ask for. Nothing is to be arranged where operators compute with int8."""
    options = job.options
    kinds = {"quantize": options.quantizes, "arrange": not options.quantizes, "store": options.stored_as is not None}
    kinds["select"] = job.anchors is not None
    return {step for step, wanted in kinds.items() if not wanted}


def convert(
    source: str | Path | keras.Model,
    destination: str | Path | None = None,
    *,
    options: Options | None = None,
    skip: tuple[str, ...] = (),
    card: Card | None = None,
    notify: Callable[[Entry], None] = lambda _: None,
    **statements: Unpack[Statements],
) -> Job:
    """Convert a Keras model for Larq Compute Engine. Nothing is written unless every step before `write` succeeded.

    Arguments:
        source: a .h5 or .keras file, a SavedModel or run folder, or a Keras model; with one or several inputs (N, ...).
        destination: the .tflite to write; None only returns it, as ``tflite`` of the job.
        options: further options; None uses the defaults.
        skip: names of steps to leave out.
        card: the card of a Keras model given as an object (a file has its own card).
        notify: called after each step with its entry of the report.
        statements: preprocessing of the images and class names, for the card: see `el_larq.data.stated`.

    Returns:
        The job after its last step: ``report`` has the steps, ``tflite`` the file's content.

    Raises:
        UsageError: an unknown step or data set, statements or options that are invalid or do not fit the model, or a destination
            that would overwrite something else.
        ElLarqError: the model cannot be loaded or lowered, a rule of the audit or the verification fails, or the file cannot be
            written.
    """
    check_skip(skip)
    if destination is not None:
        destination = Path(destination)
        check_output(destination, TFLITE, inputs=() if isinstance(source, keras.Model) else (source,))
    options = options or Options()
    job = Job(destination, replace(options, stated=stated(**statements)) if statements else options)
    job = (
        replace(job, loaded=source, card=card or {}) if isinstance(source, keras.Model) else replace(job, source=find_model(source))
    )
    for name in STEPS:
        if name in skip or name in _left_out(job):
            continue
        start = time.monotonic()
        job = _FUNCTIONS[name](job)
        entry = Entry(name, job.summary, round(time.monotonic() - start, 3), job.details)
        job = replace(job, report=(*job.report, entry))
        notify(entry)
        return_memory(0 if job.original is None else job.original.weight_bytes)
    return job
