"""Step `verify`: checks that the .tflite computes what the model computes, on real images if available.

Two correct implementations of a BNN cannot agree to the last digit: a value within rounding of zero may get the other sign,
and one flipped bit changes an output by about 1 %. So the model is fed the flatbuffer's signs at every sign (`segments.py`), and
the compared values follow from the same bits:

1. kernels      every packed kernel equals the model's signs
2. outputs      the outputs of every image agree within OUTPUT_TOLERANCE of the largest output
3. flips        at the input of every binary convolution, and at every other sign that the flatbuffer packs, a sign differs only
                where the value is at most FLIP_TOLERANCE of that tensor's root mean square: each flip is due to rounding, none
                is a consequence of another
4. decisions    top-1 of the model with its own signs agrees, at each output that has the shape of logits, for at least
                TOP1_AGREEMENT of the images (of fewer than 100 images, all but one); either of two classes tied within rounding is
                accepted

Rounding to integers, in quantizers of several bits, is treated like a sign: the model is fed the flatbuffer's integers, and a value
may differ only at the threshold between two of them.

If 2, 3 or 4 fails, the model itself is computed with other roundings too, from the same signs (`exact.py`). A flip, or a difference
of outputs, is then accepted within what rounding does to the model there. If that changes the model's own decisions, as it may in
an untrained network, 4 allows the .tflite to differ about as often, provided that from the same signs it decides as the model does.

Where fake quantization makes LCE's converter compute with int8, rounding is by steps: the limit of 2 and the ties of 4 are
QUANTIZED_TOLERANCE, and signs of int8 tensors may flip within `segments.STEPS`.

If kernels are stored as another type, or operators quantized, this is done before they were; `stored_comparison.py` and
`int8/int8_comparison.py` say what that changes.
"""

import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from el_larq import card
from el_larq.converters.decisions import TIE_TOLERANCE, Agreement, Decisions, agreements
from el_larq.converters.exact import LARGEST_ROUNDING, ROUNDINGS, DoublePrecision
from el_larq.converters.frozen import FrozenModel, Images
from el_larq.converters.graph import find_convolutions
from el_larq.converters.int8.int8_comparison import compare_int8
from el_larq.converters.job import Job
from el_larq.converters.match import match
from el_larq.converters.random_inputs import random_inputs
from el_larq.converters.segments import LayerSigns, SegmentComparison, Segments
from el_larq.converters.stored_comparison import compare_stored
from el_larq.data.dataset_registry import check_dataset, load_dataset
from el_larq.data.own_run import foreign_folder
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError, UsageError
from el_larq.printable import counted
from el_larq.tflite.reader import parse

OUTPUT_TOLERANCE = 1e-3
# For a .tflite with int8 tensors; LCE's own tests of them allow 1 % and 0.025.
QUANTIZED_TOLERANCE = 2.5e-2
FLIP_TOLERANCE = 2e-5
TOP1_AGREEMENT = 0.99

# Maximum number of values held in memory while the tensors of a batch are compared.
_BATCH_VALUES = 2**24
# Maximum number of values in all images together: fewer very large images are compared than requested.
_ALL_VALUES = 2**28

RANDOM = "random numbers"
"""What data are called that no data set has."""


