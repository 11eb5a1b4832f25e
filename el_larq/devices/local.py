"""The target `local`: this machine, in-process, with LCE's interpreter.

Its numbers compare models with each other on this machine. LCE has no optimized binary kernel for x86, where a binary
convolution is slower than a real-valued one; on ARM it is the other way round.
"""

import hashlib
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from el_larq.devices.result import Measurement
from el_larq.files import read_bytes
from el_larq.interpreter import Interpreter

ARM = ("aarch64", "arm64", "armv7l", "armv8l")


def measure(
    paths: Sequence[str | Path],
    *,
    threads: Sequence[int] = (1,),
    runs: int = 50,
    warmup: int = 5,
    notify: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measurement]:
    """Latencies of several models, interleaved run by run so that whatever slows the machine down slows all of them.

    The indirect binary kernel and XNNPACK are used; inputs are random. Each latency is one whole call of the interpreter,
    which copies the input and the output.

    Arguments:
        runs: how many inferences of each model and number of threads count; ``warmup`` more before them do not.
        notify: called with the inferences done and their total.

    Raises:
        ElLarqError: a file is missing or no .tflite, before anything is measured.
    """
    contents = {str(path): read_bytes(path) for path in paths}
    results = []
    total, done = (warmup + runs) * len(contents) * len(threads), 0
    for count in threads:
        interpreters = {path: Interpreter(content, threads=count, source=path) for path, content in contents.items()}
        random = np.random.default_rng(0)
        inputs = {path: interpreter.random_input(random) for path, interpreter in interpreters.items()}
        latencies: dict[str, list[float]] = {path: [] for path in contents}
        for run in range(warmup + runs):
            for path, interpreter in interpreters.items():
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


def caveat() -> str:
    """What must be said beside the numbers of this machine."""
    machine = platform.machine()
    if machine.lower() in ARM:
        return "measured in-process through Python on this machine"
    return (
        f"measured on {machine}: compare models with each other here, but x86 latency is not ARM latency "
        "(LCE's fast binary kernels exist for ARM only)"
    )
