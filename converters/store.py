"""Step `store`: kernels of real-valued layers as int8 or float16 in the file, on request. Operators compute with float32."""

from dataclasses import asdict

from el_larq.converters.graph import find_convolutions
from el_larq.converters.job import Job
from el_larq.converters.match import real_layers
from el_larq.converters.stored_kernels import with_stored_kernels
from el_larq.printable import counted
from el_larq.tflite.reader import parse


def store(job: Job) -> Job:
    kind, before = job.options.stored_as, job.need_tflite()
    assert kind is not None, "the step runs on request"
    content, kernels = with_stored_kernels(before, kind)
    summary = f"{counted(len(kernels), 'kernel')} as {kind} (SQNR {kernels[0].sqnr:.1f} dB or more), "
    summary += f"{len(before):,} to {len(content):,} bytes"
    layers = real_layers(find_convolutions(job.need_original()), parse(content))
    rows = [asdict(kernel) | {"layer": layers.get(kernel.operator, "")} for kernel in kernels]
    details = {"type": kind, "bytes": len(content) - len(before), "kernels": rows}
    return job.done(summary, details, tflite=content, unstored=before)
