"""The data passed through the conversion pipeline."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from el_larq.card import Card
from el_larq.converters.guideline.guideline_options import Guideline
from el_larq.converters.steps import CALIBRATED, VIEWS, WEIGHTS, check_selection, check_stored
from el_larq.data.stated import Stated
from el_larq.detection.non_maximum_suppression import FOR_EVALUATION, Selection
from el_larq.errors import ElLarqError, UsageError, unknown_name
from el_larq.printable import printable
from el_larq.tables import html_table

if TYPE_CHECKING:
    import numpy as np
    import tf_keras as keras

    from el_larq.converters.frozen import FrozenModel
    from el_larq.converters.int8.quantized_file import Quantized


@dataclass(frozen=True)
class Options:
    """The options of a conversion.

    Arguments:
        image_size: static input size for a model without one.
        verify_on: name of the data set to verify with; None uses the one named on the model's card, else random inputs.
        verify_images: number of images to verify with.
        modules: Python modules to import before loading, for custom layers.
        allow: audit rules that may fail, in all layers (RULE) or in one (RULE:LAYER).
        trust: run any code in the model's file, and do not limit its size.
        stated: preprocessing of the images and class names; written to the card.
        views: what makes a view of a float tensor: "bitcast", in place, or "reshape", for runtimes without BITCAST.
        int8: what is quantized to 8 bits: "weights", the kernels of real-valued layers in the file; "full", all operators that can
            compute with int8; "io", inputs and outputs too; None for nothing.
        weights: the type in which these kernels are stored: "float32" or "float16".
        calibrate: for "full" and "io": the name of a data set, whose training images are used, or a .npy file of inputs,
            float32 (N, ...).
        calibration_images: the number of images to calibrate on; None for 256.
        ranges: how ranges are estimated, one of `el_larq.compression.ranges.RANGES`; None for "mse".
        selection: how a detector's boxes are selected; None for the rule that detectors are evaluated with.
        guideline: for "full": quantize a real-valued model by these steps (`el_larq.quantize`); None for ranges alone.
        by_layer: if verification fails, report how many signs differ at each binary convolution.
    """

    image_size: int | None = None
    verify_on: str | None = None
    verify_images: int = 256
    modules: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    by_layer: bool = False
    trust: bool = False
    views: str = VIEWS[0]
    int8: str | None = None
    weights: str = WEIGHTS[0]
    calibrate: str | None = None
    calibration_images: int | None = None
    ranges: str | None = None
    guideline: Guideline | None = None
    selection: Selection | None = None
    stated: Stated = field(default_factory=Stated)

    def __post_init__(self) -> None:
        if self.views not in VIEWS:
            raise unknown_name("kind of view", self.views, VIEWS)
        if self.calibration_images is not None and self.calibration_images < 1:
            raise UsageError(f"calibration: at least 1 image is needed; got {self.calibration_images}")
        check_selection(self.selection or FOR_EVALUATION)
        check_stored(self.int8, self.weights, self.calibrate, self.calibration_images, self.ranges, self.views)

    @property
    def quantizes(self) -> bool:
        """Whether operators are to compute with int8."""
        return self.int8 in CALIBRATED

    @property
    def stored_as(self) -> str | None:
        """The type in which kernels of real-valued layers are stored, None for float32."""
        return "int8" if self.int8 == "weights" else None if self.weights == WEIGHTS[0] else self.weights


@dataclass(frozen=True)
class Entry:
    """One step's entry in the report.

    step: the step's name.
    summary: its result in one sentence.
    seconds: the time it took.
    details: its result as data.
    """

    step: str
    summary: str
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """The state of a conversion. Immutable: each step returns a changed copy.

    destination: the .tflite to write; None writes nothing.
    source: the model's file or folder; None for a model given as an object.
    loaded: the Keras model.
    original: its inference graph, which the result is verified against; never changed.
    model: the graph that the next step works on; rewriting steps replace it.
    anchors: those of a detector, (A, 4) in centre form; None for other models.
    card: what the model says of itself: labels, preprocessing, data set, provenance.
    tflite: the flatbuffer, once lowered.
    unstored: the same with float32 only, if kernels are stored as another type or operators compute with int8.
    quantized: what the step `quantize` made, with float32 inputs and outputs.
    report: one entry per step that has run.
    summary, details: those of the step that has just run.
    """

    destination: Path | None
    options: Options
    source: Path | None = None
    loaded: "keras.Model | None" = None
    original: "FrozenModel | None" = None
    model: "FrozenModel | None" = None
    anchors: "np.ndarray | None" = None
    card: Card = field(default_factory=dict)
    tflite: bytes | None = None
    unstored: bytes | None = None
    quantized: "Quantized | None" = None
    report: tuple[Entry, ...] = ()
    summary: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Job({self._title}: {', '.join(entry.step for entry in self.report) or 'no step has run'})"

    def _repr_html_(self) -> str:
        rows = [(entry.step, f"{entry.seconds:.1f}", entry.summary) for entry in self.report]
        return html_table(self._title, rows, ("step", "seconds", "result"))

    @property
    def _title(self) -> str:
        """What is converted to what: files by their paths, a model that was given as an object by its name."""
        source = self.source if self.source is not None else getattr(self.loaded, "name", "no model")
        return printable(f"{source} -> {self.destination if self.destination is not None else 'memory'}")

    def done(self, summary: str, details: dict[str, Any] | None = None, **changes: Any) -> "Job":
        """The job after a step, with its changes, summary and details."""
        return replace(self, summary=summary, details=details or {}, **changes)

    @property
    def task(self) -> str:
        """`Dataset.task` of the data that the model is for."""
        return "classification" if self.anchors is None else "detection"

    def need_model(self) -> "FrozenModel":
        if self.model is None:
            raise ElLarqError("this step needs a model; run the step 'load' first")
        return self.model

    def need_original(self) -> "FrozenModel":
        if self.original is None:
            raise ElLarqError("this step needs the model as it was loaded; run the step 'load' first")
        return self.original

    def need_tflite(self) -> bytes:
        if self.tflite is None:
            raise ElLarqError("this step needs a .tflite; run the step 'lower' first")
        return self.tflite
