"""Determines whether a benchmark binary runs LCE's optimized binary convolution, or silently the reference one.

LCE's documented CMake build disables RUY, and then registers the reference kernel: 56.2 M instead of 5.09 M instructions for a
small model on aarch64, counted under qemu. The log does not show this, but a comparison does: with `--use_reference_bconv=true`
an optimized binary becomes slower and a reference build does not.
"""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from el_larq.devices.benchmark import BenchmarkPlan, BenchmarkSession
from el_larq.devices.engine import registers_bitcast
from el_larq.devices.probe import is_x86
from el_larq.devices.record import Record
from el_larq.devices.target import Target
from el_larq.errors import ElLarqError
from el_larq.tflite.operators import BINARY

SLOWER_RATIO = 1.15
"""Ratio from which the reference kernel counts as slower. For a reference build it is 1 within the measurement noise."""


@dataclass(frozen=True)
class Verdict:
    """Which kernel runs, and the times that show it.

    kernel: "optimized", "reference", or "none" if LCE has no optimized kernel for the processor. Times are medians over the
    repeats, in milliseconds. of: what they measure, the binary convolutions if the binary can profile, otherwise the model.
    bitcast: whether the binary contains the operator BITCAST, which `convert` uses for views unless told otherwise; None if not
    examined.
    """

    kernel: str
    sentence: str
    default_ms: float
    reference_ms: float
    ratio: float
    of: str
    bitcast: bool | None = None

    @property
    def about_views(self) -> str:
        """What the binary does with views in place, in one sentence; "" if that was not examined."""
        if self.bitcast is None:
            return ""
        if self.bitcast:
            return "the binary contains BITCAST, which views in place need"
        return "the binary does not contain BITCAST; for it, convert with --views reshape"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check(
    target: Target,
    model: Path,
    *,
    binary: Path | None = None,
    repeat: int = 3,
    folder: str | None = None,
    notify: Callable[[str], None] = lambda line: None,
) -> Verdict:
    """Run a model with and without ``--use_reference_bconv=true``, alternately.

    Raises:
        ElLarqError: it has no binary convolution, the binary is not LCE's, or a run failed.
    """
    plan = BenchmarkPlan((model,), runs=20, binary=binary, repeat=repeat, folder=folder)
    with BenchmarkSession(target, plan, notify) as session:
        (entry,) = session.models
        if not any(operator.name == BINARY for operator in entry.graph.operators):
            raise ElLarqError(
                f"{model.name} contains no binary convolution, so the kernels cannot be compared; give another --model"
            )
        if not session.engine["lce"]:
            raise ElLarqError(f"{session.engine['name']} is not a benchmark binary of LCE; download one with el-larq engine fetch")
        records: dict[str, list[Record]] = {"default": [], "reference": []}
        for number in range(repeat):
            for kind, flags in (("default", ()), ("reference", ("--use_reference_bconv=true",))):
                record, _logs = session.run(entry, 1, repeat=number, profile=True, flags=flags)
                records[kind].append(record)
                notify(f"{kind} kernel, {number + 1} of {repeat}: {record.latency_ms:.3f} ms")
        machine = session.device.machine
        bitcast = registers_bitcast(Path(session.engine["path"]))
    default, reference = (_times(records[kind]) for kind in ("default", "reference"))
    of = "binary convolutions" if records["default"][0].layers else "the model"
    return replace(judge(default, reference, machine, of), bitcast=bitcast)


def _times(records: list[Record]) -> list[float]:
    """Milliseconds of the binary convolutions in each run, or of the model if there is no profile."""
    if all(record.layers for record in records):
        return [sum(layer["ms"] for layer in record.layers if layer["operator"] == BINARY) for record in records]
    return [record.latency_ms for record in records]


def judge(default: list[float], reference: list[float], machine: str, of: str) -> Verdict:
    """The verdict from the times of both kernels, in milliseconds."""
    fast, slow = statistics.median(default), statistics.median(reference)
    ratio = slow / fast if fast > 0 else 1.0
    disjoint = min(reference) > max(default)
    figures = f"{fast:.3f} ms by default, {slow:.3f} ms with the reference kernel, ratio {ratio:.2f}, time of {of}"
    if is_x86(machine):
        kernel, text = "none", f"LCE has no optimized binary kernel for {machine}, so this says nothing about ARM ({figures})"
    elif ratio >= SLOWER_RATIO and disjoint:
        kernel, text = "optimized", f"the optimized kernel runs ({figures})"
    else:
        kernel = "reference"
        text = (
            f"this binary silently runs the slow reference kernel ({figures}): it was built without RUY "
            "(CMake: TFLITE_ENABLE_RUY=ON); use a released binary (el-larq engine fetch)"
        )
    return Verdict(kernel, text, fast, slow, ratio, of)


def build_model(path: Path) -> Path:
    """A .tflite of four binary 3x3 convolutions of 64 channels at 56x56, with random weights; needs TensorFlow and LCE.

    Raises:
        ElLarqError: they are not installed.
    """
    try:
        import larq
        import larq_compute_engine as lce
        import tf_keras as keras
    except ImportError as error:
        raise ElLarqError(
            f"building a model needs TensorFlow and LCE ({error}); give a .tflite with binary convolutions as --model"
        ) from error
    x = image = keras.Input((56, 56, 64))
    for _ in range(4):
        y = larq.layers.QuantConv2D(
            64, 3, padding="same", pad_values=1.0, input_quantizer="ste_sign", kernel_quantizer="ste_sign", use_bias=False
        )(x)
        x = keras.layers.add([x, keras.layers.BatchNormalization()(y)])
    content = lce.convert_keras_model(keras.Model(image, x))
    path.write_bytes(content)
    return path
