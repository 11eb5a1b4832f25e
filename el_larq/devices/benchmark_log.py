"""Parses the output of the benchmark tool of TensorFlow Lite, LCE or LiteRT.

The tool has no machine-readable output that all its versions share, so its log is parsed. A run counts only if its final timings
line is complete, including the line end, and agrees with the statistics before it: `adb shell` returns 0 for a truncated run.
Supported formats, all of which are in tests/data/logs or in the tests: LCE 0.16 and TensorFlow 2.14 (`INFO: ` before each line),
2020 (no prefix, `Peak memory footprint`), 2019 (`Average inference timings in us: Warmup: .., Init: .., no stats: ..`), LiteRT
(`p5= median= p95=`, or a block of results in ms), and each with carriage returns or with a time stamp before the line.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

_NUMBER = r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|nan|inf|-nan|-inf)"
_FIELD = re.compile(rf"\b(\w+)={_NUMBER}(?![\w.])")
# The profile has its own statistics: "Timings (microseconds): count=22 ...", "Memory (bytes): count=0".
_COUNT = re.compile(r"(?<![\w=])count=\d+")
_NO_COUNT = re.compile(r"(?:Timings|Memory) \([a-z]+\):")
_FINAL = re.compile(
    rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}\s*$"
)
_FINAL_2019 = re.compile(
    rf"Average inference timings in us: Warmup: {_NUMBER}, Init: {_NUMBER}, (?:no stats|Inference): {_NUMBER}\s*$"
)
_FINAL_BLOCK = re.compile(rf"(?:^|\s)Inference \(avg\):\s+{_NUMBER} ms \((\d+) runs\)\s*$")
_BLOCK = re.compile(
    rf"(?:^|\s)(Model initialization|Warmup \(first\)|Warmup \(avg\)|Inference \(min\)|Inference \(max\)|Inference \(std\)|"
    rf"Init footprint|Overall footprint|Peak memory):\s+{_NUMBER}(?: ms| MB|\s*$)"
)
_STARTED = re.compile(r"(?:^|\s)STARTING!\s*$")
_LINES: dict[str, re.Pattern[str]] = {
    "model_size_mb": re.compile(rf"The input model file size \(MB\): {_NUMBER}\s*$"),
    "peak_mem_mb": re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: {_NUMBER}\s*$"),
}
_FOOTPRINT = re.compile(
    rf"(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): init={_NUMBER} overall={_NUMBER}\s*$"
)
_ERROR = re.compile(r"(?:^|\s)ERROR: (.*\S)")
_WARNING = re.compile(r"(?:^|\s)(?:WARN|WARNING): (.*\S)")
# Errors that the oldest binaries print without "ERROR: ".
_BARE_ERROR = re.compile(
    r"^(Failed to (?:load model|allocate tensors|initialize).*|Benchmarking failed\.?|Could not open '.*|"
    r"Encountered unresolved custom op: .*|Aborting.*)\s*$"
)
_KB = 1024.0
# The statistics and the final line print the same average with six digits.
_RELATIVE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Statistics:
    """One `count=` line. Times in microseconds; None for values that the line does not contain."""

    count: int
    first: float | None = None
    curr: float | None = None
    min: float | None = None
    max: float | None = None
    avg: float | None = None
    std: float | None = None
    p5: float | None = None
    median: float | None = None
    p95: float | None = None

    @property
    def mean(self) -> float | None:
        """The average. For a single run, and for runs that all took the same time, the tool prints only `curr`."""
        return self.avg if self.avg is not None else self.curr


@dataclass(frozen=True)
class BenchmarkLog:
    """The values of a log. ``complete`` is the only sign of success; otherwise ``reason`` says what is missing.

    ``init_us``, ``first_us``, ``warmup_us`` and ``avg_us`` come from the final line, in microseconds.
    """

    complete: bool
    reason: str
    init_us: float | None = None
    first_us: float | None = None
    warmup_us: float | None = None
    avg_us: float | None = None
    warmup: Statistics | None = None
    regular: Statistics | None = None
    init_footprint_kb: float | None = None
    overall_footprint_kb: float | None = None
    peak_mem_mb: float | None = None
    model_size_mb: float | None = None
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def latency_metrics(self) -> dict[str, float]:
        """LatencyMetrics of LiteRT's BenchmarkResult, in milliseconds; only values that the log contains."""
        regular = self.regular or Statistics(0)
        mean = regular.mean
        one = regular.avg is None and mean is not None
        found = {
            "init_ms": self.init_us,
            "first_inference_ms": self.first_us,
            "average_warm_up_ms": self.warmup_us,
            "avg_ms": self.avg_us,
            "min_ms": mean if one else regular.min,
            "max_ms": mean if one else regular.max,
            "stddev_ms": 0.0 if one else regular.std,
            "median_ms": regular.median,
            "p5_ms": regular.p5,
            "p95_ms": regular.p95,
        }
        return {name: value / 1e3 for name, value in found.items() if value is not None}

    def memory_metrics(self) -> dict[str, float]:
        """MemoryMetrics of LiteRT's BenchmarkResult."""
        found = {
            "init_footprint_kb": self.init_footprint_kb,
            "overall_footprint_kb": self.overall_footprint_kb,
            "peak_mem_mb": self.peak_mem_mb,
        }
        return {name: value for name, value in found.items() if value is not None}

    def misc_metrics(self) -> dict[str, Any]:
        """MiscMetrics of LiteRT's BenchmarkResult."""
        found = {
            "model_size_mb": self.model_size_mb,
            "num_runs": None if self.regular is None else self.regular.count,
            "num_warmup_runs": None if self.warmup is None else self.warmup.count,
        }
        return {name: value for name, value in found.items() if value is not None}


