"""The latencies of one model on one target with one number of threads, measured in-process."""

import statistics
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """Latencies in milliseconds of single inferences, in the order they were measured, after ``warmup`` that were not timed."""

    model: str
    sha256: str
    target: str
    threads: int
    kernel: str
    warmup: int
    latencies_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return statistics.median(self.latencies_ms)

    @property
    def iqr_ms(self) -> float:
        """Interquartile range."""
        if len(self.latencies_ms) < 2:
            return 0.0
        quartiles = statistics.quantiles(self.latencies_ms, n=4, method="inclusive")
        return quartiles[-1] - quartiles[0]

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "sha256": self.sha256,
            "target": self.target,
            "num_threads": self.threads,
            "kernel": self.kernel,
            "num_warmup_runs": self.warmup,
            "num_runs": len(self.latencies_ms),
            "median_ms": self.median_ms,
            "iqr_ms": self.iqr_ms,
            "min_ms": min(self.latencies_ms),
            "max_ms": max(self.latencies_ms),
            "avg_ms": statistics.fmean(self.latencies_ms),
            "latencies_ms": list(self.latencies_ms),
        }
