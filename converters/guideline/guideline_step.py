"""The step `quantize` of a conversion by the guideline: its result as text and as data."""

from typing import Any

import numpy as np

from el_larq.compression.layer_report import to_list
from el_larq.converters.guideline.effects import Figures
from el_larq.converters.guideline.guideline import ByGuideline, by_guideline
from el_larq.converters.guideline.guideline_options import Guideline
from el_larq.converters.job import Job
from el_larq.printable import counted


def quantize_by_guideline(job: Job, before: bytes, images: np.ndarray, source: dict[str, Any], chosen: Guideline) -> Job:
    """images: all calibration images (N, ...). source: where they are from, for the card."""
    found = by_guideline(before, images, chosen)
    content = found.made.content
    details = _details(found, source, chosen, len(content) - len(before))
    card = job.card | {
        "calibrated_on": source,
        "quantized_by": {"recipe": chosen.recipe, "steps": details["steps"], "kernel_bits": chosen.kernel_bits},
    }
    return job.done(_summary(found, source), details, tflite=content, unstored=before, card=card, quantized=found.made)


def _details(found: ByGuideline, source: dict[str, Any], chosen: Guideline, size: int) -> dict[str, Any]:
    return {
        "calibration": source,
        "recipe": chosen.recipe,
        "steps": [effect.step for effect in found.effects[1:] if effect.kept],
        "effects": [effect.to_dict() for effect in found.effects],
        "trial_images": found.images,
        "kept_float": list(found.kept_float),
        "adaround": [one.to_dict() for one in found.rounded],
        **_figures(found.found),
        "minmax": _figures(found.plain),
        "discarded": None if found.worse is None else _figures(found.worse),
        "kernel_bits": chosen.kernel_bits,
        "int4_kernels": list(found.int4),
        "untrained_int4_kernels": list(found.untrained),
        "with_int8_kernels": None if found.with_int8_kernels is None else _figures(found.with_int8_kernels),
        "bytes": size,
        "int8": len(found.made.scales.operators),
        "tensors": to_list(found.made.reports),
    }


def _figures(found: Figures) -> dict[str, float | None]:
    return {"agreement": found.agreement, "sqnr": found.sqnr if np.isfinite(found.sqnr) else None}


def _spelled(found: Figures) -> str:
    return f"top-1 agrees with float for {found.agreement:.1%}, SQNR of the logits {found.sqnr:.1f} dB"


def _summary(found: ByGuideline, source: dict[str, Any]) -> str:
    scales = found.made.scales
    total = len(scales.operators) + len(scales.left)
    text = (
        f"{counted(len(scales.operators), 'operator')} of {total} as int8; on the {counted(source['images'], 'calibration image')} "
        f"of {source.get('dataset', source.get('file'))}: {_spelled(found.found)}"
    )
    if found.worse is not None:
        text += f"; the steps gave {_spelled(found.worse)} and were undone"
    elif found.found is not found.plain:
        text += f"; with ranges from the extremes only: {_spelled(found.plain)}"
    if found.kept_float:
        text += f"; float: {', '.join(found.kept_float)}"
    return text + _about_int4(found)


def _about_int4(found: ByGuideline) -> str:
    if not found.int4:
        return ""
    text = f"; {counted(len(found.int4), 'kernel')} as int4"
    if found.with_int8_kernels is not None:
        text += (
            f"; warning: {len(found.untrained)} of them were not trained with 4 bits, so they are rounded; with int8 kernels, "
            f"{_spelled(found.with_int8_kernels)}; el-larq train --qat-bits 4 trains them so"
        )
    return text