def parse(stdout: str, stderr: str = "") -> BenchmarkLog:
    """Parse a log; both streams may be merged in ``stdout``. Never raises: for an incomplete run, ``reason`` says why."""
    lines = _complete_lines(stdout)
    # In a log of several runs, the last one counts.
    starts = [index for index, line in enumerate(lines) if _STARTED.search(line)]
    lines = lines[starts[-1] :] if starts else lines
    found: dict[str, Any] = {}
    statistics: list[Statistics] = []
    final: dict[str, float] | None = None
    for line in lines:
        if _COUNT.search(line) and not _NO_COUNT.search(line):
            statistics.append(_parse_statistics(line))
        final = _parse_final(line) or final
        for name, pattern in _LINES.items():
            if match := pattern.search(line):
                found[name] = _parse_number(match[1])
        if match := _FOOTPRINT.search(line):
            found["init_footprint_kb"], found["overall_footprint_kb"] = (_to_kb(match[1]), _to_kb(match[2]))
    block = {match[1]: _parse_number(match[2]) for line in lines if (match := _BLOCK.search(line))}
    for name, key in (("Init footprint", "init_footprint_kb"), ("Overall footprint", "overall_footprint_kb")):
        if (value := block.get(name)) is not None:
            found.setdefault(key, value * _KB)
    if (value := block.get("Peak memory")) is not None:
        found.setdefault("peak_mem_mb", value)
    if final is not None and "runs" in final:
        final, statistics = _read_block(final, block, statistics)

    everything = [*lines, *stderr.splitlines()]
    errors = tuple(dict.fromkeys(match[1] for line in everything if (match := _ERROR.search(line) or _BARE_ERROR.search(line))))
    warnings = tuple(dict.fromkeys(match[1] for line in everything if (match := _WARNING.search(line))))
    warmup = statistics[-2] if len(statistics) > 1 else None
    regular = statistics[-1] if statistics else None
    if len(statistics) == 1 and final is None:
        warmup, regular = statistics[0], None
    reason = _explain_incomplete(final, regular, errors)
    return BenchmarkLog(
        complete=not reason,
        reason=reason,
        init_us=None if final is None else final.get("init"),
        first_us=_find_first(final, warmup),
        warmup_us=None if final is None else final.get("warmup"),
        avg_us=None if final is None else final.get("avg"),
        warmup=warmup,
        regular=regular,
        init_footprint_kb=found.get("init_footprint_kb"),
        overall_footprint_kb=found.get("overall_footprint_kb"),
        peak_mem_mb=found.get("peak_mem_mb"),
        model_size_mb=found.get("model_size_mb"),
        errors=errors,
        warnings=warnings,
    )


def read_flags(text: str) -> set[str]:
    """The names of the flags in the tool's --help, which differ between versions: the tool ignores unknown flags."""
    words = [line.split("=")[0].strip() for line in text.splitlines()]
    return {word.removeprefix("--") for word in words if word.startswith("--")}


def _complete_lines(text: str) -> list[str]:
    """Lines with a line end: the last line of a truncated log may contain half a number."""
    lines = text.split("\n")
    return [line.rstrip("\r") for line in lines[:-1]]


