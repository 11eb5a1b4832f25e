"""The target `local`: this machine, in-process, with LCE's interpreter. `local_shell` is for a benchmark binary on this machine.

The numbers only compare models with each other on this machine. LCE has no optimized binary kernel for x86, where a binary
convolution is slower than a real-valued one; on ARM it is faster.
"""

import hashlib
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from el_larq.devices.measurement import Measurement
from el_larq.devices.probe import is_x86
from el_larq.files import read_bytes
from el_larq.memory_limit import limit_memory
from el_larq.native_output import captured_stderr
from el_larq.tflite.interpreter import Interpreter, import_interpreter
from el_larq.tflite.limited_interpreter import SECONDS_TO_LOAD, SECONDS_TO_START, clear_death
from el_larq.tflite.reader import parse
from el_larq.worker_process import MEMORY, Died, WorkerProcess
from el_larq.worker_process import notify as send_to_parent


def measure(
    paths: Sequence[str | Path],
    *,
    threads: Sequence[int] = (1,),
    runs: int = 50,
    warmup: int = 5,
    notify: Callable[[int, int], None] = lambda done, total: None,
    begin: Callable[[str], None] = lambda path: None,
) -> list[Measurement]:
    """Latencies of several models, interleaved run by run, so that other load on the machine slows down all of them.

    The indirect binary kernel and XNNPACK are used; inputs are random. Each latency is that of one whole call of the interpreter,
    including the copies of input and output.

    Arguments:
        runs: number of timed inferences per model and number of threads, after ``warmup`` that are not timed.
        notify: called with the number of finished inferences and the total.
        begin: called with a path before the model is loaded or run.

    Raises:
        ElLarqError: a file is missing or not a .tflite; raised before anything is measured.
    """
    contents = {str(path): read_bytes(path) for path in paths}
    results = []
    total, done = (warmup + runs) * len(contents) * len(threads), 0
    for count in threads:
        interpreters = {}
        for path, content in contents.items():
            begin(path)
            interpreters[path] = Interpreter(content, threads=count, source=path)
        random = np.random.default_rng(0)
        inputs = {path: interpreter.random_inputs(random) for path, interpreter in interpreters.items()}
        latencies: dict[str, list[float]] = {path: [] for path in contents}
        for run in range(warmup + runs):
            for path, interpreter in interpreters.items():
                begin(path)
                start = time.perf_counter()
                interpreter.run(inputs[path])
                elapsed = time.perf_counter() - start
                if run >= warmup:
                    latencies[path].append(1e3 * elapsed)
                done += 1
                notify(done, total)
        for path, content in contents.items():
            sha256 = hashlib.sha256(content).hexdigest()
            results.append(Measurement(path, sha256, "local", count, "indirect, XNNPACK", warmup, tuple(latencies[path])))
    return results


def measure_in_subprocess(
    paths: Sequence[str | Path],
    *,
    threads: Sequence[int] = (1,),
    runs: int = 50,
    warmup: int = 5,
    trust: bool = False,
    notify: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measurement]:
    """`measure` in a subprocess, for files of unknown origin; with limits on memory and time, unless they are trusted.

    Raises:
        ElLarqError: as `measure`; or a file makes LCE's interpreter crash, hang, or exceed the memory limit.
    """
    contents = {str(path): read_bytes(path) for path in paths}
    for path, content in contents.items():
        parse(content, path)
    current = next(iter(contents), "")

    def receive_progress(kind: str, *content: Any) -> None:
        nonlocal current
        if kind == "done":
            notify(*content)
        elif kind == "at":
            (current,) = content

    with WorkerProcess() as worker:
        try:
            worker.send(_measure_in_worker, [str(path) for path in paths], tuple(threads), runs, warmup, trust)
            return worker.receive(None if trust else SECONDS_TO_LOAD, receive_progress, first=None if trust else SECONDS_TO_START)
        except Died as error:
            raise clear_death(error, current) from None


def _measure_in_worker(paths: list[str], threads: tuple[int, ...], runs: int, warmup: int, trust: bool) -> list[Measurement]:
    with captured_stderr():
        import_interpreter()
        if not trust:
            limit_memory(MEMORY)
        return measure(
            paths,
            threads=threads,
            runs=runs,
            warmup=warmup,
            notify=lambda done, total: send_to_parent("done", done, total),
            begin=lambda path: send_to_parent("at", path),
        )


def caveat() -> str:
    """The note to print with latencies of this machine."""
    machine = platform.machine()
    if not is_x86(machine):
        return "measured in-process through Python on this machine"
    return (
        f"measured on {machine}: compare models only with each other; x86 latency is not ARM latency "
        "(LCE has optimized binary kernels for ARM only)"
    )
