"""The rows of a comparison, one per network and method, from the contents of its folder; as CSV and Markdown."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from el_larq.comparison.comparison_plan import ComparisonPlan, Pair
from el_larq.comparison.results_folder import ResultsFolder
from el_larq.inspection.inspect import inspect


@dataclass(frozen=True)
class ComparisonRow:
    """A network with a method.

    accuracies: on the test split, 0 to 1, by seed; None if that run is not finished.
    bops, flops, ops: multiply-accumulates of two 1-bit operands, all others, and flops + bops / 64, for one image.
    other_operations: operations of the .tflite other than multiply-accumulates (`el_larq.inspection.elementwise`), for one image.
    latency_ms, iqr_ms: median and interquartile range of single inferences on this machine, one thread.
    errors: one line for each failure.
    """

    network: str
    method: str
    bits: str
    link: str
    accuracies: tuple[float | None, ...]
    training_seconds: float | None
    bops: int | None
    flops: int | None
    ops: float | None
    other_operations: int | None
    tflite_bytes: int | None
    peak_ram_bytes: int | None
    binary_convolutions: int | None
    latency_ms: float | None
    iqr_ms: float | None
    errors: tuple[str, ...] = ()

    @property
    def done(self) -> list[float]:
        return [accuracy for accuracy in self.accuracies if accuracy is not None]

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.done) if self.done else None

    def to_dict(self) -> dict[str, Any]:
        """The row for JSON and CSV, in which `other_operations` is called beside."""
        done = self.done
        accuracies = {"accuracy_mean": self.mean, "accuracy_min": min(done, default=None), "accuracy_max": max(done, default=None)}
        return {"beside" if name == "other_operations" else name: value for name, value in asdict(self).items()} | accuracies


def read_rows(
    folder: ResultsFolder, plan: ComparisonPlan, errors: dict[str, list[str]], latencies: dict[str, Any]
) -> list[ComparisonRow]:
    """One row for each pair of the plan; values that are not known yet are None.

    Arguments:
        errors: by the pair's name.
        latencies: measurements by the SHA-256 of the .tflite.
    """
    return [_row(folder, pair, plan.seeds, latencies, errors.get(pair.name, [])) for pair in plan.pairs]


def _row(folder: ResultsFolder, pair: Pair, seeds: int, latencies: dict[str, Any], errors: Sequence[str]) -> ComparisonRow:
    results = [folder.result(pair, seed) for seed in range(seeds)]
    seconds = [result["seconds"] for result in results if result]
    facts = folder.deployed(pair, 0)
    tflite = folder.run(pair, 0) / "model.tflite"
    latency = latencies.get(facts.get("sha256", ""), {})
    return ComparisonRow(
        pair.network,
        pair.method.name,
        pair.method.bits,
        pair.method.link.name,
        tuple(result.get("accuracy") for result in results),
        statistics.fmean(seconds) if seconds else None,
        facts.get("bops"),
        facts.get("flops"),
        facts.get("ops"),
        _other_operations(tflite, facts["sha256"]) if facts else None,
        facts.get("tflite_bytes"),
        facts.get("peak_ram_bytes"),
        facts.get("binary_convolutions"),
        latency.get("median_ms"),
        latency.get("iqr_ms"),
        tuple(errors),
    )


@cache
def _other_operations(path: Path, _sha256: str) -> int:
    return sum(one.operations for one in inspect(path).other_operations)


HEADINGS = (
    "network",
    "method",
    "bits",
    "link",
    "accuracy",
    "from – to",
    "seeds",
    "M BOPs",
    "M FLOPs",
    "M other ops",
    "tflite kB",
    "median ms",
    "IQR ms",
    "training s",
)


def cells(rows: Sequence[ComparisonRow]) -> list[tuple[str, ...]]:
    """The cells of the table for display; empty if a figure is missing."""
    return [
        (
            row.network,
            row.method,
            row.bits,
            row.link,
            _text(row.mean, "{:.4f}"),
            f"{min(row.done):.4f} – {max(row.done):.4f}" if row.done else "",
            str(len(row.done)),
            _text(row.bops, "{:.2f}", 1e6),
            _text(row.flops, "{:.2f}", 1e6),
            _text(row.other_operations, "{:.2f}", 1e6),
            _text(row.tflite_bytes, "{:.0f}", 1e3),
            _text(row.latency_ms, "{:.3f}"),
            _text(row.iqr_ms, "{:.3f}"),
            _text(row.training_seconds, "{:.0f}"),
        )
        for row in rows
    ]


def markdown(rows: Sequence[ComparisonRow]) -> str:
    lines = [HEADINGS, ("---",) * len(HEADINGS), *cells(rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_csv(rows: Sequence[ComparisonRow]) -> str:
    """One line per row, with one accuracy column per seed."""
    store = io.StringIO()
    seeds = max((len(row.accuracies) for row in rows), default=0)
    contents = []
    for row in rows:
        content = row.to_dict()
        accuracies = content.pop("accuracies")
        content["errors"] = "; ".join(content["errors"])
        contents.append(content | {f"accuracy_seed{seed}": accuracies[seed] for seed in range(seeds)})
    writer = csv.DictWriter(store, list(contents[0]) if contents else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(contents)
    return store.getvalue()


def _text(value: float | None, form: str, unit: float = 1.0) -> str:
    return "" if value is None else form.format(value / unit)
