"""Runs a .tflite in this process with LCE's interpreter."""

from typing import Any

import numpy as np

from el_larq.errors import ElLarqError, summarize
from el_larq.native_output import captured_stderr, cause
from el_larq.tflite.reader import parse


def import_lce() -> Any:
    """Import LCE with its interpreter. This imports TensorFlow; importing el_larq has already selected Keras 2 by then."""
    import larq_compute_engine as lce

    _ = lce.testing.Interpreter
    return lce


class Interpreter:
    """A loaded .tflite.

    On a PC, LCE's indirect kernel is several times faster than its default one, and XNNPACK runs the real-valued operators,
    so both are enabled by default. They change results only by rounding.

    Raises:
        ElLarqError: the content is not a .tflite, LCE refuses to load it, or it does not have exactly one input.
    """

    def __init__(self, content: bytes, *, threads: int = 1, indirect: bool = True, source: str = "the .tflite"):
        self.graph = parse(content, source)
        self.source = source
        lce = import_lce()
        with captured_stderr() as printed:
            try:
                self._interpreter = lce.testing.Interpreter(
                    content, num_threads=threads, use_indirect_bgemm=indirect, use_xnnpack=True
                )
            except (RuntimeError, ValueError) as error:
                reason = f"{summarize(error)}{cause(printed())}"
                raise ElLarqError(f"{source}: LCE's interpreter refuses to load it: {reason}") from error

        if len(self.graph.inputs) != 1:
            raise ElLarqError(f"{source}: has {len(self.graph.inputs)} inputs; only models with one can be run")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image: (height, width, channels) for an image classifier."""
        return tuple(self._interpreter.input_shapes[0][1:])

    def random_input(self, random: np.random.Generator) -> np.ndarray:
        """One input (1, ...) of the model's input type: normally distributed, or integers over the type's range."""
        shape, kind = (1, *self.input_shape), self._interpreter.input_types[0]
        if np.issubdtype(kind, np.integer):
            limits = np.iinfo(kind)
            return random.integers(limits.min, limits.max, shape, kind, endpoint=True)
        return random.standard_normal(shape).astype(kind)

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """All outputs, each (N, ...), for inputs (N, ...) of `input_shape`."""
        if tuple(images.shape[1:]) != self.input_shape:
            raise ElLarqError(f"{self.source}: takes inputs of shape {self.input_shape}; got {tuple(images.shape[1:])}")
        try:
            outputs = self._interpreter.predict(images, verbose=0)
        except (RuntimeError, ValueError) as error:
            raise ElLarqError(f"{self.source}: LCE's interpreter cannot run it: {summarize(error)}") from error
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

    def run_real(self, images: np.ndarray, position: int = 0) -> np.ndarray:
        """One real-valued output (N, ...) for real-valued inputs (N, ...); integers are quantized and dequantized as needed."""
        kind, scale, zero = (getattr(self._interpreter, f"input_{name}")[0] for name in ("types", "scales", "zero_points"))
        if np.issubdtype(kind, np.integer):
            limits = np.iinfo(kind)
            images = np.clip(np.round(images / (scale or 1) + (zero or 0)), limits.min, limits.max)
        output = self.run(images.astype(kind))[position]
        kind, scale, zero = (getattr(self._interpreter, f"output_{name}")[position] for name in ("types", "scales", "zero_points"))
        if np.issubdtype(kind, np.integer):
            return ((output.astype(np.float32) - (zero or 0)) * (scale or 1)).astype(np.float32)
        return output
