"""Runs an untrusted .tflite: LCE's interpreter in a separate process, with limits on memory and time.

The interpreter does not validate its file: one altered byte can crash it, hang it, or make it allocate all memory.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from el_larq.errors import ElLarqError
from el_larq.memory_limit import limit_memory
from el_larq.tflite.reader import parse
from el_larq.worker_process import MEMORY, Died, WorkerProcess, notify

SECONDS_TO_START = 600
SECONDS_TO_LOAD = 60
SECONDS_AN_IMAGE = 20
"""Limits in seconds for: starting Python from a slow disk; loading a file; running it on one image."""

if TYPE_CHECKING:
    from el_larq.tflite.interpreter import RawRun

_state: dict[str, Any] = {}
"""The interpreter of this process."""


class LimitedInterpreter:
    """`el_larq.tflite.interpreter.Interpreter` in another process. Use it as a context manager, which ends the process.

    Arguments:
        trust: set no limits. A trusted file runs in another process too, since it may also crash.

    Raises:
        ElLarqError: the content is not a .tflite, LCE refuses to load it, or it crashes, hangs or exceeds the memory limit.
    """

    def __init__(self, content: bytes, *, source: str = "the .tflite", trust: bool = False):
        self.graph = parse(content, source)
        self.source, self._content, self._trust = source, content, trust
        self._opened = False
        self.process = WorkerProcess()

    def __enter__(self) -> "LimitedInterpreter":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.close()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image, as given in the file."""
        return tuple(self.graph.inputs[0].shape[1:]) if self.graph.inputs else ()

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """As `Interpreter.run`."""
        self.begin(_run, images)
        return self.finish(len(images))

    def run_real(self, images: np.ndarray, position: int = 0) -> np.ndarray:
        """As `Interpreter.run_real`."""
        self.begin(_run_real, images, position)
        return self.finish(len(images))

    def run_raw(self, images: np.ndarray, position: int = 0) -> "RawRun":
        """As `Interpreter.run_raw`."""
        self.begin(_run_raw, images, position)
        return self.finish(len(images))

    def begin(self, function: Any, images: np.ndarray, *arguments: Any) -> None:
        """Start ``function(interpreter, images, *arguments)`` in the process; it must be a module-level function."""
        try:
            if not self._opened:
                self.process.send(_open_and_call, self._content, self.source, self._trust, function, images, *arguments)
            else:
                self.process.send(_call, function, images, *arguments)
        except Died as error:
            raise self._clear(error) from None

    def finish(self, images: int) -> Any:
        """The result of the call that `begin` started. The time limit grows with the number of images."""
        seconds = None if self._trust else SECONDS_TO_LOAD + SECONDS_AN_IMAGE * images
        try:
            result = self.process.receive(seconds, first=seconds if self._opened or seconds is None else SECONDS_TO_START)
        except Died as error:
            raise self._clear(error) from None
        self._opened = True
        return result

    def _clear(self, error: Died) -> ElLarqError:
        return clear_death(error, self.source)


def clear_death(error: Died, source: str) -> ElLarqError:
    """The error to raise when the process that ran a file has ended."""
    return ElLarqError(
        f"{source}: the process that ran it {error}: the file is damaged or malicious, or memory has run out; "
        "convert it again, or, if you know who made it, use --trust to run it without limits"
    )


def _open_and_call(content: bytes, source: str, trust: bool, function: Any, images: np.ndarray, *arguments: Any) -> Any:
    from el_larq.native_output import captured_stderr

    with captured_stderr():
        from el_larq.tflite.interpreter import Interpreter, import_interpreter

        import_interpreter()
        if not trust:
            limit_memory(MEMORY)
        notify("ready")
        _state["interpreter"] = Interpreter(content, source=source)
    return _call(function, images, *arguments)


def _call(function: Any, images: np.ndarray, *arguments: Any) -> Any:
    from el_larq.native_output import captured_stderr

    interpreter = _state["interpreter"]
    with captured_stderr():
        try:
            return function(interpreter, images, *arguments)
        except MemoryError:
            raise ElLarqError(
                f"{interpreter.source}: needs more memory than the limit; "
                "if you know who made it, use --trust to run it without limits"
            ) from None


def _run(interpreter: Any, images: np.ndarray) -> list[np.ndarray]:
    # LCE compares types by identity, and an array received through a pipe has a different type object.
    return interpreter.run(images.astype(images.dtype.type))


def _run_raw(interpreter: Any, images: np.ndarray, position: int) -> "RawRun":
    return interpreter.run_raw(images.astype(images.dtype.type), position)


def _run_real(interpreter: Any, images: np.ndarray, position: int) -> np.ndarray:
    return interpreter.run_real(images, position)
