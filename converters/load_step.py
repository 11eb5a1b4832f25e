"""Step `load`: reads the model, makes its input static, and freezes its graph."""

from dataclasses import replace

import tf_keras as keras

from el_larq import card
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Job
from el_larq.converters.normalized import normalized
from el_larq.converters.precision import other_precision
from el_larq.converters.unsupported import check_computable
from el_larq.converters.unused_channels import without_unused_channels
from el_larq.data.dataset_registry import check_dataset
from el_larq.errors import ElLarqError, UsageError
from el_larq.loading.load import load_model, with_static_input
from el_larq.loading.user_modules import import_modules
from el_larq.models.detector_anchors import NOT_CLASSES, anchors_of


def load(job: Job) -> Job:
    model, model_card = job.loaded, job.card
    if job.source is not None:
        import_modules(job.options.modules)
        model, model_card = load_model(job.source, trust=job.options.trust), card.read(job.source)
    if model is None:
        raise ElLarqError("nothing to convert: give a model or the file of one")
    model = with_static_input(model, job.options.image_size)
    source = str(job.source or model.name)
    anchors = anchors_of(model)
    model_card, notes = job.options.stated.onto(model_card, tuple(model.inputs[0].shape[1:]), source, stretch=anchors is not None)
    if anchors is None and job.options.selection is not None:
        raise UsageError(f"{source}: is not a detector, so no boxes are selected; omit the options for that")
    job = replace(job, anchors=anchors)
    for data in (job.options.verify_on, job.options.calibrate):
        if data is not None and not data.endswith(".npy"):
            check_dataset(data, job.task)
    _check_labels(job.options.stated.labels, model, source, 0 if anchors is None else NOT_CLASSES)
    guideline = job.options.guideline
    notes = (*notes, *card.notes_of_bits(model_card, 8 if guideline is None else guideline.kernel_bits))
    frozen = FrozenModel(model)
    check_computable(frozen)
    if (other := other_precision(frozen)) is not None:
        notes = (*notes, f"{source}: computes in {other}; the .tflite computes in float32")
    frozen = original = normalized(frozen)
    smaller, about_unused = without_unused_channels(model)
    if smaller is not model:
        frozen = normalized(FrozenModel(smaller))
    if about_unused:
        notes = (*notes, about_unused)
    summary = f"{model.name}: {len(model.layers)} layers, {model.count_params():,} parameters"
    summary = "; ".join((summary, *notes))
    details = {"name": model.name, "layers": len(model.layers), "parameters": model.count_params(), "notes": list(notes)}
    return job.done(summary, details, loaded=smaller, original=original, model=frozen, card=model_card)


def _check_labels(labels: tuple[str, ...] | None, model: keras.Model, source: str, others: int) -> None:
    classes = [output.shape[-1] - others for output in model.outputs or []]
    if labels is not None and len(labels) not in classes:
        raise UsageError(f"{source}: there are {len(labels)} labels for its {' or '.join(map(str, classes))} outputs")
