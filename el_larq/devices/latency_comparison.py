"""Compares models with a baseline, the first model, and reports which differences are within the noise of the measurement."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from el_larq.devices.record import Record

_DISTURBED = 3
"""How many times the minimum the latency may be before it is noted. On an idle machine, the two differ by a few percent."""


@dataclass(frozen=True)
class ModelLatency:
    """A model measured with one number of threads, over all repeats.

    latency_ms: median over the repeats. noise_ms: half the range of the repeats, or twice the standard error within a run
    if that is larger. ratio: to the baseline at the same number of threads. within_noise: whether the difference from it is at most
    the sum of both noises; None for the baseline itself.
    """

    model: str
    sha256: str
    threads: int
    repeats: int
    latency_ms: float
    noise_ms: float
    stddev_ms: float | None
    min_ms: float | None
    peak_mem_mb: float | None
    ratio: float
    within_noise: bool | None
    marks: tuple[str, ...]

    @property
    def disturbance(self) -> str:
        """A note if the latency is far above the minimum, which has other causes than the model; else empty."""
        if self.min_ms is None or self.latency_ms <= _DISTURBED * self.min_ms:
            return ""
        return (
            f"the latency is {self.latency_ms / self.min_ms:.0f} times the minimum: other programs used the processor, or it was "
            "throttled; stop them, let it cool, and measure again"
        )

    @property
    def difference(self) -> str:
        """The difference from the baseline in words; empty if it exceeds the noise."""
        return {None: "baseline", True: "within noise", False: ""}[self.within_noise]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_latencies(records: Sequence[Record]) -> list[ModelLatency]:
    """Rows in the order of the records; the first model is the baseline. Profiled runs are ignored: they are slower."""
    groups: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        if not record.profiled:
            groups.setdefault((record.model["path"], record.threads), []).append(record)
    rows: list[ModelLatency] = []
    baselines: dict[int, tuple[float, float]] = {}
    for (path, threads), group in groups.items():
        latencies = [record.latency_ms for record in group]
        latency, noise = statistics.median(latencies), _noise(group)
        baseline = baselines.setdefault(threads, (latency, noise))
        first = not any(row.threads == threads for row in rows)
        row = ModelLatency(
            model=path,
            sha256=group[0].model["sha256"],
            threads=threads,
            repeats=len(group),
            latency_ms=latency,
            noise_ms=noise,
            stddev_ms=_median(group, "stddev_ms"),
            min_ms=min((r.latency_metrics["min_ms"] for r in group if "min_ms" in r.latency_metrics), default=None),
            peak_mem_mb=_memory(group),
            ratio=latency / baseline[0],
            within_noise=None if first else abs(latency - baseline[0]) <= noise + baseline[1],
            marks=tuple(dict.fromkeys(mark for record in group for mark in record.marks)),
        )
        rows.append(replace(row, marks=(*row.marks, row.disturbance)) if row.disturbance else row)
    return rows


def _noise(group: Sequence[Record]) -> float:
    latencies = [record.latency_ms for record in group]
    if all("iqr_ms" in record.latency_metrics for record in group):
        # Measured in-process: half the interquartile range exceeds the random error of a median, and ignores outliers.
        return max((max(latencies) - min(latencies)) / 2, statistics.median(r.latency_metrics["iqr_ms"] / 2 for r in group))
    errors = [
        2 * record.latency_metrics.get("stddev_ms", 0.0) / max(1, record.misc_metrics.get("num_runs", 1)) ** 0.5 for record in group
    ]
    return max((max(latencies) - min(latencies)) / 2, statistics.median(errors))


def _median(group: Sequence[Record], name: str) -> float | None:
    values = [record.latency_metrics[name] for record in group if name in record.latency_metrics]
    return statistics.median(values) if values else None


def _memory(group: Sequence[Record]) -> float | None:
    """Peak memory of the process in MB, or its growth if the tool prints only that."""
    peaks = [record.memory_metrics["peak_mem_mb"] for record in group if "peak_mem_mb" in record.memory_metrics]
    grown = [r.memory_metrics["overall_footprint_kb"] / 1024 for r in group if "overall_footprint_kb" in r.memory_metrics]
    return max(peaks or grown, default=None)
