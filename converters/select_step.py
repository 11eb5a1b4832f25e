"""Step `select`: a detector's boxes are selected in the file. Runs behind `verify`, which compares the predictions for all anchors.

The operator is checked too: on a few images it must select what `detection/non_maximum_suppression.py` does.
"""

from dataclasses import asdict

from el_larq.converters.job import Job
from el_larq.converters.postprocess_operator import with_postprocess
from el_larq.converters.selection_check import check_selected
from el_larq.converters.verify import verification_images
from el_larq.detection.non_maximum_suppression import FOR_EVALUATION
from el_larq.printable import counted

_IMAGES = 16


def select(job: Job) -> Job:
    selection, anchors = job.options.selection or FOR_EVALUATION, job.anchors
    assert anchors is not None, "the step runs for detectors"
    content = with_postprocess(job.need_tflite(), anchors, selection)
    (images,), data, _ = verification_images(job, _IMAGES)
    found = check_selected(content, anchors, selection, images)
    summary = f"{len(anchors):,} boxes to at most {selection.most} (score {selection.score:g}, IoU {selection.iou:g}): as in NumPy "
    summary += f"for {counted(found.images, 'image')} of {data}, {counted(found.detections, 'detection')}"
    if found.near:
        summary += f"; in {counted(found.near, 'image')} an IoU within rounding of the threshold decides otherwise"
    details = {"anchors": len(anchors), "selection": asdict(selection), "data": data, **asdict(found)}
    return job.done(summary, details, tflite=content, card=job.card | {"selection": asdict(selection)})