@dataclass(frozen=True)
class Verification:
    """The result of the comparison. Differences are shares of the model's largest output over all images.

    max_difference: maximum over all images, from the same signs.
    max_difference_flipped: maximum over images with flips, for the model with its own signs, where flips cause further flips.
    worst_flip: the largest |value| / RMS of a flip.
    top1_agreement: lowest agreement among the ``top1_outputs`` outputs that have the shape of logits.
    classes: number of different classes the model predicted at that output; 0 if no output has the shape of logits.
    rounding: how far other rounding moves the model's outputs, from the same signs; None if that was not needed.
    own_agreement: lowest agreement of the model's top-1 with that of other rounding; None if that was not needed.
    With these two, `worst_flip` is what remains after rounding errors are subtracted.
    """

    images: int
    data: str
    max_difference: float
    max_difference_flipped: float
    flipped_images: int
    worst_flip: float
    top1_agreement: float
    classes: int
    failures: tuple[str, ...]
    layers: tuple[LayerSigns, ...] = ()
    top1_outputs: int = 1
    rounding: float | None = None
    own_agreement: float | None = None

    @property
    def summary(self) -> str:
        text = f"{counted(self.images, 'image')} of {self.data}: max difference {self.max_difference:.1e} of the largest output"
        if self.flipped_images:
            text += f"; in {counted(self.flipped_images, 'image')} signs within rounding of zero flipped"
            text += f" (left alone, the model differs there by {self.max_difference_flipped:.1e})"
        if self.top1_outputs > 1:
            text += f"; top-1 of each of {self.top1_outputs} outputs agrees for {self.top1_agreement:.1%} or more"
        elif self.classes:
            text += f"; top-1 agrees for {self.top1_agreement:.1%}"
        if self.rounding is None or self.own_agreement is None:
            return text
        text += f"; the model is sensitive to rounding: rounded otherwise, its own outputs differ by {self.rounding:.1e}"
        return text + (f" and its top-1 agrees for {self.own_agreement:.1%}" if self.classes else "")


def verify(job: Job) -> Job:
    images, data, note = verification_images(job)
    source = "the .tflite" if job.source is None else f"the .tflite of {job.source}"
    result = verify_model(job.need_original(), job.unstored or job.need_tflite(), images, data, source)
    if result.failures:
        raise ElLarqError(f"verify: the .tflite differs from the model: {'; '.join(result.failures)}{_by_layer(job, result)}")
    if job.unstored is None:
        return job.done(result.summary + note, asdict(result))
    if job.quantized is not None:
        int8_ends = job.tflite if job.options.int8 == "io" else None
        # Ranges fit images; of random numbers, the int8 file would clip most.
        calibration = [job.quantized.images] if data == RANDOM else None
        quantized = compare_int8(job.quantized, job.unstored, calibration or images, int8_ends, calibrated=calibration is not None)
        return job.done(f"{result.summary}; {quantized.summary}{note}", asdict(result) | {"int8": asdict(quantized)})
    stored = compare_stored(job.need_tflite(), job.unstored, images)
    summary = f"{result.summary}; with kernels as {job.options.stored_as}, {stored.summary}{note}"
    return job.done(summary, asdict(result) | {"stored": asdict(stored)})


def _by_layer(job: Job, result: Verification) -> str:
    if not job.options.by_layer:
        return "; --by-layer shows where"
    rows = [f"{r.layer} {r.flipped} of {r.compared:,} {r.kind} (worst {r.worst:.1e})" for r in result.layers if r.flipped]
    return f"; in order of execution: {', '.join(rows) or 'no sign differs, so the error is after the last binary convolution'}"


