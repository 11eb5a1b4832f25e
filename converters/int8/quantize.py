"""Step `quantize`: all operators that can compute with int8 do, with ranges from calibration images, on request."""

from dataclasses import replace
from typing import Any

import numpy as np

from el_larq.compression.layer_report import to_list
from el_larq.converters.guideline.guideline_step import quantize_by_guideline
from el_larq.converters.int8.calibration_data import calibration_images
from el_larq.converters.int8.int8_ends import with_int8_ends
from el_larq.converters.int8.quantized_file import Quantized, quantize_file
from el_larq.converters.job import Job
from el_larq.converters.postprocess_operator import joining_operator
from el_larq.converters.steps import DEFAULT_RANGE
from el_larq.errors import UsageError
from el_larq.printable import counted


def quantize(job: Job) -> Job:
    before = job.need_tflite()
    images, source, warning = calibration_images(job)
    if job.options.guideline is None:
        done = _by_ranges(job, before, images, source)
    elif job.anchors is None:
        done = quantize_by_guideline(job, before, images, source, job.options.guideline)
    else:
        raise UsageError("quantize: the model is a detector, and steps are judged by logits; use el-larq convert --int8 full")
    summary = done.summary + (f"; warning: {warning}" if warning else "")
    return replace(done, summary=summary, details=done.details | {"warning": warning})


def _by_ranges(job: Job, before: bytes, images: np.ndarray, source: dict[str, Any]) -> Job:
    ranges = job.options.ranges or DEFAULT_RANGE
    # A detector's classes and boxes keep scales of their own: what joins them is float, and `select` removes it.
    joined = frozenset() if job.anchors is None else frozenset({joining_operator(before).index})
    made = quantize_file(before, images, ranges, joined)
    made = replace(made, scales=replace(made.scales, left=tuple(pair for pair in made.scales.left if pair[0].index not in joined)))
    io = job.options.int8 == "io"
    content = with_int8_ends(made.content, outputs=not joined) if io else made.content
    details = _details(made, source, ranges, len(content) - len(before))
    card = job.card | {"calibrated_on": source}
    return job.done(_summary(made, source), details, tflite=content, unstored=before, card=card, quantized=made)


def _details(made: Quantized, source: dict[str, Any], ranges: str, size: int) -> dict[str, Any]:
    return {
        "calibration": source,
        "ranges": ranges,
        "bytes": size,
        "int8": len(made.scales.operators),
        "float": [{"operator": o.index, "name": o.name, "reason": reason} for o, reason in made.scales.left],
        "signs_with_offset": len(made.offsets.tensors),
        "signs_without_offset": len(made.offsets.without),
        "tensors": to_list(made.reports),
    }


def _summary(made: Quantized, source: dict[str, Any]) -> str:
    operators = len(made.scales.operators)
    text = f"{counted(operators, 'operator')} of {operators + len(made.scales.left)} as int8, ranges of "
    text += f"{counted(source['images'], 'image')} of {source.get('dataset', source.get('file'))}; "
    worst = min(made.reports, key=lambda one: one.sqnr)
    text += f"SQNR {worst.sqnr:.1f} dB or more ({worst.name})"
    signs = [one for one in made.reports if one.flips is not None]
    if signs:
        rates = (
            float(np.mean([rate or 0.0 for rate in column]))
            for column in zip(*((s.flips, s.flips_with_offset) for s in signs), strict=True)
        )
        text += "; signs of a rounded tensor flip for {:.2%}, with the offset {:.2%}".format(*rates)
        text += f" ({len(made.offsets.tensors)} of {len(made.offsets.tensors) + len(made.offsets.without)} tensors have it)"
    left = sorted({f"{operator.name} ({reason})" for operator, reason in made.scales.left})
    return text + (f"; float: {', '.join(left)}" if left else "")