def _parse_number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _to_kb(text: str) -> float | None:
    value = _parse_number(text)
    return None if value is None else value * _KB


def _parse_statistics(line: str) -> Statistics:
    fields = {name: _parse_number(value) for name, value in _FIELD.findall(line.replace("(all same)", " "))}
    known = {name: fields.get(name) for name in ("first", "curr", "min", "max", "avg", "std", "p5", "median", "p95")}
    return Statistics(count=int(fields.get("count") or 0), **known)


def _parse_final(line: str) -> dict[str, float] | None:
    """The final timings in microseconds, if the line contains them."""
    if match := _FINAL.search(line):
        names, values = ("init", "first", "warmup", "avg"), match.groups()
    elif match := _FINAL_2019.search(line):
        names, values = ("warmup", "init", "avg"), match.groups()
    elif match := _FINAL_BLOCK.search(line):
        return {"avg": 1e3 * float(match[1]), "runs": float(match[2])}
    else:
        return None
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _read_block(
    final: dict[str, float], block: dict[str, float | None], statistics: list[Statistics]
) -> tuple[dict[str, float], list[Statistics]]:
    """LiteRT's own tool prints its results as a block in milliseconds with two decimals."""
    names = {"init": "Model initialization", "first": "Warmup (first)", "warmup": "Warmup (avg)"}
    final = final | {key: 1e3 * value for key, name in names.items() if (value := block.get(name)) is not None}
    if statistics:
        # The count line has more digits than the block.
        mean = statistics[-1].mean
        if mean is not None and abs(mean - final["avg"]) <= 10:
            final["avg"] = mean
        return final, statistics
    low, high, std = (block.get(f"Inference ({name})") for name in ("min", "max", "std"))
    scale = [None if value is None else 1e3 * value for value in (low, high)]
    return final, [Statistics(int(final["runs"]), min=scale[0], max=scale[1], avg=final["avg"], std=std)]


def _find_first(final: dict[str, float] | None, warmup: Statistics | None) -> float | None:
    if final is not None and "first" in final:
        return final["first"]
    if warmup is None:
        return None
    return warmup.first if warmup.first is not None else warmup.curr


def _explain_incomplete(final: dict[str, float] | None, regular: Statistics | None, errors: tuple[str, ...]) -> str:
    """Why the run is not complete; empty if it is."""
    if "Benchmarking failed." in errors or (errors and final is None):
        return explain_errors(errors)
    if final is None:
        return "the output ends before the final timings line"
    if regular is None or regular.count < 1:
        return "no inference was timed (count=0)"
    average = final["avg"]
    if not math.isfinite(average) or average <= 0:
        return f"the average is {average:g} us"
    mean = regular.mean
    if mean is None or abs(mean - average) > _RELATIVE_TOLERANCE * max(average, mean) + 1:
        return f"the final timings line ({average:g} us) contradicts the statistics before it ({mean} us): the output is damaged"
    return ""


def explain_errors(errors: tuple[str, ...]) -> str:
    """The benchmark tool's errors as one clause: the cause, and what to do where that is known."""
    text = " ".join(errors)
    if match := re.search(r"unresolved custom op: ([\w-]+)", text):
        return (
            f"the benchmark binary does not support the operator {match[1]}; "
            "Lce operators need LCE's benchmark binary (el-larq engine fetch), other custom operators cannot be run"
        )
    if "builtin opcode 'BITCAST'" in text or "builtin_code out of range: 159" in text:
        return "the benchmark binary lacks the operator BITCAST; convert the model again with --views reshape"
    if "Select TensorFlow op" in text:
        return "the model contains TensorFlow (flex) operators, which the benchmark binary cannot run; convert it without them"
    if "not a valid Flatbuffer" in text:
        return "the benchmark binary reports that the model is not a .tflite, or a damaged one"
    if match := re.search(r"Could not open '(.*?)'", text):
        return f"the benchmark binary could not open the model {match[1]}"
    if "Mmap of" in text:
        return "the model on the device is empty or not a regular file; check the file and try again"
    if match := re.search(r"Failed to parse flag '(.*?)'", text):
        return f"the benchmark binary rejects the value of --{match[1]}"
    others = [error for error in errors if not error.startswith(("Benchmarking failed", "usage:", "Failed to load model"))]
    return f"the benchmark binary reports: {others[0][:200]}" if others else "the benchmark binary failed without an error message"
