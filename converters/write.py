"""Step `write`: writes the flatbuffer, with its card as metadata, atomically to its destination."""

import hashlib
import platform

import numpy as np

from el_larq import __version__, card
from el_larq.converters.job import Job
from el_larq.converters.rewrite import with_metadata
from el_larq.errors import ElLarqError
from el_larq.files import write_bytes
from el_larq.outputs import TFLITE
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import Tensor, parse


def write(job: Job) -> Job:
    content = job.need_tflite()
    final = with_metadata(content, card.NAME, card.dump(_card(job, content)))
    _check_unchanged(content, final)
    if job.destination is not None:
        write_bytes(job.destination, final, TFLITE.check_replaceable)
    sha256 = hashlib.sha256(final).hexdigest()
    summary = f"{job.destination or 'in memory'}, {len(final):,} bytes"
    return job.done(summary, {"bytes": len(final), "sha256": sha256}, tflite=final)


def _card(job: Job, content: bytes) -> card.Card:
    graph = parse(content)
    verified = next((entry.details for entry in job.report if entry.step == "verify"), None)
    return job.card | {
        "converted_with": {"el-larq": __version__, "python": platform.python_version()},
        "source_sha256": _source_hash(job),
        "inputs": [_describe(tensor, tensor.name) for tensor in graph.inputs],
        "outputs": [_describe(tensor, name) for tensor, name in zip(graph.outputs, graph.output_names, strict=True)],
        "verified": verified,
    }


def _describe(tensor: Tensor, name: str) -> dict[str, object]:
    return {"name": name, "type": tensor.type, "shape": list(tensor.shape)}


def _source_hash(job: Job) -> str | None:
    if job.source is None or not job.source.is_file():
        return None
    with open(job.source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_unchanged(before: bytes, after: bytes) -> None:
    """Check that repacking changed nothing: the outputs for random inputs are compared bit by bit."""
    old = Interpreter(before)
    inputs = old.random_inputs(np.random.default_rng(0))
    wanted = old.run(inputs)
    del old  # an interpreter takes up to twice the file's size
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(wanted, Interpreter(after).run(inputs), strict=True)):
        raise ElLarqError("write: adding the metadata changed what the model computes; report this as an error in el-larq")
