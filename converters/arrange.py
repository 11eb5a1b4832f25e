"""Step `arrange`: edits the flatbuffer where LCE's converter would undo a rewrite of the graph. Results stay identical."""

from el_larq.converters.bitcasts import REASONS, with_bitcasts
from el_larq.converters.job import Job
from el_larq.converters.packed_concatenations import with_packed_concatenations
from el_larq.converters.rewrite import drop_unused_buffers, pack, unpack
from el_larq.converters.row_constants import with_row_constants
from el_larq.converters.scalar_constants import with_scalar_constants
from el_larq.printable import counted


def arrange(job: Job) -> Job:
    views = job.options.views
    content, details = arrange_model(job.need_tflite(), views)
    summary = f"{counted(details['bitcasts'], 'view')} in place (BITCAST), " if views == "bitcast" else "views as RESHAPE, "
    summary += f"{counted(details['rows'], 'constant')} of additions by rows, "
    if details["numbers"]:
        summary += f"{counted(details['numbers'], 'constant')} as one number, "
    if details["packed"]:
        summary += f"{counted(details['packed'], 'packed concatenation')}, "
    summary += f"{details['bytes']:+,} bytes"
    return job.done(summary, {"views": views, "reason": REASONS[views], **details}, tflite=content)


def arrange_model(content: bytes, views: str = "bitcast") -> tuple[bytes, dict[str, int]]:
    """The flatbuffer after all edits; the number of each, and the bytes by which it grows.

    views: what makes a view of a float tensor, one of `steps.VIEWS`.
    """
    model = unpack(content)
    packed = with_packed_concatenations(model)
    numbers = with_scalar_constants(model)
    rows = with_row_constants(model, len(content))
    bitcasts = with_bitcasts(model) if views == "bitcast" else 0
    if numbers or rows:
        drop_unused_buffers(model)
    edited = pack(model) if numbers or rows or bitcasts or packed else content
    counts = {"bitcasts": bitcasts, "rows": rows, "numbers": numbers, "packed": packed}
    return edited, counts | {"bytes": len(edited) - len(content)}
