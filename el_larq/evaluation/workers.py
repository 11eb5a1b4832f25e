"""Running a .tflite on all cores: LCE's interpreter holds Python's lock and predicts one image after another, so each core
gets a process of its own. A file that crashes the interpreter then takes a worker down and not the command.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np

from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError

# Chunks that wait at each worker: enough that none is idle, few enough to stop soon.
_AHEAD = 2

_state: dict[str, Any] = {}
"""In a worker: the model's file and, from the first chunk on, its interpreter."""


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Processes that each hold one .tflite; started once, by spawning, with the indirect kernel and XNNPACK on.

    Use it as a context manager, so that no process stays behind.
    """

    def __init__(self, content: bytes, source: str, preprocessing: Preprocessing, count: int | None = None):
        self.source = source
        self.count = count or available_cores()
        self._pool = ProcessPoolExecutor(
            self.count, multiprocessing.get_context("spawn"), initializer=_remember, initargs=(content, source, preprocessing)
        )

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            # Nobody wants the chunks in work any more; waiting for them would hold up who pressed Ctrl-C.
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, images: np.ndarray, chunk: int, start: int = 0) -> Iterator[np.ndarray]:
        """The first output of uint8 images (N, H, W, C) from ``start`` on, in order, a chunk at a time.

        Raises:
            ElLarqError: the interpreter refuses the model, or dies over it.
        """
        waiting: deque[Future[np.ndarray]] = deque()
        position = start
        try:
            while position < len(images) or waiting:
                while position < len(images) and len(waiting) < _AHEAD * self.count:
                    waiting.append(self._pool.submit(_predict, images[position : position + chunk]))
                    position += chunk
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise ElLarqError(
                f"{self.source}: a process that ran it has died; the file is damaged, or memory has run out: "
                "convert it again, or use fewer --workers"
            ) from None


def _remember(content: bytes, source: str, preprocessing: Preprocessing) -> None:
    # Ctrl-C goes to every process of a terminal; the command ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _state.update(content=content, source=source, preprocessing=preprocessing)


def _predict(images: np.ndarray) -> np.ndarray:
    # Loaded here and not when the process starts, so that a refusal reaches the command with its reason.
    if "interpreter" not in _state:
        import el_larq  # noqa: F401  (first: it selects Keras 2)
        from el_larq.native_output import captured_stderr

        with captured_stderr():
            from el_larq.interpreter import Interpreter

            _state["interpreter"] = Interpreter(_state["content"], source=_state["source"])
    return _state["interpreter"].run_real(_state["preprocessing"].scale(images))
