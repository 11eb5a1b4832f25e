"""Step `verify`: the .tflite computes what the model computes, on real images where there are some.

Two correct implementations of a BNN cannot agree to the last digit: a value within rounding of zero may take the other sign,
and one flipped bit moves an output by a hundredth. So the signs themselves are compared, at the input of every binary
convolution:

1. kernels      every packed kernel equals the model's signs
2. outputs      images without a flipped sign agree to OUTPUT_TOLERANCE of the largest output
3. flips        in an image with flips, the first tensor that has any (in the order of execution) has them only where its value
                is at most FLIP_TOLERANCE of that tensor's root mean square; flips further on follow from those
4. decisions    top-1 agrees for at least TOP1_AGREEMENT of the images, of fewer than a hundred for all but one
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from el_larq import card
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph import Convolution, find_convolutions
from el_larq.converters.job import Job
from el_larq.converters.match import Match, match, unpack_bits
from el_larq.converters.rewrite import with_outputs
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.registry import check_dataset, load_dataset
from el_larq.errors import ElLarqError
from el_larq.interpreter import Interpreter

OUTPUT_TOLERANCE = 1e-3
FLIP_TOLERANCE = 1e-4
TOP1_AGREEMENT = 0.99

# Values that are held in memory at once while the tensors of a batch are compared.
_BATCH_VALUES = 2**26
# Values of all images together: of very large ones, fewer are compared than were asked for.
_ALL_VALUES = 2**28


@dataclass
class LayerSigns:
    """Signs at the input of one binary convolution: how many were compared, how many flipped, and the worst flip.

    worst: largest |value| / RMS of a flip. A layer with more than rounding flips is the first to show a fault that lies between it
    and the binary convolution before it.
    """

    layer: str
    compared: int = 0
    flipped: int = 0
    worst: float = 0.0


@dataclass(frozen=True)
class Verification:
    """What the comparison found. Differences are shares of the largest output of the model over all images.

    max_difference: over images without flips; max_difference_flipped: over the others.
    worst_flip: the largest excused |value| / RMS of a first flip.
    classes: how many classes the model predicted; 0 where its output is no vector of logits.
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

    @property
    def summary(self) -> str:
        text = f"{self.images} images of {self.data}: max difference {self.max_difference:.1e} of the largest output"
        if self.flipped_images == self.images:
            text = f"{self.images} images of {self.data}: none without a flipped sign to compare outputs on"
        if self.flipped_images:
            text += (
                f"; in {self.flipped_images} images signs within rounding of zero flipped (there {self.max_difference_flipped:.1e})"
            )
        return text + (f"; top-1 agrees for {self.top1_agreement:.1%}" if self.classes else "")


def verify(job: Job) -> Job:
    images, data = _images(job)
    result = verify_model(job.need_original(), job.need_tflite(), images, data)
    if result.failures:
        raise ElLarqError(f"verify: the .tflite departs from the model: {'; '.join(result.failures)}{_by_layer(job, result)}")
    return job.done(result.summary, asdict(result))


def _by_layer(job: Job, result: Verification) -> str:
    if not job.options.by_layer:
        return "; --by-layer says where"
    rows = [f"{r.layer} {r.flipped} of {r.compared:,} signs (worst {r.worst:.1e})" for r in result.layers if r.flipped]
    return f"; in order of execution: {', '.join(rows) or 'no sign departs, so the fault lies behind the last binary convolution'}"


