"""Running a .tflite on all cores. LCE's interpreter holds Python's global lock and predicts one image after another, so each core
gets its own process, with limits. A file that crashes the interpreter then ends a worker and not the command.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from el_larq.data.preprocessing import Preprocessing
from el_larq.tflite.limited_interpreter import SECONDS_AN_IMAGE, LimitedInterpreter
from el_larq.worker_process import WorkerProcess, first_ready


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Processes that each run the same .tflite, with the indirect kernel and XNNPACK; they are spawned once, by the constructor.

    Use it as a context manager, so that no process is left running.

    Arguments:
        count: number of processes; None for one per core.
        position: that of the output to return.

    Raises:
        ElLarqError: the content is not a .tflite.
    """

    def __init__(
        self,
        content: bytes,
        source: str,
        preprocessing: Preprocessing,
        count: int | None = None,
        *,
        position: int = 0,
        trust: bool = False,
    ):
        self.source = source
        self.preprocessing, self.position = preprocessing, position
        self.workers: list[LimitedInterpreter] = []
        for _ in range(count or available_cores()):
            self.workers.append(LimitedInterpreter(content, source=source, trust=trust))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *reason: object) -> None:
        # The results of unfinished chunks are no longer needed, neither after the last one nor after Ctrl-C.
        for worker in self.workers:
            worker.__exit__(*reason)

    def run(self, images: np.ndarray, chunk: int, start: int = 0) -> Iterator[np.ndarray]:
        """The outputs for uint8 images (N, H, W, C) from ``start`` on, in order, one chunk at a time.

        Raises:
            ElLarqError: the interpreter rejects the model, crashes or does not return.
        """
        idle = list(self.workers)
        busy: dict[WorkerProcess, tuple[LimitedInterpreter, int]] = {}
        done: dict[int, np.ndarray] = {}
        position = wanted = start
        try:
            while wanted < len(images):
                while idle and position < len(images):
                    worker = idle.pop()
                    worker.begin(_predict, images[position : position + chunk], self.preprocessing, self.position)
                    busy[worker.process] = worker, position
                    position += chunk
                # If no worker answers in time, `finish` applies its own time limit to the first one.
                processes = list(busy)
                process = first_ready(processes, SECONDS_AN_IMAGE) or processes[0]
                worker, at = busy[process]
                done[at] = worker.finish(min(chunk, len(images) - at))
                del busy[process]
                idle.append(worker)
                while wanted in done:
                    yield done.pop(wanted)
                    wanted += chunk
        finally:
            # Busy workers would send their results to a later call of this method.
            for process in busy:
                process.close()


def _predict(interpreter: Any, images: np.ndarray, preprocessing: Preprocessing, position: int) -> np.ndarray:
    return interpreter.run_real(preprocessing.scale(images), position)
