"""Step `arrange`: edits the flatbuffer where LCE's converter would undo a rewrite of the graph. Results stay identical."""

from el_larq.converters.bitcasts import REASONS, with_bitcasts
from el_larq.converters.job import Job
from el_larq.converters.rewrite import pack, unpack
from el_larq.converters.row_constants import with_row_constants
from el_larq.printable import counted


def arrange(job: Job) -> Job:
    views = job.options.views
    content, details = arrange_model(job.need_tflite(), views)
    summary = f"{counted(details['bitcasts'], 'view')} in place (BITCAST), " if views == "bitcast" else "views as RESHAPE, "
    summary += f"{counted(details['rows'], 'constant')} of additions by rows, {details['bytes']:+,} bytes"
    return job.done(summary, {"views": views, "reason": REASONS[views], **details}, tflite=content)


def arrange_model(content: bytes, views: str = "bitcast") -> tuple[bytes, dict[str, int]]:
    """The flatbuffer after all edits; the number of each, and the bytes by which it grows.

    views: what makes a view of a float tensor, one of `steps.VIEWS`.
    """
    model = unpack(content)
    rows = with_row_constants(model, len(content))
    bitcasts = with_bitcasts(model) if views == "bitcast" else 0
    edited = pack(model) if rows or bitcasts else content
    return edited, {"bitcasts": bitcasts, "rows": rows, "bytes": len(edited) - len(content)}
