"""Runs a .tflite in this process with LCE's interpreter."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import numpy as np

from el_larq.errors import ElLarqError, summarize
from el_larq.native_output import captured_stderr, cause
from el_larq.tflite.reader import parse

_WRAPPER = "larq_compute_engine.tflite.python.interpreter_wrapper_lite"


def import_interpreter() -> Any:
    """LCE's compiled interpreter. It needs nothing else of LCE, whose package would import TensorFlow, for three seconds."""
    if _WRAPPER not in sys.modules:
        package = importlib.util.find_spec("larq_compute_engine")
        folders = (package and package.submodule_search_locations) or []
        spec = PathFinder.find_spec(_WRAPPER, [str(Path(folder, "tflite", "python")) for folder in folders])
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError("No module named 'larq_compute_engine'", name="larq_compute_engine")
        # Under the name by which LCE's package finds it, since it cannot be loaded twice.
        sys.modules[_WRAPPER] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[_WRAPPER])
    return sys.modules[_WRAPPER]


class Interpreter:
    """A loaded .tflite.

    On a PC, LCE's indirect kernel is several times faster than its default one, and XNNPACK runs the real-valued operators,
    so both are enabled by default. They change results only by rounding.

    Raises:
        ElLarqError: the content is not a .tflite, or LCE refuses to load it.
    """

    def __init__(self, content: bytes, *, threads: int = 1, indirect: bool = True, source: str = "the .tflite"):
        self.graph = parse(content, source)
        self.source = source
        create = import_interpreter().LiteInterpreter
        reference, xnnpack = False, True
        with captured_stderr() as printed:
            try:
                self._interpreter = create(content, threads, reference, indirect, xnnpack)
            except (RuntimeError, ValueError) as error:
                reason = f"{summarize(error)}{cause(printed())}"
                raise ElLarqError(f"{source}: LCE's interpreter refuses to load it: {reason}") from error

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one value of the only input, or of the first one: (height, width, channels) for an image classifier."""
        return self.input_shapes[0]

    @property
    def input_shapes(self) -> list[tuple[int, ...]]:
        """The shape of one value of each input, in the file's order."""
        return [tuple(shape[1:]) for shape in self._interpreter.input_shapes]

    def random_inputs(self, random: np.random.Generator) -> list[np.ndarray]:
        """A value (1, ...) of each input's type: normally distributed, bytes over their range, or wider integers of 0 and 1.

        Wider integers, and real numbers that the file casts, are often indices, of which only the smallest are certain to exist.
        """
        values = []
        cast = {operator.inputs[0] for operator in self.graph.operators if operator.name == "CAST"}
        for tensor, shape, kind in zip(self.graph.inputs, self.input_shapes, self._interpreter.input_types, strict=True):
            if np.issubdtype(kind, np.floating) and tensor in cast:
                values.append(random.integers(0, 1, (1, *shape), endpoint=True).astype(kind))
            elif np.issubdtype(kind, np.integer):
                low, high = (np.iinfo(kind).min, np.iinfo(kind).max) if np.dtype(kind).itemsize == 1 else (0, 1)
                values.append(random.integers(low, high, (1, *shape), kind, endpoint=True))
            else:
                values.append(random.standard_normal((1, *shape)).astype(kind))
        return values

    def run(self, images: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
        """All outputs, each (N, ...), for a batch (N, ...) of the only input, or one of each input in the file's order."""
        batches = [images] if isinstance(images, np.ndarray) else list(images)
        shapes = [tuple(batch.shape[1:]) for batch in batches]
        if shapes != self.input_shapes:
            expected, got = (" and ".join(map(str, found)) for found in (self.input_shapes, shapes))
            raise ElLarqError(f"{self.source}: takes inputs of shape {expected}; got {got}")
        try:
            each = [self._interpreter.predict([value[None] for value in image]) for image in zip(*batches, strict=True)]
        except (RuntimeError, ValueError) as error:
            raise ElLarqError(f"{self.source}: LCE's interpreter cannot run it: {summarize(error)}") from error
        return [np.concatenate(values) for values in zip(*each, strict=True)]

    def run_real(self, images: np.ndarray, position: int = 0) -> np.ndarray:
        """One real-valued output (N, ...) for real-valued inputs (N, ...); integers are quantized and dequantized as needed."""
        return self.run_raw(images, position).real

    def run_raw(self, images: np.ndarray, position: int = 0) -> "RawRun":
        """`run` for real-valued inputs (N, ...), with what the file itself takes and puts out."""
        kind, scale, zero = (getattr(self._interpreter, f"input_{name}")[0] for name in ("types", "scales", "zero_points"))
        if np.issubdtype(kind, np.integer):
            limits = np.iinfo(kind)
            images = np.clip(np.round(images / (scale or 1) + (zero or 0)), limits.min, limits.max)
        inputs = images.astype(kind)
        scale, zero = (getattr(self._interpreter, f"output_{name}")[position] for name in ("scales", "zero_points"))
        return RawRun(inputs, tuple(self.run(inputs)), position, scale or 1, zero or 0)


@dataclass(frozen=True)
class RawRun:
    """Inputs (N, ...) and all outputs (N, ...) in the file's own types.

    position: of the output that `real` gives. scale, zero: of this output, if it is quantized.
    """

    inputs: np.ndarray
    outputs: tuple[np.ndarray, ...]
    position: int
    scale: float
    zero: int

    @property
    def real(self) -> np.ndarray:
        return self.dequantize(self.outputs[self.position])

    def dequantize(self, output: np.ndarray) -> np.ndarray:
        """Real values for the output at ``position``, also one that was computed elsewhere."""
        if np.issubdtype(output.dtype, np.integer):
            return ((output.astype(np.float32) - self.zero) * self.scale).astype(np.float32)
        return output