def verification_images(job: Job, count: int | None = None) -> tuple[list[np.ndarray], str, str]:
    """Test images of the requested data set or of the card's, else random values; the name of the data; a note for the summary.

    count: the number of images; None for the requested one.

    There is a batch for each input. Images of data sets are for models with one; where it takes integers, they are not scaled.
    """
    model = job.need_original()
    shape = model.input_shape
    count = min(job.options.verify_images, count or job.options.verify_images)
    count = max(1, min(count, _ALL_VALUES // max(1, sum(map(math.prod, model.input_shapes)))))
    name, note = _dataset(job)
    if len(model.inputs) > 1:
        if job.options.verify_on is not None:
            raise UsageError(f"verify: a data set has images only, but the model has {len(model.inputs)} inputs; omit --verify-on")
        name = None
    kind = model.inputs[0].dtype
    if name is not None:
        size = shape[0] if len(shape) == 3 and shape[0] == shape[1] else None
        unscaled = Preprocessing(*shape, mean=0.0, std=1.0) if kind.is_integer and len(shape) == 3 else None
        data = load_dataset(name, size, preprocessing=unscaled or _preprocessing(job, shape), task=job.task)
        if data.preprocessing.input_shape == shape:
            return [data.test_images(count)[0].astype(kind.as_numpy_dtype)], name, note
        if job.options.verify_on is not None:
            raise ElLarqError(f"verify: {name} has images of {data.preprocessing.input_shape}, the model takes {shape}")
    return random_inputs(model, count), RANDOM, note


def _dataset(job: Job) -> tuple[str | None, str]:
    """The requested data set, or the card's if it is available and may be read; and a note if it may not."""
    if job.options.verify_on is not None:
        return job.options.verify_on, ""
    name = card.dataset(job.card)
    if name is None:
        return None, ""
    try:
        # The card of a model given as an object comes from the caller.
        folder = None if job.source is None else foreign_folder(name, job.source)
        if folder is not None:
            return None, f"; the folder on its card is read only for a model in one of your own runs, or with --verify-on {name!r}"
        check_dataset(name, job.task)
    except ElLarqError:  # models may be converted on machines without their training data
        return None, ""
    return name, ""


def _preprocessing(job: Job, shape: tuple[int, ...]) -> Preprocessing | None:
    """The card's preprocessing, if it matches the model's input shape."""
    found = card.preprocessing(job.card, "verify")
    return found if found is not None and found.input_shape == shape else None


def verify_model(
    model: FrozenModel, content: bytes, images: Images, data: str = "the given data", source: str = "the .tflite"
) -> Verification:
    """Compare a model with a .tflite on a batch (N, ...) for its only input, or one for each input."""
    images = [images] if isinstance(images, np.ndarray) else list(images)
    graph = parse(content)
    matches = match(find_convolutions(model), graph)
    failures = [
        f"kernel of {m.convolution.layer} differs in {m.differing} of {m.convolution.kernel.size} bits"
        for m in matches
        if m.differing
    ]
    if len(graph.outputs) != len(model.outputs):
        raise ElLarqError(f"verify: the .tflite has {len(graph.outputs)} outputs, the model {len(model.outputs)}")
    segments = Segments(model, content, matches, source)
    largest = max((tensor.elements for tensor in graph.tensors if not tensor.constant), default=1)
    step = max(1, min(len(images[0]), _BATCH_VALUES // max(1, segments.values_per_image, largest)))
    starts = range(0, len(images[0]), step)
    rounded = any(tensor.type == "int8" and tensor.step and not tensor.constant for tensor in graph.tensors)
    limits = (QUANTIZED_TOLERANCE, QUANTIZED_TOLERANCE) if rounded else (OUTPUT_TOLERANCE, TIE_TOLERANCE)

    def judged(reference: DoublePrecision | None = None) -> Verification:
        parts = ([batch[start : start + step] for batch in images] for start in starts)
        batches = [_Batch(segments.compare(part, reference), limits[1]) for part in parts]
        return replace(_judge(batches, model.output_names, data, list(failures), limits[0]), layers=tuple(segments.layers))

    result = judged()
    if failures or not result.failures or rounded:
        return result
    reference = segments.double_precision()
    return result if reference is None else judged(reference)


class _Batch:
    """The figures of a batch that `_judge` needs, since the outputs may be too large to keep.

    largest: the largest |value| of each output of the model. differences: the largest difference by output and image, from the
    same signs; differences_alone: the same for the model with its own signs. roundings: how far rounding moves the model's
    outputs, from the same signs, likewise. decisions: of the .tflite and the model with its own signs; fed_decisions: from the same
    signs; own_decisions: of the model in single and double precision. Those of double precision are None if it was not needed.
    """

    def __init__(self, compared: SegmentComparison, tied: float):
        self.flips = compared.flips
        self.finite = all(np.isfinite(got).all() for got in compared.computed)
        self.largest = [float(np.abs(wanted).max()) for wanted in compared.given]
        self.differences = _differences(compared.given, compared.computed)
        self.differences_alone = _differences(compared.alone, compared.computed)
        self.decisions = Decisions(compared.alone, compared.computed, tied)
        self.roundings = self.own_decisions = self.fed_decisions = None
        if compared.exact_alone is not None:
            self.roundings = compared.roundings
            self.own_decisions = Decisions(compared.exact_alone, compared.alone, tied)
            self.fed_decisions = Decisions(compared.given, compared.computed, tied)


def _differences(wanted: list[np.ndarray], got: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.abs(a - b).reshape(len(a), -1).max(axis=1) for a, b in zip(wanted, got, strict=True)])


def _judge(batches: list[_Batch], names: tuple[str, ...], data: str, failures: list[str], limit: float) -> Verification:
    flips = [flip for batch in batches for flip in batch.flips]
    count = len(flips)
    flipped = np.array([flip is not None for flip in flips])
    scale = np.max([batch.largest for batch in batches], axis=0)[:, None]
    scale[scale == 0] = 1
    differences = np.concatenate([batch.differences for batch in batches], axis=1) / scale
    difference = float(differences.max())
    alone = (np.concatenate([batch.differences_alone for batch in batches], axis=1) / scale).max(axis=0)
    if not all(batch.finite for batch in batches):
        failures.append("its output is not finite")
    sensitivity = _sensitivity(batches, scale)
    rounding = 0.0 if sensitivity is None else np.minimum(ROUNDINGS * sensitivity.roundings, LARGEST_ROUNDING)
    if not float((differences - rounding).max()) <= limit:
        own = "" if sensitivity is None else f"; rounding moves the model's own by {sensitivity.roundings.max():.1e}"
        failures.append(f"outputs differ by {difference:.1e} of the largest one from the same signs (limit {limit:g}{own})")
    inexcusable = [flip for flip in flips if flip is not None and flip.worst > FLIP_TOLERANCE]
    if inexcusable:
        worst = max(inexcusable, key=lambda flip: flip.worst)
        failures.append(
            f"in {len(inexcusable)} of {counted(count, 'image')} signs flip that are not within rounding of zero, worst at the "
            f"input of {worst.layer} (there {worst.worst:.1e} of the tensor's RMS; limit {FLIP_TOLERANCE:g})"
        )
    agreed = agreements([batch.decisions for batch in batches])
    failures += disagreements(agreed, sensitivity, names, count)
    least = agreed[0] if agreed else Agreement(0, 1.0, 0)
    return Verification(
        count,
        data,
        difference,
        float(alone[flipped].max(initial=0.0)),
        int(flipped.sum()),
        max((flip.worst for flip in flips if flip is not None), default=0.0),
        least.share,
        least.classes,
        tuple(failures),
        top1_outputs=len(agreed),
        rounding=None if sensitivity is None else float(sensitivity.roundings.max()),
        own_agreement=None if sensitivity is None else min(sensitivity.own.values(), default=1.0),
    )


@dataclass(frozen=True)
class Sensitivity:
    """What rounding does to the model.

    roundings: how far it moves each output at most, from the same signs, as a share of the largest value, (outputs, 1). own: by
    output, the share of images with the same top-1 in both precisions. fed: the same for the .tflite and the model from the same
    signs.
    """

    roundings: np.ndarray
    own: dict[int, float]
    fed: dict[int, float]


def _sensitivity(batches: list[_Batch], scale: np.ndarray) -> Sensitivity | None:
    roundings = [batch.roundings for batch in batches if batch.roundings is not None]
    if not roundings:
        return None
    shares = [
        {agreement.output: agreement.share for agreement in agreements([decisions for decisions in found if decisions is not None])}
        for found in ([batch.own_decisions for batch in batches], [batch.fed_decisions for batch in batches])
    ]
    return Sensitivity(np.concatenate(roundings, axis=1).max(axis=1, keepdims=True) / scale, *shares)


def disagreements(agreed: list[Agreement], sensitivity: Sensitivity | None, names: tuple[str, ...], count: int) -> list[str]:
    """The output whose top-1 agrees for too few images."""
    # Of fewer than 100 images, one may change its class because of an excused flip.
    usual = min(TOP1_AGREEMENT, 1 - 1 / count)
    for agreement in agreed:
        which = f" of output {names[agreement.output]}" if len(names) > 1 else ""
        limit = usual
        if sensitivity is not None:
            # Rounding changes this many decisions, and here both sides round; three standard deviations are added.
            own = (1 - sensitivity.own[agreement.output]) * count
            limit = min(usual, 1 - (2 * own + 3 * math.sqrt(own)) / count)
            if sensitivity.fed[agreement.output] < usual:
                share = sensitivity.fed[agreement.output]
                return [f"top-1{which} from the same signs agrees for only {share:.1%} of the images (limit {usual:.0%})"]
        if agreement.share < limit:
            return [f"top-1{which} agrees for only {agreement.share:.1%} of the images (limit {limit:.0%})"]
    return []