def _images(job: Job) -> tuple[np.ndarray, str]:
    """Test images of the data set asked for, or of the card's; else random ones, said so."""
    shape = job.need_original().input_shape
    count = job.options.verify_images
    count = max(1, min(count, _ALL_VALUES // max(1, math.prod(shape))))
    asked = job.options.verify_on
    name = asked or (job.card.get("dataset") or {}).get("name")
    if name is not None and (asked or _is_here(name)):
        size = shape[0] if len(shape) == 3 and shape[0] == shape[1] else None
        data = load_dataset(name, size, preprocessing=_preprocessing(job, shape))
        if data.preprocessing.input_shape == shape:
            return data.test_images(count)[0], name
        if asked:
            raise ElLarqError(f"verify: {asked} has images of {data.preprocessing.input_shape}, the model takes {shape}")
    return np.random.default_rng(0).standard_normal((count, *shape), np.float32), "random numbers"


def _is_here(name: object) -> bool:
    """Models are converted on machines that do not have what they were trained on."""
    try:
        check_dataset(str(name))
    except ElLarqError:
        return False
    return True


def _preprocessing(job: Job, shape: tuple[int, ...]) -> Preprocessing | None:
    """The card's, where it fits the model."""
    found = card.preprocessing(job.card, "verify")
    return found if found is not None and found.input_shape == shape else None


def verify_model(model: FrozenModel, content: bytes, images: np.ndarray, data: str = "the given data") -> Verification:
    """Compare a model with a .tflite on images (N, H, W, C)."""
    plain = Interpreter(content)
    matches = match(find_convolutions(model), plain.graph)
    failures = [
        f"kernel of {m.convolution.layer} differs in {m.differing} of {m.convolution.kernel.size} bits"
        for m in matches
        if m.differing
    ]
    probe = _Probe(model, content, plain, [m for m in matches if m.convolution.signs is not None])
    reference, count = model.fetch(model.outputs), len(plain.graph.outputs)
    if count != len(model.outputs):
        raise ElLarqError(f"verify: the .tflite has {count} outputs, the model {len(model.outputs)}")
    largest = max((tensor.elements for tensor in plain.graph.tensors if not tensor.constant), default=1)
    step = max(1, min(len(images), _BATCH_VALUES // max(1, probe.values_per_image, largest)))
    wanted: list[list[np.ndarray]] = [[] for _ in model.outputs]
    got: list[list[np.ndarray]] = [[] for _ in model.outputs]
    flips: list[_Flip | None] = []
    for start in range(0, len(images), step):
        batch = images[start : start + step]
        computed = plain.run(batch)
        for number, values in enumerate(reference(batch)):
            wanted[number].append(values)
            got[number].append(computed[number].reshape(values.shape))
        flips += probe.first_flips(batch)
    outputs = [(np.concatenate(w), np.concatenate(g)) for w, g in zip(wanted, got, strict=True)]
    return replace(_judge(outputs, flips, data, failures), layers=tuple(probe.layers))


@dataclass(frozen=True)
class _Flip:
    layer: str
    count: int
    worst: float


class _Probe:
    """The same flatbuffer with the packed inputs of its binary convolutions as further outputs, beside their Keras values."""

    def __init__(self, model: FrozenModel, content: bytes, plain: Interpreter, matches: list[Match]):
        first: dict[int, Match] = {}
        for m in matches:
            packed = m.operator.inputs[0]
            assert packed is not None
            first.setdefault(packed.index, m)
        self._matches = list(first.values())
        self.layers = [LayerSigns(m.convolution.layer) for m in self._matches]
        self._outputs = len(plain.graph.outputs)
        self._fetch: Callable[[np.ndarray], list[np.ndarray]] | None = None
        # A kernel may be used more than once, and does not tell which use is which: the signs themselves do.
        signs: dict[str, Any] = {}
        by_kernel: dict[bytes, set[str]] = {}
        for m in matches:
            assert m.convolution.signs is not None
            signs[m.convolution.signs.name] = m.convolution.signs
            by_kernel.setdefault(_key(m.convolution), set()).add(m.convolution.signs.name)
        position = {name: index for index, name in enumerate(signs)}
        self._candidates = [sorted(position[name] for name in by_kernel[_key(m.convolution)]) for m in self._matches]
        if first:
            self._interpreter = Interpreter(with_outputs(content, list(first)))
            self._fetch = model.fetch(list(signs.values()))
        self.values_per_image = sum(
            int(np.prod(m.operator.inputs[0].shape[1:-1])) * m.operator.options["channels_in"] for m in self._matches
        )

    def first_flips(self, images: np.ndarray) -> list[_Flip | None]:
        """For each image, the first tensor in order of execution with a flipped sign; None for an image without."""
        result: list[_Flip | None] = [None] * len(images)
        if self._fetch is None:
            return result
        values = self._fetch(images)
        packed = self._interpreter.run(images)[self._outputs :]
        for number, (m, record, words) in enumerate(zip(self._matches, self.layers, packed, strict=True)):
            candidates = [values[index] for index in self._candidates[number]]
            differing = [unpack_bits(words, x.shape[-1]).reshape(x.shape) != (x < 0) for x in candidates]
            nearest = int(np.argmin([np.sum(differs) for differs in differing]))
            self._candidates[number] = [self._candidates[number][nearest]]
            x, differs = candidates[nearest], differing[nearest]
            record.compared += x.size
            record.flipped += int(differs.sum())
            for index in np.flatnonzero(differs.reshape(len(x), -1).any(axis=1)):
                scale = np.sqrt(np.mean(np.square(x[index], dtype=np.float64))) or 1.0
                worst = float(np.abs(x[index][differs[index]]).max() / scale)
                record.worst = max(record.worst, worst)
                if result[index] is None:
                    result[index] = _Flip(m.convolution.layer, int(differs[index].sum()), worst)
        return result


def _key(convolution: Convolution) -> bytes:
    """The same for kernels that `match` cannot tell apart: of the same signs, up to those of whole filters."""
    negative = convolution.kernel < 0
    return repr(negative.shape).encode() + np.packbits(negative ^ negative[(0,) * (negative.ndim - 1)]).tobytes()


def _judge(outputs: list[tuple[np.ndarray, np.ndarray]], flips: list[_Flip | None], data: str, failures: list[str]) -> Verification:
    count = len(flips)
    difference = np.max([_difference(wanted, got) for wanted, got in outputs], axis=0)
    flipped = np.array([flip is not None for flip in flips])
    clean = float(difference[~flipped].max(initial=0.0))
    if not all(np.isfinite(got).all() for _, got in outputs):
        failures.append("its output is not finite")
    if not clean <= OUTPUT_TOLERANCE:
        failures.append(f"outputs differ by {clean:.1e} of the largest one where no sign flipped (limit {OUTPUT_TOLERANCE:g})")
    inexcusable = [flip for flip in flips if flip is not None and flip.worst > FLIP_TOLERANCE]
    if inexcusable:
        worst = max(inexcusable, key=lambda flip: flip.worst)
        failures.append(
            f"in {len(inexcusable)} of {count} images signs flip that are not within rounding of zero, first at the input of "
            f"{worst.layer} (there {worst.worst:.1e} of the tensor's RMS; limit {FLIP_TOLERANCE:g})"
        )
    wanted, got = outputs[0]
    logits = wanted.ndim == 2 and wanted.shape[1] > 1
    agreement = float(np.mean(wanted.argmax(-1) == got.argmax(-1))) if logits else 1.0
    # Of fewer than a hundred images, one may turn on an excused flip.
    if agreement < min(TOP1_AGREEMENT, 1 - 1 / count):
        failures.append(f"top-1 agrees for {agreement:.1%} of the images only (limit {TOP1_AGREEMENT:.0%})")
    return Verification(
        count,
        data,
        clean,
        float(difference[flipped].max(initial=0.0)),
        int(flipped.sum()),
        max((flip.worst for flip in flips if flip is not None), default=0.0),
        agreement,
        len(np.unique(wanted.argmax(-1))) if logits else 0,
        tuple(failures),
    )


def _difference(wanted: np.ndarray, got: np.ndarray) -> np.ndarray:
    """By image, the largest difference as a share of the largest value over all images."""
    scale = float(np.abs(wanted).max()) or 1.0
    return np.abs(wanted - got).reshape(len(wanted), -1).max(axis=1) / scale
